"""Which populations a tensor's values come from, whatever made them.

Channels can only be followed through operations that torch shows by name; a custom kernel, scripted code or
a write into somebody's buffer may hide them. Below all of these, every operation that torch carries out is
seen, though without its meaning: what comes out of it is made of what went in. So where a layer reads a
tensor whose channels were lost on the way, it is still known which populations have to be frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from snnprune.network.axes import tensors_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NOBODY: frozenset[int] = frozenset()


class Provenance(TorchDispatchMode):
    """Follows populations from tensor to tensor while it is active, by the memory that tensors share."""

    def __init__(self) -> None:
        super().__init__()
        self._from: dict[StorageWeakRef, frozenset[int]] = {}  # the weak reference keeps addresses unique

    def of(self, *tensors: torch.Tensor) -> frozenset[int]:
        """Return the populations that ``tensors`` are made of."""
        return _NOBODY.union(*(self._from.get(_memory(t), _NOBODY) for t in tensors if _dense(t)))

    def set(self, tensor: torch.Tensor, populations: Iterable[int]) -> None:
        """Note that ``tensor`` is made of ``populations`` and nothing else."""
        if _dense(tensor):
            self._from[_memory(tensor)] = frozenset(populations)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if str(func).startswith("aten.new_"):
            return result  # a tensor of its own, whose size alone is another's
        made_of = self.of(*tensors_in([args, kwargs]))
        if made_of:
            for tensor in [*tensors_in(result), *_written(func, args)]:
                self.set(tensor, made_of | self.of(tensor))
        return result


def _memory(tensor: torch.Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())


def _dense(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided


def _written(func: Any, args: Any) -> list[torch.Tensor]:
    """Return the tensors among ``args`` that ``func`` writes into."""
    schema = zip(func._schema.arguments, args, strict=False)
    return tensors_in([value for a, value in schema if a.alias_info is not None and a.alias_info.is_write])
