"""Which populations the values of a tensor come from.

Channels can only be followed through operations that torch shows by name. A custom kernel, scripted code or a
write into a buffer may hide them. On a lower level, every operation that torch carries out can be seen, but
not its meaning: its outputs come from its inputs. So if a layer reads a tensor whose channels were lost, it
is still known which populations have to be frozen.

What a tensor is not made of matters, too: one that comes from parameters alone is the same for every input,
and so is a way through the network that depends on its values.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from snnprune.network.axes import tensors_in
from snnprune.network.products import is_product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import nn

_FRESH = ("aten.new_", "aten.zeros_like", "aten.ones_like", "aten.empty_like", "aten.full_like")
_NONE: frozenset[int] = frozenset()
_INPUT = -1
"""In place of a population: values that are others with every input, or drawn at random."""

_PARAMETER = -2
"""In place of a population: values that are learned, or held in a buffer."""


class Provenance(TorchDispatchMode):
    """Follows populations from tensor to tensor while it is active, by the memory that tensors share.

    Attributes:
        multiplied: populations whose activity was multiplied with a parameter without a layer.
        in_layer: whether what is computed now is computed by a layer with synapses.
        on_look: called with the name of an operation that makes Python, or the size of a tensor, depend on
            values which are not the same for every input.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self._from: dict[StorageWeakRef, frozenset[int]] = {}  # the weak reference keeps addresses unique
        self._parameters: dict[str, StorageWeakRef | None] = {}
        self._held: set[StorageWeakRef | None] = set()
        self._read: set[StorageWeakRef] = set()
        self._aside = False
        self.multiplied: set[int] = set()
        self.in_layer = False
        self.on_look: Callable[[str], None] = lambda _: None

    def begin(self, model: nn.Module, inputs: list[torch.Tensor]) -> None:
        """Take the parameters of ``model`` for unread, and ``inputs`` for what differs with every sample."""
        for name, parameter in model.named_parameters():
            lazy = is_lazy(parameter)  # which nothing has read, or it would not be
            if lazy or (_dense(parameter) and parameter.numel() > 1):  # units have no place in one number
                self._parameters[name] = None if lazy else _memory(parameter)
        self._held = {*self._parameters.values()}
        for tensor in (*model.parameters(), *model.buffers()):
            if not is_lazy(tensor) and tensor.numel() > 1:
                self._add(tensor, frozenset([_PARAMETER]))
        for tensor in inputs:
            self._add(tensor, frozenset([_INPUT]))

    def unread(self) -> list[str]:
        """Return the modules none of whose own parameters was read, and such parameters of the network."""
        owners: dict[str, bool] = {}
        for name, memory in self._parameters.items():
            owner = name.rpartition(".")[0] or name
            owners[owner] = owners.get(owner, False) or memory in self._read
        return [owner for owner, read in owners.items() if not read]

    def of(self, *tensors: torch.Tensor) -> frozenset[int]:
        """Return the populations that the values of ``tensors`` come from."""
        return self._made_of(tensors) - {_INPUT, _PARAMETER}

    def differs(self, *tensors: torch.Tensor) -> bool:
        """Tell whether other inputs give other values in ``tensors``."""
        return bool(self._made_of(tensors) - {_PARAMETER})

    def is_constant(self, tensor: torch.Tensor) -> bool:
        """Tell whether ``tensor`` is made of neither the input nor what modules hold."""
        return _dense(tensor) and not self._made_of([tensor])

    def set(self, tensor: torch.Tensor, populations: Iterable[int]) -> None:
        """Record that the values of ``tensor`` come from ``populations`` only."""
        if _dense(tensor):
            self._from[_memory(tensor)] = frozenset(populations)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Follow nothing meanwhile: what discovery itself computes is no part of the forward."""
        before, self._aside = self._aside, True
        try:
            yield
        finally:
            self._aside = before

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._aside or str(func).startswith(_FRESH):
            return result  # a new tensor, which takes only its size from another one
        given, tags = tensors_in([args, kwargs]), getattr(func, "tags", ())
        for tensor in filter(_dense, given):
            self._read.add(_memory(tensor))
        made_of = self._made_of(given)
        if torch.Tag.nondeterministic_seeded in tags:
            made_of |= {_INPUT}
        if made_of:
            if (
                not self.in_layer
                and is_product(func)
                and any(_memory(t) in self._held for t in given if _dense(t))
            ):
                self.multiplied.update(made_of - {_INPUT, _PARAMETER})
            if made_of - {_PARAMETER} and _depends_on_values(func, tags, given):
                self.on_look(_name(func))
            for tensor in [*tensors_in(result), *_written(func, args)]:
                self._add(tensor, made_of)
        return result

    def _made_of(self, tensors: Iterable[torch.Tensor]) -> frozenset[int]:
        return _NONE.union(*(self._from.get(_memory(t), _NONE) for t in tensors if _dense(t)))

    def _add(self, tensor: torch.Tensor, made_of: frozenset[int]) -> None:
        if _dense(tensor):
            self._from[_memory(tensor)] = made_of | self._from.get(_memory(tensor), _NONE)


def _depends_on_values(func: Any, tags: Iterable[Any], given: list[torch.Tensor]) -> bool:
    """Tell whether ``func`` answers with a number for Python, or in a size that depends on values."""
    if not hasattr(func, "_schema"):
        return True  # a condition or a loop of torch's own
    if func is torch.ops.aten.index.Tensor:
        return any(t.dtype in {torch.bool, torch.uint8} for t in given[1:])
    return torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags


def _name(func: Any) -> str:
    return str(getattr(func, "_opname", None) or getattr(func, "__name__", func)).strip("_")


def _memory(tensor: torch.Tensor) -> StorageWeakRef:
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # inside of vmap, grad and the like
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return StorageWeakRef(tensor.untyped_storage())


def share_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Tell whether two tensors are views of the same memory."""
    return _dense(one) and _dense(other) and _memory(one) == _memory(other)


def _dense(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided


def _written(func: Any, args: Any) -> list[torch.Tensor]:
    """Return the tensors in ``args`` that ``func`` writes into."""
    schema = zip(getattr(getattr(func, "_schema", None), "arguments", ()), args, strict=False)
    return tensors_in([value for a, value in schema if a.alias_info is not None and a.alias_info.is_write])
