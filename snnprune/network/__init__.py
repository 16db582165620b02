"""The populations and projections of a network, found by one forward, and their cost.

It must know no method and no mask.
"""

from snnprune.common.lazy import lazily
from snnprune.network.discovery import discover
from snnprune.network.topology import Inflow, Outflow, Population, Projection, Slot, Topology

__all__ = ["Inflow", "Outflow", "Population", "Projection", "Slot", "Topology", "discover"]

__getattr__, __dir__ = lazily(__name__)
