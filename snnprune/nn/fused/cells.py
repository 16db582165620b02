"""Which neurons the kernels know as a part of a layer that is wired to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.nn.fused.cell_adaptive import Adaptive
from snnprune.nn.fused.cell_lif import LIF
from snnprune.nn.fused.cell_own import OwnDecay
from snnprune.nn.fused.lif import LIFNode
from snnprune.nn.fused.surrogates import MULTI_GAUSSIAN, Slope, slope_of
from snnprune.nn.models.adaptive import RISE, AdaptiveLIFNode, MultiGaussian
from snnprune.nn.models.decays import bounded
from snnprune.nn.models.heterogeneous import HeterogeneousLIFNode

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.nn.fused.cell import Cell


def cell_of(neurons: Any, x: Tensor) -> tuple[Cell, list[Tensor | float]] | None:
    """Return the constants of ``neurons`` with what `Cell.forward` is given, None if the kernels differ.

    Args:
        neurons: a module of this package.
        x: the input of one step.
    """
    if type(neurons) is LIFNode:
        if not neurons.knows(x):
            return None
        return LIF(neurons.constants(1)), [neurons.state(x)]
    if type(neurons) not in {AdaptiveLIFNode, HeterogeneousLIFNode} or not _is_plain(neurons, x):
        return None
    slope = _slope(neurons.surrogate_function)
    if slope is None:
        return None
    if type(neurons) is HeterogeneousLIFNode:
        states = neurons.materialize_states((x,), tuple(neurons._memories.values()), "s")
        cell = OwnDecay(neurons.v_threshold, neurons.v_reset, neurons.detach_reset, slope)
        return cell, [*states, bounded(neurons.decay)]
    states = neurons.materialize_states((x,), tuple(neurons._memories.values()), "s")
    adaptive = Adaptive(neurons.v_threshold, RISE, neurons.detach_reset, slope)
    return adaptive, [*states, bounded(neurons.decay), bounded(neurons.adaptation)]


def _is_plain(neurons: Any, x: Tensor) -> bool:
    """Tell whether nothing asks for more than spikes and states, in single precision or better."""
    return (
        x.dtype in {torch.float32, torch.float64}
        and not neurons.store_v_seq
        and neurons._neuron_precision is None
    )


def _slope(function: Any) -> Slope | None:
    if type(function) is MultiGaussian:
        return Slope(MULTI_GAUSSIAN) if function.spiking else None
    return slope_of(function)
