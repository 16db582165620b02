"""A spiking network that computes only where spikes arrive: plans, kernels, streams, C.

It knows no torch, and nothing of networks, pruning or training: `snnprune.export.planning` makes the plans.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
