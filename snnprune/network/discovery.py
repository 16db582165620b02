"""Find populations and projections of any network by one real forward.

Every tensor of the forward is followed with its channel axis: synapse layers, norms and neurons are taken as
one piece (`leaves`), every other torch operation by its rule (`axes`). What no rule covers freezes the
populations that meet it, with the reason.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from snnprune.network.axes import Axis, Operation, Span, Unknown, carry, looks_at_values, tensors_in
from snnprune.network.leaves import Kind, has_plain_forward, is_multi_step, leaf_kind
from snnprune.network.topology import Inflow, Population, Projection, Slot, Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_NORM_TENSORS = ("weight", "bias", "running_mean", "running_var")


def discover(model: nn.Module, example_input: Any, *, neurons: Sequence[type[nn.Module]] = ()) -> Topology:
    """Find what could be pruned in ``model``, what is frozen, and why.

    The model is left exactly as it was: mode, neuron states, random generators, hooks.

    Args:
        model: any network.
        example_input: a tensor (or tuple of arguments) that ``model`` takes, with at least one sample.
        neurons: further neuron classes, of other libraries or the user's own.

    Returns:
        The topology; ``print`` it to read it.
    """
    survey = _Survey(model, tuple(neurons))
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    with _as_found(model), survey.hooked(), torch.no_grad(), survey:
        output = model(*arguments)
    for tensor in tensors_in(output):
        axis = survey.axis_of(tensor)
        if axis is not None:
            survey.freeze(axis, "it is the output of the network")
    return survey.topology(arguments)


@dataclass
class _Found:
    """A projection while the forward runs."""

    kind: Kind
    module: nn.Module
    population: int
    inflow: tuple[Span, ...]
    entries: int = 0
    neuron: str | None = None


@dataclass
class _Unit:
    """A population while the forward runs; ``parent`` points to the one it was joined with."""

    parent: int
    size: int
    producers: list[str] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    frozen: str | None = None


class _Survey(TorchFunctionMode):
    def __init__(self, model: nn.Module, neurons: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self.model = model
        self.neurons = neurons
        self.units: list[_Unit] = []
        self.found: dict[str, _Found] = {}
        self.steps: torch.Size | None = None
        self._axes: dict[int, tuple[torch.Tensor, Axis]] = {}
        self._inside = 0

    # --- axes of tensors

    def axis_of(self, tensor: torch.Tensor) -> Axis | None:
        entry = self._axes.get(id(tensor))
        return entry[1] if entry is not None else None

    def _set(self, tensor: torch.Tensor, axis: Axis | None) -> None:
        if axis is None:
            self._axes.pop(id(tensor), None)
        else:
            self._axes[id(tensor)] = (tensor, axis)  # the tensor is kept so that its id is not used again

    def root(self, index: int) -> int:
        while self.units[index].parent != index:
            index = self.units[index].parent
        return index

    def join(self, a: Axis, b: Axis) -> Axis:
        """Make the populations of two axes one, unit by unit."""
        if [(s.size, s.spread) for s in a.spans] != [(s.size, s.spread) for s in b.spans]:
            raise Unknown("it is joined with a population of another layout")
        for one, other in zip(a.spans, b.spans, strict=True):
            first, second = sorted((self.root(one.population), self.root(other.population)))
            if first != second:
                kept, gone = self.units[first], self.units[second]
                gone.parent = first
                kept.producers += [p for p in gone.producers if p not in kept.producers]
                kept.slots += [s for s in gone.slots if s not in kept.slots]
                kept.frozen = kept.frozen or gone.frozen
        return replace(a, sources=a.sources | b.sources)

    def freeze(self, axis: Axis, reason: str) -> None:
        for span in axis.spans:
            unit = self.units[self.root(span.population)]
            unit.frozen = unit.frozen or reason

    # --- torch operations outside the leaves

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        known = [a for t in tensors_in([*args, kwargs]) if (a := self.axis_of(t)) is not None]
        result = func(*args, **kwargs)
        if not known:
            return result
        name = getattr(func, "__name__", str(func))
        results = tensors_in(result)
        if not results and looks_at_values(name):
            for axis in known:
                self.freeze(axis, f"control flow may depend on its values ({name}())")
        for tensor in results:
            try:
                op = Operation(name, func, args, kwargs, tensor, self.axis_of, self.join)
                self._set(tensor, carry(op))
            except Unknown as why:
                for axis in known:
                    self.freeze(axis, str(why))
        return result

    # --- leaves

    @contextmanager
    def hooked(self) -> Iterator[None]:
        handles = []
        for name, module in self.model.named_modules():
            kind = leaf_kind(module, self.neurons)
            if kind is not None:
                handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
                handles.append(module.register_forward_hook(self._leave(name, kind), with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, _module: nn.Module, _args: Any, _kwargs: Any) -> None:
        self._inside += 1

    def _leave(self, name: str, kind: Kind) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            self._inside -= 1
            if self._inside:
                return
            inputs, outputs = tensors_in([args, kwargs]), tensors_in(output)
            if inputs and outputs:
                rule = {
                    "conv": self._synapses,
                    "linear": self._synapses,
                    "norm": self._norm,
                    "neuron": self._neuron,
                }
                rule[kind](name, kind, module, inputs[0], outputs[0])

        return hook

    def _synapses(self, name: str, kind: Kind, module: Any, x: torch.Tensor, y: torch.Tensor) -> None:
        dim = -1 if kind == "linear" else -(len(module.kernel_size) + 1)
        inflow = self._read_inflow(name, module, x, dim)
        if name not in self.found:
            size = module.out_features if kind == "linear" else module.out_channels
            tensors = ["weight"] + (["bias"] if module.bias is not None else [])
            unit = _Unit(len(self.units), size, [name], [Slot(name, t, 0, "out") for t in tensors])
            self.units.append(unit)
            self.found[name] = _Found(kind, module, unit.parent, inflow)
            if not has_plain_forward(module):
                unit.frozen = (
                    f"{name} computes its weight or its output in its own way ({type(module).__name__})"
                )
            if getattr(module, "groups", 1) != 1:
                unit.frozen = f"{name} is a grouped convolution"
        found = self.found[name]
        if [self.root(s.population) for s in found.inflow] != [self.root(s.population) for s in inflow]:
            shared = f"{name} is shared between places that read different populations"
            self.units[self.root(found.population)].frozen = shared
            self.freeze(Axis(-1, (*found.inflow, *inflow)), shared)
        found.entries += y.numel()
        unit = self.units[found.population]
        self._set(y, Axis(dim, (Span(found.population, unit.size),), frozenset([name])))

    def _read_inflow(self, name: str, module: Any, x: torch.Tensor, dim: int) -> tuple[Span, ...]:
        """Note that ``module`` reads the populations of ``x``; none where its columns are not theirs."""
        axis = self.axis_of(x)
        if axis is None:
            return ()
        for source in axis.sources:
            if self.found[source].neuron is None:
                self.freeze(axis, f"no neuron between {source} and {name} (an activation must be a module)")
        if axis.dim != dim:
            self.freeze(axis, f"{name} reads it along another axis")
        elif getattr(module, "groups", 1) != 1:
            self.freeze(axis, f"{name} is a grouped convolution")
        elif not has_plain_forward(module):
            self.freeze(
                axis, f"{name} computes its weight or its output in its own way ({type(module).__name__})"
            )
        else:
            self._add_slots(axis, name, "weight", 1, "in")
            return axis.spans
        return ()

    def _add_slots(self, axis: Axis, name: str, tensor: str, dim: int, role: Any) -> None:
        offset = 0
        for span in axis.spans:
            slots = self.units[self.root(span.population)].slots
            slot = Slot(name, tensor, dim, role, offset, span.spread)
            if slot not in slots:
                slots.append(slot)
            offset += span.length

    def _norm(self, name: str, _kind: Kind, module: Any, x: torch.Tensor, y: torch.Tensor) -> None:
        axis = self.axis_of(x)
        if axis is None:
            return
        if module.num_features != axis.length or y.shape != x.shape:
            self.freeze(axis, f"{name} norms along another axis")
        else:
            for tensor in _NORM_TENSORS:
                if getattr(module, tensor, None) is not None:
                    self._add_slots(axis, name, tensor, 0, "norm")
        self._set(y, axis)

    def _neuron(self, name: str, _kind: Kind, module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        if is_multi_step(module) and self.steps is None:
            self.steps = x.shape[:2]
        axis = self.axis_of(x)
        if axis is None:
            return
        for source in axis.sources:
            self.found[source].neuron = self.found[source].neuron or name
        for tensor, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.numel() > 1:
                dims = [d for d, size in enumerate(value.shape) if size == axis.length]
                if len(dims) == 1:
                    self._add_slots(axis, name, tensor, dims[0], "neuron")
                else:
                    self.freeze(axis, f"neuron {name} has a parameter of shape {tuple(value.shape)}")
        if y.shape != x.shape:
            self.freeze(axis, f"neuron {name} changes the shape of its input")
            return
        self._set(y, replace(axis, sources=frozenset()))

    # --- the answer

    def topology(self, arguments: tuple[Any, ...]) -> Topology:
        batch = self.steps[1] if self.steps else tensors_in(list(arguments))[0].shape[0]
        for name, found in self.found.items():
            unit = self.units[self.root(found.population)]
            if found.neuron is None:
                unit.frozen = unit.frozen or f"no neuron module reads {name} (an activation must be a module)"
        names = {i: u.producers[0] for i, u in enumerate(self.units) if u.parent == i}
        populations = {}
        for index, name in names.items():
            unit = self.units[index]
            kind = "channels" if self.found[name].kind == "conv" else "neurons"
            populations[name] = Population(name, unit.size, kind, unit.producers, unit.slots, unit.frozen)  # type: ignore[arg-type]
        projections = {}
        for name, found in self.found.items():
            post = populations[names[self.root(found.population)]]
            weight: Any = found.module.weight
            projections[name] = Projection(
                name,
                found.kind,  # type: ignore[arg-type]
                self._inflow(found, names),
                post.name,
                tuple(weight.shape),
                found.entries // (weight.shape[0] * max(batch, 1)),
                found.neuron,
                post.frozen,
            )
        return Topology(populations, projections)

    def _inflow(self, found: _Found, names: dict[int, str]) -> tuple[Inflow, ...]:
        inflow, offset = [], 0
        for span in found.inflow:
            inflow.append(Inflow(names[self.root(span.population)], offset, span.size, span.spread))
            offset += span.length
        return tuple(inflow)


@contextmanager
def _as_found(model: nn.Module) -> Iterator[None]:
    """Run in evaluation mode from fresh neuron states, and put everything back afterwards."""
    modes = {m: m.training for m in model.modules()}
    memories = {m: m._memories for m in model.modules() if isinstance(getattr(m, "_memories", None), dict)}
    devices = sorted({t.device.index or 0 for t in model.parameters() if t.device.type == "cuda"})
    try:
        for module, states in memories.items():
            module._memories = {**states, **module._memories_rv}  # type: ignore[assignment, dict-item]
        model.eval()
        with torch.random.fork_rng(devices):
            yield
    finally:
        for module, training in modes.items():
            module.training = training
        for module, states in memories.items():
            module._memories = states
