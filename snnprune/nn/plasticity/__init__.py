"""Learning without gradients: rules that change a layer from the spikes on both of its sides.

It does not depend on pruning or on any trainer.
"""

from __future__ import annotations

from snnprune.nn.plasticity.network import LocalNetwork
from snnprune.nn.plasticity.stdp import TraceSTDP, Watched

__all__ = ["LocalNetwork", "TraceSTDP", "Watched"]
