"""What is in a network: populations, projections, and what they cost."""

from snnprune.network.discovery import discover
from snnprune.network.topology import Inflow, Population, Projection, Slot, Topology

__all__ = ["Inflow", "Population", "Projection", "Slot", "Topology", "discover"]
