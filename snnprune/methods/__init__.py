"""All built-in methods: DPAP and the methods that it is compared with, one file and one class each.

A method may use `pruning`, and must know no trainer.
"""

from snnprune.common.lazy import lazily
from snnprune.methods.adaptive_threshold import AdaptiveThreshold
from snnprune.methods.admm import ADMM
from snnprune.methods.arch_learning import ArchLearning
from snnprune.methods.auto_balanced import AutoBalanced
from snnprune.methods.bdnn_dsd import BDNNdsd
from snnprune.methods.bdnn_sp import BDNNsp
from snnprune.methods.bsp import BSP
from snnprune.methods.ch_snn import CHSNN
from snnprune.methods.deep_r import DeepR
from snnprune.methods.dpap.growing import DPAPGrow
from snnprune.methods.dpap.method import DPAP
from snnprune.methods.grad_r import GradR
from snnprune.methods.hebb import Hebb
from snnprune.methods.l1_filters import L1Filters
from snnprune.methods.lamp import Lamp
from snnprune.methods.magnitude import Magnitude
from snnprune.methods.meta_filters import MetaFilters
from snnprune.methods.ndsnn import NDSNN
from snnprune.methods.random import Random
from snnprune.methods.rigl import RigL
from snnprune.methods.sd_snn import SDSNN
from snnprune.methods.second_order import SecondOrder
from snnprune.methods.set import SET
from snnprune.methods.sf_imp import SFIMP
from snnprune.methods.soft_pruning import SoftPruning
from snnprune.methods.stdp import STDP
from snnprune.methods.stds import STDS
from snnprune.methods.taylor import Taylor
from snnprune.methods.twins import Twins
from snnprune.methods.variance import Variance
from snnprune.methods.weight_threshold import WeightThreshold
from snnprune.methods.weight_trace import WeightTrace

__all__ = [
    "ADMM",
    "BSP",
    "CHSNN",
    "DPAP",
    "NDSNN",
    "SDSNN",
    "SET",
    "SFIMP",
    "STDP",
    "STDS",
    "AdaptiveThreshold",
    "ArchLearning",
    "AutoBalanced",
    "BDNNdsd",
    "BDNNsp",
    "DPAPGrow",
    "DeepR",
    "GradR",
    "Hebb",
    "L1Filters",
    "Lamp",
    "Magnitude",
    "MetaFilters",
    "Random",
    "RigL",
    "SecondOrder",
    "SoftPruning",
    "Taylor",
    "Twins",
    "Variance",
    "WeightThreshold",
    "WeightTrace",
]

__getattr__, __dir__ = lazily(__name__)
