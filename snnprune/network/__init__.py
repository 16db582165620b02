"""What is in a network: populations, projections, and what they cost."""

from snnprune.network.discovery import discover
from snnprune.network.topology import Population, Projection, Slot, Topology

__all__ = ["Population", "Projection", "Slot", "Topology", "discover"]
