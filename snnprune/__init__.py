"""snnprune: spiking neural networks that prune themselves while they learn."""

__version__ = "0.1.0"
