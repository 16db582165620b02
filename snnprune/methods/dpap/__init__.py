"""DPAP: developmental plasticity-inspired adaptive pruning.

B. Han, F. Zhao, Y. Zeng, G. Shen, "Developmental Plasticity-inspired Adaptive Pruning for Deep Spiking and
Artificial Neural Networks", arXiv 2211.12714; IEEE TPAMI 47(1):240-251, 2025.

Spiking traces (5, 6) feed a trace-based BCM rule with a sliding threshold (7-10) that scores synapses, and
dendritic spines (11) that score neurons. Survival functions (12-17) turn scores into permanent pruning.
"""

from snnprune.methods.dpap.bcm import BCM, SpineCriterion
from snnprune.methods.dpap.growing import DPAPGrow
from snnprune.methods.dpap.method import DPAP
from snnprune.methods.dpap.survival import SurvivalFunction
from snnprune.pruning.normalisation import min_max, percentile, rank
from snnprune.pruning.traces import spiking_trace

__all__ = [
    "BCM",
    "DPAP",
    "DPAPGrow",
    "SpineCriterion",
    "SurvivalFunction",
    "min_max",
    "percentile",
    "rank",
    "spiking_trace",
]
