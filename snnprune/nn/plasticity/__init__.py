"""Learning without gradients: rules that change a layer from the spikes on both of its sides.

It does not depend on pruning or on any trainer.
"""

from __future__ import annotations

from snnprune.nn.plasticity.contrastive import EventDrivenCD
from snnprune.nn.plasticity.network import LocalNetwork
from snnprune.nn.plasticity.stdp import TraceSTDP
from snnprune.nn.plasticity.watching import Rule, Watched

__all__ = ["EventDrivenCD", "LocalNetwork", "Rule", "TraceSTDP", "Watched"]
