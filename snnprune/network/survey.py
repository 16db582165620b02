"""Watch one forward: which layers read and write which populations, and what happens on the way."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch.overrides import TorchFunctionMode

from snnprune.network.axes import Axis, Operation, Unknown, tensors_in
from snnprune.network.encounters import RULES, Encounter, Synapses
from snnprune.network.leaves import Kind, is_recurrent, leaf_kind
from snnprune.network.provenance import Provenance
from snnprune.network.rules import carry, looks_at_values
from snnprune.network.units import Units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from torch import nn

    from snnprune.network.axes import Span


@dataclass(frozen=True)
class Call:
    """One call of a leaf in the forward of the example.

    Attributes:
        name: of the leaf.
        x: the input that holds the channels.
        position: which of the input tensors it is.
        dim: axis of its channels, counted from the end; None where that is not known.
        args: all that the leaf was given.
        kwargs: the same.
    """

    name: str
    x: torch.Tensor
    position: int
    dim: int | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Survey(TorchFunctionMode):
    """Follows the channel axis of every tensor of a forward, while it is active."""

    def __init__(self, model: nn.Module, neurons: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self.units, self.provenance = Units(), Provenance()
        self.synapses: dict[str, Synapses] = {}
        self.readings: dict[str, list[tuple[Span, ...]]] = defaultdict(list)
        self.neuron_calls: dict[str, list[frozenset[str]]] = defaultdict(list)
        self.used_outside: set[str] = set()
        self.calls: list[Call] = []
        self.counting = True
        self.leaves = {n: (m, k) for n, m in model.named_modules() if (k := leaf_kind(m, neurons))}
        self._recurrent = {n: m for n, m in model.named_modules() if is_recurrent(m)}
        self._owned = {
            id(t): f"{n}.{k}" for n, (m, _) in self.leaves.items() for k, t in m.named_parameters()
        }
        self.suspects: dict[int, str] = {}
        self._unnamed = {n: m for n, m in model.named_modules() if n not in self.leaves and _may_be_neuron(m)}
        self._within: list[str] = []
        self._axes: dict[int, tuple[torch.Tensor, Axis]] = {}
        self._inside = 0
        self.feedback: list[str] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hook the leaves and follow every operation, until left."""
        with ExitStack() as stack:
            for name, (module, kind) in self.leaves.items():
                stack.callback(module.register_forward_pre_hook(self._enter, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(self._leave(name, kind), with_kwargs=True).remove)
            for name, module in self._recurrent.items():
                stack.callback(module.register_forward_pre_hook(self._feed(name), with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(self._fed).remove)
            for name, module in self._unnamed.items():
                stack.callback(module.register_forward_pre_hook(self._into(name), with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(self._out_of).remove)
            stack.enter_context(self)
            stack.enter_context(self.provenance)
            yield

    # --- axes of tensors

    def axis_of(self, tensor: torch.Tensor) -> Axis | None:
        """Return where the channels of ``tensor`` are, None where that is not known."""
        entry = self._axes.get(id(tensor))
        return entry[1] if entry is not None else None

    def place(self, tensor: torch.Tensor, axis: Axis | None) -> None:
        """Note where the channels of ``tensor`` are."""
        if axis is None:
            self._axes.pop(id(tensor), None)
        else:
            self._axes[id(tensor)] = (tensor, axis)  # the tensor is kept so that its id is not used again

    def freeze(self, tensors: list[torch.Tensor], reason: str, *, foremost: bool = False) -> None:
        """Freeze the populations that ``tensors`` are made of."""
        numbers = [s.population for t in tensors if (a := self.axis_of(t)) for s in a.spans]
        self.units.freeze([*numbers, *self.provenance.of(*tensors)], reason, foremost=foremost)

    # --- torch operations outside the leaves

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._inside:
            return result
        name = _name(func)
        given, results = tensors_in([args, kwargs]), tensors_in(result)
        if results:
            self.used_outside.update(self._owned[id(t)] for t in given if id(t) in self._owned)
        elif looks_at_values(name):
            self.freeze(given, f"control flow may depend on its values ({name}())", foremost=True)
        elif name == "setitem":
            self.freeze(given, "it is written into a part of another tensor")
        if any(self.axis_of(t) is not None for t in given):
            for tensor in results:
                self._follow(
                    Operation(name, func, args, kwargs, tensor, self.axis_of, self.units.join), given
                )
        return result

    def _follow(self, op: Operation, given: list[torch.Tensor]) -> None:
        if self._within:
            spans = [s for t in given if (a := self.axis_of(t)) for s in a.spans]
            self.suspects.update({s.population: self._within[-1] for s in spans})
        try:
            axis = carry(op)
        except Unknown as why:
            self.freeze([t for t in given if self.axis_of(t) is not None], str(why))
            axis = None
        if axis is not None and axis.resting and op.result is op.subject:
            self._leave_zero(op.result, axis.resting)
        self.place(op.result, axis)

    def _leave_zero(self, changed: torch.Tensor, resting: str) -> None:
        """Note that what shares memory with ``changed``, which was written into, is not at zero either."""
        memory = changed.untyped_storage().data_ptr()
        for tensor, axis in list(self._axes.values()):
            if tensor.untyped_storage().data_ptr() == memory:
                self.place(tensor, replace(axis, resting=axis.resting or resting))

    # --- leaves

    def _enter(self, _module: nn.Module, _args: Any, _kwargs: Any) -> None:
        self._inside += 1

    def _leave(self, name: str, kind: Kind) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            inputs, outputs = tensors_in([args, kwargs]), tensors_in(output)
            if self._inside == 1 and inputs and outputs:
                x = next((t for t in inputs if self.axis_of(t) is not None), inputs[0])
                axis = self._read(name, x)
                if self.counting:
                    position = next(i for i, t in enumerate(inputs) if t is x)
                    dim = _channels(module, kind, axis)
                    self.calls.append(Call(name, x, position, dim, args, kwargs))
                met = Encounter(name, module, kind, axis, x, inputs, outputs)
                RULES[kind](self, met)
            self._inside -= 1

        return hook

    def _read(self, name: str, x: torch.Tensor) -> Axis | None:
        """Note what leaf ``name`` reads."""
        axis = self.axis_of(x)
        self.readings[name].append(axis.spans if axis is not None else ())
        if axis is None:
            self.freeze([x], f"its channels are lost before {name}, which reads what became of it")
        elif axis.resting:
            self.freeze([x], f"a silent unit does not stay at zero through {axis.resting}()")
        return axis

    # --- what may be a neuron that nobody named

    def _into(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, _kwargs: Any) -> None:
            self._within.append(name)

        return hook

    def _out_of(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        self._within.pop()

    # --- wrappers that feed back

    def _feed(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: Any, kwargs: Any) -> None:
            self.feedback.append(name)
            self.freeze(tensors_in([args, kwargs]), f"it is wired to itself by the recurrent wrapper {name}")

        return hook

    def _fed(self, _module: nn.Module, _args: Any, output: Any) -> None:
        name = self.feedback.pop()
        self.freeze(tensors_in(output), f"it is wired to itself by the recurrent wrapper {name}")


def _channels(module: Any, kind: Kind, axis: Axis | None) -> int | None:
    """Return where the channels of a leaf's input are, counted from the end."""
    if kind == "linear":
        return -1
    if kind == "conv":
        return -(len(module.kernel_size) + 1)
    return None if axis is None else axis.dim


def _may_be_neuron(module: nn.Module) -> bool:
    """Tell whether ``module`` is of somebody's own class, with no layer inside."""
    known = type(module).__module__.partition(".")[0] in {"torch", "torchvision", "spikingjelly"}
    return not known and not any(
        leaf_kind(inner, ()) in {"conv", "linear", "norm"} for inner in module.modules()
    )


def _name(func: Any) -> str:
    """Return the name of an operation or property, without the underscores around it."""
    name = getattr(func, "__name__", str(func))
    if name == "__get__":
        name = getattr(func.__self__, "__name__", name)
    return name.strip("_")
