"""Neurons that train fast: SpikingJelly's LIFNode with fused kernels, and the conversion of networks."""

from snnprune.nn.fused.accelerate import accelerate, restore
from snnprune.nn.fused.lif import LIFNode
from snnprune.nn.fused.precision import keep_precise

__all__ = ["LIFNode", "accelerate", "keep_precise", "restore"]
