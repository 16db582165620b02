"""The machine of pruning: traces, criteria, rules, targets, masks and `Pruner`; `compaction` cuts.

It knows no method by name, and no trainer.
"""

from snnprune.pruning.clock import Clock
from snnprune.pruning.compaction.compacting import compact
from snnprune.pruning.compaction.verification import Agreement, verify
from snnprune.pruning.criterion import Criterion
from snnprune.pruning.masks import Masks
from snnprune.pruning.method import CriterionMethod, Decision, Method, View
from snnprune.pruning.pruner import Pruner
from snnprune.pruning.recorder import TraceRecorder
from snnprune.pruning.rule import Candidates, Rule
from snnprune.pruning.target import Target
from snnprune.pruning.traces import Activity, spiking_trace

__all__ = [
    "Activity",
    "Agreement",
    "Candidates",
    "Clock",
    "Criterion",
    "CriterionMethod",
    "Decision",
    "Masks",
    "Method",
    "Pruner",
    "Rule",
    "Target",
    "TraceRecorder",
    "View",
    "compact",
    "spiking_trace",
    "verify",
]
