"""Which populations the values of a tensor come from.

Channels can only be followed through operations that torch shows by name. A custom kernel, scripted code or a
write into a buffer may hide them. On a lower level, every operation that torch carries out can be seen, but
not its meaning: its outputs come from its inputs. So if a layer reads a tensor whose channels were lost, it
is still known which populations have to be frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from snnprune.network.axes import tensors_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NONE: frozenset[int] = frozenset()


class Provenance(TorchDispatchMode):
    """Follows populations from tensor to tensor while it is active, by the memory that tensors share."""

    def __init__(self) -> None:
        super().__init__()
        self._from: dict[StorageWeakRef, frozenset[int]] = {}  # the weak reference keeps addresses unique

    def of(self, *tensors: torch.Tensor) -> frozenset[int]:
        """Return the populations that the values of ``tensors`` come from."""
        return _NONE.union(*(self._from.get(_memory(t), _NONE) for t in tensors if _dense(t)))

    def set(self, tensor: torch.Tensor, populations: Iterable[int]) -> None:
        """Record that the values of ``tensor`` come from ``populations`` only."""
        if _dense(tensor):
            self._from[_memory(tensor)] = frozenset(populations)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if str(func).startswith("aten.new_"):
            return result  # a new tensor, which takes only its size from another one
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
    """Return the tensors in ``args`` that ``func`` writes into."""
    schema = zip(func._schema.arguments, args, strict=False)
    return tensors_in([value for a, value in schema if a.alias_info is not None and a.alias_info.is_write])
