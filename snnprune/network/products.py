"""Which parameters the activity of a network is multiplied with, and how often: seen in torch's own products.

A layer may lie inside a neuron, a weight may be used without its layer, as attention does, and a recurrent
layer has matrices and no layers. All of them come to a product of matrices or a convolution in the end. So
what no projection holds is counted, too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from snnprune.network.axes import tensors_in

if TYPE_CHECKING:
    from torch import nn

_MATRICES = {"mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv"}
_RECURRENT = {"mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn"}


class Products(TorchDispatchMode):
    """Counts, while it is active, the multiply-accumulates of each parameter of ``model``.

    Attributes:
        macs: by the parameter's name.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.macs: Counter[str] = Counter()
        self._model = model
        self._places: dict[int, list[tuple[int, int, str]]] = {}
        for name, p in model.named_parameters():
            if not is_lazy(p) and p.layout is torch.strided and p.numel():
                place = (p.data_ptr(), p.data_ptr() + p.nbytes, name)
                self._places.setdefault(p.untyped_storage().data_ptr(), []).append(place)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        count = _COUNTS.get(getattr(func, "_opname", ""))
        if count is not None:
            factors, macs = count(tensors_in([args, kwargs or {}]), args, tensors_in(result)[0])
            for tensor in factors:
                key = self._name(tensor)
                if key is not None:
                    self.macs[key] += macs if isinstance(macs, int) else macs(tensor)
        return result

    def parameters(self) -> list[tuple[str, Tensor]]:
        """Return the parameters that something was multiplied with, by name."""
        return [(name, p) for name, p in self._model.named_parameters() if name in self.macs]

    def _name(self, tensor: Tensor) -> str | None:
        """Return the parameter that ``tensor`` is, or is a view of."""
        if tensor.layout is not torch.strided or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            return None
        at = tensor.data_ptr()
        held = self._places.get(tensor.untyped_storage().data_ptr(), ())
        return next((name for start, stop, name in held if start <= at < stop), None)


def is_product(func: Any) -> bool:
    """Tell whether an operation of torch is a product of matrices or a convolution."""
    return getattr(func, "_opname", "") in _COUNTS


_Count = tuple[list[Tensor], int | Callable[[Tensor], int]]
"""The tensors that are multiplied with, and how many multiply-accumulates that is, for all or for each."""


def _of_matrices(given: list[Tensor], _args: Any, result: Tensor) -> _Count:
    return given[-2:], result.numel() * given[-2].shape[-1]


def _of_convolution(given: list[Tensor], args: Any, result: Tensor) -> _Count:
    x, weight = given[:2]
    transposed = bool(args[6])
    return [weight], (x if transposed else result).numel() * math.prod(weight.shape[1:])


def _of_trilinear(given: list[Tensor], _args: Any, result: Tensor) -> _Count:
    return given[:3], result.numel() * math.prod(given[1].shape[-2:])


def _of_recurrence(given: list[Tensor], _args: Any, _result: Tensor) -> _Count:
    rows = given[0].numel() // given[0].shape[-1]
    return [t for t in given[1:] if t.ndim == 2], lambda weight: weight.numel() * rows


_COUNTS: dict[str, Callable[[list[Tensor], Any, Tensor], _Count]] = {
    **dict.fromkeys(_MATRICES, _of_matrices),
    **dict.fromkeys(_RECURRENT, _of_recurrence),
    "convolution": _of_convolution,
    "_trilinear": _of_trilinear,
}
