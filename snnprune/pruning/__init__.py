"""Pruning: traces, criteria, rules, targets, masks and `Pruner`; `compaction` makes networks smaller.

It must know no method by name, and no trainer.
"""

from snnprune.common.lazy import lazily
from snnprune.pruning.clock import Clock
from snnprune.pruning.compaction.compacting import compact
from snnprune.pruning.compaction.verification import Agreement, verify
from snnprune.pruning.criterion import Criterion
from snnprune.pruning.growth import Born
from snnprune.pruning.masks import Masks
from snnprune.pruning.method import CriterionMethod, Method
from snnprune.pruning.pruner import Pruner
from snnprune.pruning.recorder import TraceRecorder
from snnprune.pruning.rule import Candidates, Rule
from snnprune.pruning.solver import is_prunable
from snnprune.pruning.target import Target
from snnprune.pruning.traces import Activity, spiking_trace
from snnprune.pruning.view import Decision, View

__all__ = [
    "Activity",
    "Agreement",
    "Born",
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
    "is_prunable",
    "spiking_trace",
    "verify",
]

__getattr__, __dir__ = lazily(__name__)
