"""Which modules discovery treats as a whole: synapses, norms and neurons; and which are recurrent."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from snnprune.network.cells import is_cell, is_gate, is_stack
from snnprune.network.imported import spikingjelly
from snnprune.network.weights import computed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["conv", "linear", "norm", "neuron", "gate", "series"]
"""What a leaf is; "gate" is one of a recurrent cell, "series" a recurrent layer of torch, which takes all
time steps at once."""

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.CELU,
    nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid,
    nn.RReLU, nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (_BatchNorm, _InstanceNorm)
_SPIKINGJELLY = "spikingjelly.activation_based"


def spiking_base() -> tuple[type[nn.Module], ...]:
    """Return SpikingJelly's neuron base class, or an empty tuple if SpikingJelly was never imported.

    A network with SpikingJelly's neurons has imported it, so there is no need to import it here.
    """
    module = spikingjelly("neuron")
    return (module.BaseNode,) if module is not None else ()


def _is_of_spikingjellys_neurons(module: nn.Module) -> bool:
    """Tell whether ``module`` is a neuron of SpikingJelly, also one with another base class (PSN)."""
    return any(c.__module__.startswith(f"{_SPIKINGJELLY}.neuron") for c in type(module).__mro__)


def goes_unit_by_unit(module: nn.Module) -> bool:
    """Tell whether ``module`` is a neuron, or a gate, in which no unit is known to affect another.

    This holds for torch's activations, and for SpikingJelly's neurons and surrogate functions. A subclass
    from elsewhere may differ.
    """
    plain = type(module).__module__.partition(".")[0] in {"torch", "spikingjelly", "snnprune"}
    known = isinstance(module, ACTIVATIONS) or _is_of_spikingjellys_neurons(module) or is_gate(module)
    return plain and known and not competes(module)


def competes(module: nn.Module) -> bool:
    """Tell whether the units of a layer of neurons see one another, and say so by an attribute ``competing``.

    It names the tensors that have an entry for each unit: nothing that is asked of such a layer would tell a
    value of one unit from a value of all. It has to hold that a unit without input is silent and affects no
    other one.
    """
    return getattr(module, "competing", None) is not None


def is_of_spikingjelly(module: nn.Module) -> bool:
    """Tell whether ``module`` is a layer or neuron of SpikingJelly, or a subclass: its step mode is known."""
    base = spikingjelly("base")
    return base is not None and isinstance(module, base.StepModule)


def is_multi_step(module: nn.Module) -> bool:
    """Tell whether ``module`` takes the time axis itself (SpikingJelly's step mode "m")."""
    base = spikingjelly("base")
    always = base is not None and isinstance(module, base.MultiStepModule)  # not all of these say so
    return always or getattr(module, "step_mode", "s") == "m"


def keep_single_steps(model: nn.Module) -> None:
    """Give what is inside of this package's recurrent layers the step mode in which it is called.

    ``functional.set_step_mode`` reaches it, and the next forward would set it back.
    """
    wired: Any = sys.modules.get("snnprune.nn.recurrent")
    for module in model.modules() if wired is not None else ():
        if isinstance(module, wired.Recurrent):
            module.keep_single_step()


def is_recurrent(module: nn.Module) -> bool:
    """Tell whether ``module`` feeds its output back into itself, in a way that is not followed."""
    if isinstance(module, nn.RNNCellBase):
        return True
    if is_cell(module) or is_stack(module):
        return False
    rnn = spikingjelly("rnn")
    return rnn is not None and isinstance(module, (rnn.SpikingRNNBase, rnn.SpikingRNNCellBase))


def wired_by(name: str, module: nn.Module) -> str:
    """Return why what the recurrent ``module`` reads is kept whole, and what can be taken in its place."""
    of_torch, kind = isinstance(module, (nn.RNNBase, nn.RNNCellBase)), type(module).__name__
    reason = f"it is wired to itself by the recurrent {'layer' if of_torch else 'wrapper'} {name}"
    if type(module) in {nn.RNN, nn.RNNCell}:
        return f"{reason}: snnprune.nn.{kind}.of({name}) answers the same, and its units can be pruned"
    if of_torch:
        return f"{reason}, and what {kind} hands out does not say how active its units are"
    return reason


def has_plain_forward(module: nn.Module) -> bool:
    """Tell whether ``module`` computes the same as torch's own layer of its kind, from its own weight."""
    if "weight" not in module._parameters or computed(module):
        return False
    for base in (*CONVOLUTIONS, *TRANSPOSED, nn.Linear):
        if isinstance(module, base):
            forwards: list[object] = [base.forward]
            wrapper = spikingjelly("layer")
            if wrapper is not None:
                forwards.append(getattr(wrapper, base.__name__).forward)
            once = sys.modules.get("snnprune.nn.fused.once")
            if once is not None:  # the same layer, which computes T equal steps only once
                forwards.append(once.Once.forward)
            same_inner = getattr(type(module), "_conv_forward", None) is getattr(base, "_conv_forward", None)
            return type(module).forward in forwards and same_inner
    return False


def weight_shape(layer: Any) -> tuple[int, ...]:
    """Return the shape [post, columns, ...] of a layer's weight; of one that is not plain, as it says itself.

    The weight of a transposed convolution holds its columns first.
    """
    if has_plain_forward(layer) and not isinstance(layer, TRANSPOSED):
        return tuple(layer.weight.shape)
    if isinstance(layer, nn.Linear):
        return (layer.out_features, layer.in_features)
    return (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)


def is_silent_norm(module: nn.Module, x: torch.Tensor) -> bool:
    """Tell whether channels with zero weight and bias leave ``module`` at zero for any input.

    This holds for the norms of torch and SpikingJelly. A subclass with a forward of its own (as tdBN is often
    written) is called with ``x`` to find out.
    """
    if type(module).forward.__module__.partition(".")[0] in {"torch", "spikingjelly"}:
        return True
    own = {k: torch.zeros_like(p) for k, p in module.named_parameters() if k in {"weight", "bias"}}
    return bool(own) and not torch.func.functional_call(module, own, (x,)).any()


def layers_inside(module: nn.Module) -> Iterator[str]:
    """Yield the names of the layers with synapses, and of the norms, inside a neuron."""
    for name, inner in module.named_modules():
        if inner is not module and isinstance(inner, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear, *NORMS)):
            yield name


def leaf_kind(module: nn.Module, neurons: Iterable[type[nn.Module]]) -> Kind | None:
    """Return the kind of ``module`` for discovery, or None if discovery has to follow its inside."""
    if isinstance(module, (*ACTIVATIONS, *neurons)) or _is_of_spikingjellys_neurons(module):
        return "neuron"
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
        return "conv"
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, NORMS):
        return "norm"
    if isinstance(module, nn.RNNBase):
        return "series"
    return None
