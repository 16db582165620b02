"""Which modules discovery takes as one piece: synapses, norms and neurons."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["conv", "linear", "norm", "neuron"]

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softplus)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_SPIKINGJELLY = "spikingjelly.activation_based"


def spiking_base() -> tuple[type[nn.Module], ...]:
    """Return SpikingJelly's neuron base class, or nothing where SpikingJelly was never imported.

    A network that holds its neurons has imported it, so there is no need to import it here.
    """
    module = sys.modules.get(f"{_SPIKINGJELLY}.neuron")
    return (module.BaseNode,) if module is not None else ()


def is_multi_step(module: nn.Module) -> bool:
    """Tell whether ``module`` takes the time axis itself (SpikingJelly's step mode "m")."""
    return getattr(module, "step_mode", "s") == "m"


def has_plain_forward(module: nn.Module) -> bool:
    """Tell whether ``module`` computes what torch's own layer of its kind computes, from its own weight."""
    if hasattr(module, "parametrizations"):
        return False
    for base in (*CONVOLUTIONS, nn.Linear):
        if isinstance(module, base):
            forwards: list[object] = [base.forward]
            wrapper = sys.modules.get(f"{_SPIKINGJELLY}.layer")
            if wrapper is not None:
                forwards.append(getattr(wrapper, base.__name__).forward)
            same_inner = getattr(type(module), "_conv_forward", None) is getattr(base, "_conv_forward", None)
            return type(module).forward in forwards and same_inner
    return False


def leaf_kind(module: nn.Module, neurons: Iterable[type[nn.Module]]) -> Kind | None:
    """Return what ``module`` is to discovery, or None where its inside is to be followed."""
    if isinstance(module, (*spiking_base(), *ACTIVATIONS, *neurons)):
        return "neuron"
    if isinstance(module, CONVOLUTIONS):
        return "conv"
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, _BatchNorm):
        return "norm"
    return None
