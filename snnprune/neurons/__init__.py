"""Neurons that are fast to train: SpikingJelly's LIFNode with fused kernels, and networks of it converted."""

from snnprune.neurons.accelerate import accelerate, restore
from snnprune.neurons.lif import LIFNode
from snnprune.neurons.precision import keep_precise

__all__ = ["LIFNode", "accelerate", "keep_precise", "restore"]
