"""Watch one forward: which layers read and write which populations, and what happens on the way."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch.overrides import TorchFunctionMode

from snnprune.common.errors import memory_full
from snnprune.network.axes import Axis, Unknown, tensors_in
from snnprune.network.blanks import FOREIGN, adopt
from snnprune.network.cells import gates_of, is_cell, is_stack
from snnprune.network.encounters import RULES, Encounter
from snnprune.network.findings import Call, Findings
from snnprune.network.gated import on_cell_returned, on_stack_returned, refuse
from snnprune.network.leaves import Kind, is_recurrent, leaf_kind, wired_by
from snnprune.network.operation import Operation
from snnprune.network.products import Products
from snnprune.network.provenance import share_memory
from snnprune.network.rules import carry, joins, looks_at_values, shows_values, takes_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    import torch
    from torch import nn
    from torch.utils.hooks import RemovableHandle


RAISED = "{name} raises an error, and the network goes on without it"


class Survey(TorchFunctionMode):
    """Follows the channel axis of every tensor of a forward, while it is active."""

    def __init__(self, model: nn.Module, neurons: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        leaves = {n: (m, k) for n, m in model.named_modules() if (k := leaf_kind(m, neurons))}
        leaves |= {name: (gate, "gate") for name, gate in gates_of(model).items()}
        self.found = Findings(leaves, Products(model))
        self._names = {id(m): n for n, m in model.named_modules()}
        self._recurrent = {n: m for n, m in model.named_modules() if is_recurrent(m)}
        self._cells = {n: m for n, m in model.named_modules() if is_cell(m)}
        self._stacks = {n: m for n, m in model.named_modules() if is_stack(m)}
        self._owned = {id(t): f"{n}.{k}" for n, (m, _) in leaves.items() for k, t in m.named_parameters()}
        self._unnamed = {n: m for n, m in model.named_modules() if n not in leaves and _may_be_neuron(m)}
        self._within: list[str] = []
        self._inside: list[_Visit] = []
        self._operation: str | None = None
        self._adopt = partial(adopt, self.found)
        self.found.provenance.on_look = self._on_look

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hook the leaves and follow every operation, until left."""
        with ExitStack() as stack:
            for handle in self._hooks():
                stack.callback(handle.remove)
            stack.enter_context(self)
            stack.enter_context(self.found.provenance)
            if self.found.counting:
                stack.enter_context(self.found.products)
            yield

    def _hooks(self) -> Iterator[RemovableHandle]:
        # Hooks on a return are always called, since a network may catch the error that a module raises.
        for name, (module, kind) in self.found.leaves.items():
            yield module.register_forward_pre_hook(self._on_leaf_called(kind))
            yield module.register_forward_hook(self._on_leaf_answered, prepend=True)
            hook = self._on_leaf_returned(name, kind)
            yield module.register_forward_hook(hook, with_kwargs=True, always_call=True)
        for name, module in self._cells.items():
            take = partial(on_cell_returned, self.found, name)
            yield module.register_forward_hook(self._on_cell_returned(name, take))
        for name, module in self._stacks.items():
            take = partial(on_stack_returned, self.found, name, module)
            yield module.register_forward_hook(self._on_cell_returned(name, take))
        for name, module in self._recurrent.items():
            yield module.register_forward_pre_hook(self._on_wrapper_called(name), with_kwargs=True)
            yield module.register_forward_hook(self._on_wrapper_returned(name), always_call=True)
        for name, module in self._unnamed.items():
            yield module.register_forward_pre_hook(self._on_module_called(name))
            yield module.register_forward_hook(self._on_module_returned(name), always_call=True)

    # --- torch operations outside the leaves

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = kwargs or {}, _name(func)
        if self._inside:
            return func(*args, **kwargs)
        self._operation = name
        try:
            with self.found.provenance.aside() if shows_values(name) else nullcontext():
                result = func(*args, **kwargs)
        finally:
            self._operation = None
        with self.found.provenance.aside():
            self._note(name, func, args, kwargs, result)
        return result

    def _on_look(self, name: str) -> None:
        """Note that the network may go another way for other values of what differs with every input."""
        if not self._inside:
            self.found.look = self.found.look or f"{self._operation or name}()"

    def _note(self, name: str, func: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> None:
        given, results = tensors_in([args, kwargs]), tensors_in(result)
        if results:
            self.found.used_outside.update(self._owned[id(t)] for t in given if id(t) in self._owned)
        elif looks_at_values(name):
            self.found.freeze(given, f"control flow may depend on its values ({name}())", foremost=True)
            if self.found.provenance.differs(*given):
                self._on_look(name)
        elif name == "setitem" and self._running() not in self._stacks:  # which collect last states so
            self.found.freeze(given, "it is written into a part of another tensor")
        if joins(name) or any(self.found.axis_of(t) is not None for t in given):
            for tensor in results:
                found = self.found
                op = Operation(name, func, args, kwargs, tensor, found.axis_of, found.units, self._adopt)
                self._follow(op, given)

    def _follow(self, op: Operation, given: list[torch.Tensor]) -> None:
        if self._within:
            numbers = [n for t in given if (a := self.found.axis_of(t)) for n in a.numbers]
            self.found.suspects.update(dict.fromkeys(numbers, self._within[-1]))
        try:
            axis = carry(op)
        except Unknown as why:
            lost = [t for t in given if self.found.axis_of(t) is not None]
            self.found.freeze(lost, str(why), on_the_way=True)
            axis = None
        if takes_apart(op.name):
            self._note_regrouping([*given, op.result], axis)
        if axis is not None and axis.resting and op.result is op.subject:
            self._leave_zero(op.result, axis.resting)
        self.found.place(op.result, axis)

    def _note_regrouping(self, given: list[torch.Tensor], axis: Axis | None) -> None:
        """Note which module of the network takes channels apart into heads, or puts them together."""
        axes = [axis, *(self.found.axis_of(t) for t in given)]
        numbers = {n for a in axes if a is not None for n in a.numbers if self.found.units[n].is_part}
        if numbers:
            self.found.regrouped[self._running()].update(numbers)

    def _running(self) -> str:
        """Return the name of the innermost module whose code runs now, "" where there is none."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            name = self._names.get(id(frame.f_locals.get("self")))
            if name is not None:
                return name
            frame = frame.f_back
        return ""

    def _leave_zero(self, changed: torch.Tensor, resting: str) -> None:
        """Note that what shares memory with ``changed``, which was written into, is not at zero either."""
        memory = changed.untyped_storage().data_ptr()
        for tensor, axis in list(self.found.placed()):
            if tensor.untyped_storage().data_ptr() == memory:
                self.found.place(tensor, replace(axis, resting=axis.resting or resting))

    # --- leaves

    def _on_leaf_called(self, kind: Kind) -> Callable[..., None]:
        def hook(module: nn.Module, _args: Any) -> None:
            self._inside.append(_Visit(module, kind))
            self._note_layers()

        return hook

    def _note_layers(self) -> None:
        self.found.provenance.in_layer = any(visit.kind in {"conv", "linear"} for visit in self._inside)

    def _on_leaf_answered(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """Note what the leaf itself answers, before hooks of others see it."""
        self._inside[-1].answer = _contents(output)

    def _on_leaf_returned(self, name: str, kind: Kind) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if not self._inside or self._inside[-1].module is not module:
                return  # a hook of others has refused the call before
            try:
                if len(self._inside) == 1:
                    with self.found.provenance.aside():
                        self._take(name, kind, self._inside[0], (args, kwargs), output)
                elif self.found.counting:
                    self.found.inner[name] += [t.numel() for t in tensors_in(output)[:1]]
            finally:
                self._inside.pop()
                self._note_layers()

        return hook

    def _take(self, name: str, kind: Kind, visit: _Visit, given: tuple[Any, Any], output: Any) -> None:
        """Note what a leaf has read and written."""
        inputs, outputs = tensors_in(list(given)), tensors_in(output)
        if visit.answer is None:
            self.found.raised.add(name)
            self.found.freeze(inputs, RAISED.format(name=name))
        elif inputs and not outputs:
            self.found.freeze(inputs, f"{name} returns no tensor that can be followed")
        elif inputs:
            try:
                self._encounter(name, kind, visit.module, given, output)
            except Exception as error:  # here it would be the network's, which may catch it
                if memory_full(error) is not None:
                    raise
                self.found.freeze([*inputs, *outputs], f"{name} is called in a way that is not understood")
            if visit.answer != _contents(output):
                self.found.freeze(outputs, f"a hook changes what {name} returns")

    def _encounter(
        self, name: str, kind: Kind, module: nn.Module, given: tuple[Any, Any], output: Any
    ) -> None:
        inputs, outputs = tensors_in(list(given)), tensors_in(output)
        x = next((t for t in inputs if self.found.axis_of(t) is not None), inputs[0])
        axis = self._read(name, module, kind, x)
        if self.found.counting:
            position = next(i for i, t in enumerate(inputs) if t is x)
            dim, same = _channels(module, kind, axis), outputs[0].shape == x.shape
            self.found.calls.append(Call(name, x, position, dim, *given, same, len(outputs)))
        own = all(id(p) in self._owned for p in module._parameters.values() if p is not None)
        RULES[kind](self.found, Encounter(name, module, kind, axis, x, inputs, outputs, own))

    def _read(self, name: str, module: Any, kind: Kind, x: torch.Tensor) -> Axis | None:
        """Note what leaf ``name`` reads."""
        axis = self.found.axis_of(x)
        if kind in {"conv", "linear"} and axis is None:
            axis = adopt(self.found, x, -1 if kind == "linear" else -(len(module.kernel_size) + 1))
        elif kind not in {"conv", "linear"} and axis is not None and any(map(self._is_foreign, axis.numbers)):
            self.found.freeze([x], FOREIGN)
            axis = None
        self.found.readings[name].append(axis.places[-1][1] if axis is not None else ())
        if kind in {"conv", "linear"}:
            self.found.read.update((number, name) for number in self.found.made_of([x]))
        if axis is not None and axis.state is not None and kind != "neuron":
            self.found.states_read.add(axis.state)
        if axis is None:
            reason = f"its channels are lost before {name}, which reads what became of it"
            if (neuron := self._whose_state(x)) is not None:
                reason = f"{name} reads the state of neuron {neuron}: let it read the activity"
            self.found.freeze([x], reason, on_the_way=True)
        elif axis.resting:
            reason = f"a silent unit does not stay at zero through {axis.resting}()"
            self.found.freeze([x], reason, on_the_way=True)
        return axis

    def _whose_state(self, x: torch.Tensor) -> str | None:
        """Return the neuron that holds ``x`` as its state."""
        for name, (module, kind) in self.found.leaves.items():
            if kind == "neuron" and any(share_memory(x, state) for state in tensors_in(vars(module))):
                return name
        return None

    def _is_foreign(self, population: int) -> bool:
        return not self.found.units[population].made

    # --- modules that may be neurons, of classes that were not named

    def _on_module_called(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any) -> None:
            self._within.append(name)

        return hook

    def _on_module_returned(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, _output: Any) -> None:
            _leave(self._within, name)

        return hook

    # --- recurrent cells

    def _on_cell_returned(self, name: str, take: Callable[[list[torch.Tensor]], None]) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if self._inside:
                return
            try:
                with self.found.provenance.aside():
                    take(tensors_in(output))
            except Exception as error:  # here it would be the network's, which may catch it
                if memory_full(error) is not None:
                    raise
                refuse(self.found, name)

        return hook

    # --- wrappers that feed back

    def _on_wrapper_called(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.found.feedback.append(name)
            self.found.freeze(tensors_in([args, kwargs]), wired_by(name, module))

        return hook

    def _on_wrapper_returned(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _args: Any, output: Any) -> None:
            _leave(self.found.feedback, name)
            self.found.freeze(tensors_in(output), wired_by(name, module))

        return hook


@dataclass
class _Visit:
    """A leaf that is being called.

    Attributes:
        module: the leaf.
        kind: of leaf.
        answer: identities and versions of the tensors that it returned; None until it has.
    """

    module: nn.Module
    kind: Kind
    answer: list[tuple[int, int]] | None = None


def _contents(output: Any) -> list[tuple[int, int]]:
    """Return the identity of each tensor, and how often it was written into."""
    return [(id(t), 0 if t.is_inference() else t._version) for t in tensors_in(output)]


def _leave(entered: list[str], name: str) -> None:
    """Take ``name`` off the end of ``entered``; a module whose call others refused was not entered."""
    if entered and entered[-1] == name:
        entered.pop()


def _channels(module: Any, kind: Kind, axis: Axis | None) -> int | None:
    """Return where the channels of a leaf's input are, counted from the end."""
    if kind == "linear":
        return -1
    if kind == "conv":
        return -(len(module.kernel_size) + 1)
    return None if axis is None else axis.dim


def _may_be_neuron(module: nn.Module) -> bool:
    """Tell whether ``module`` is of a class of no known library, with no layer inside."""
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
