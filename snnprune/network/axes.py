"""The channel axis of a tensor, and what torch's operations do to it.

An axis is counted from the end, so that a time axis in front, folded into the batch or absent altogether,
makes no difference. Every rule answers with the axis of the result, or raises `Unknown` with the reason:
unknown is never a wrong answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Unknown(Exception):  # noqa: N818 - an answer, not an error
    """The operation does something to channels that no rule covers; the message says what."""


@dataclass(frozen=True)
class Span:
    """A run of an axis that one population fills: ``size`` units, ``spread`` entries each."""

    population: int
    size: int
    spread: int = 1

    @property
    def length(self) -> int:
        """Entries on the axis."""
        return self.size * self.spread


@dataclass(frozen=True)
class Axis:
    """Where the channels of a tensor are.

    Attributes:
        dim: the axis, counted from the end (negative).
        spans: the populations on it, in order.
        sources: projections that reach here with no neuron between.
    """

    dim: int
    spans: tuple[Span, ...]
    sources: frozenset[str] = frozenset()

    @property
    def length(self) -> int:
        """Entries on the axis."""
        return sum(s.length for s in self.spans)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ELEMENTWISE = _names(
    """abs add sub subtract mul multiply div divide true_divide neg negative clamp clip clone
    contiguous detach identity
    dropout dropout1d dropout2d dropout3d feature_dropout alpha_dropout
    float half double bfloat16 to type type_as cpu cuda bool gt ge lt le eq ne
    greater greater_equal less less_equal logical_and logical_or logical_not
    maximum minimum pow square sqrt exp log relu relu_ relu6 leaky_relu gelu silu elu sigmoid tanh softplus
    heaviside where sign rsub requires_grad_ add_ sub_ mul_ div_ lerp addcmul
    __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ __imul__ __truediv__ __rtruediv__
    __itruediv__ __neg__ __gt__ __ge__ __lt__ __le__ __eq__ __ne__ __and__ __rand__ __or__ __ror__ __invert__
    __pow__"""
)
_RESHAPE = _names("flatten view reshape unflatten squeeze unsqueeze view_as reshape_as ravel")
_PERMUTE = _names("permute transpose movedim moveaxis swapaxes swapdims")
_REPEAT = _names("expand repeat expand_as repeat_interleave tile")
_SPATIAL = _names(
    """avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d interpolate upsample pad
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"""
)
_REDUCE = _names("mean sum amax amin prod std var max min any all")
_FRESH = _names(
    """zeros_like ones_like empty_like full_like rand_like randn_like bernoulli
    new_zeros new_ones new_empty new_full new_tensor"""
)
_LOOKS = _names("item tolist __bool__ __int__ __float__ __index__ equal allclose nonzero numpy")
_INDEX = _names("__getitem__ select unbind chunk split narrow")


@dataclass(frozen=True)
class Operation:
    """One call of a torch operation.

    Attributes:
        name: of the operation.
        func: the operation.
        args: its arguments.
        kwargs: its keyword arguments.
        result: one of its output tensors.
        axis_of: the axis of a tensor, None where nothing is known of it.
        join: makes the populations of two axes one, unit by unit.
    """

    name: str
    func: Callable[..., Any]
    args: Sequence[Any]
    kwargs: dict[str, Any]
    result: torch.Tensor
    axis_of: Callable[[torch.Tensor], Axis | None]
    join: Callable[[Axis, Axis], Axis]

    def argument(self, position: int, *names: str, default: Any = None) -> Any:
        """Return an argument by position or by one of its names."""
        for name in names:
            if name in self.kwargs:
                return self.kwargs[name]
        return self.args[position] if len(self.args) > position else default


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return the tensors in nested lists, tuples and dicts, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [t for item in value for t in tensors_in(item)]
    return []


def carry(op: Operation) -> Axis | None:
    """Return the channel axis of the result of ``op``, None where it is not made of channels.

    Raises:
        Unknown: no rule covers it.
    """
    if op.name in _FRESH:
        return None
    if op.name in {"cat", "concat", "concatenate"}:
        return _cat(op)
    if op.name in _ELEMENTWISE or op.name == "stack":
        return _elementwise(op)
    axis = op.axis_of(op.args[0])
    if axis is None:
        raise Unknown(f"it goes through {op.name}() beside a tensor of unknown origin")
    for names, rule in _RULES:
        if op.name in names:
            return rule(op, axis)
    raise Unknown(f"it goes through {op.name}(), which is not understood")


def looks_at_values(name: str) -> bool:
    """Tell whether operation ``name`` hands a tensor's values to Python, where control flow may follow."""
    return name in _LOOKS


def _reshape(op: Operation, axis: Axis) -> Axis:
    """Channels stay, or swallow what stands behind them (a flatten)."""
    old, new = op.args[0].shape, op.result.shape
    at = len(old) + axis.dim
    before, tail = math.prod(old[:at]), list(old[at + 1 :])
    starts = [q for q in range(len(new)) if math.prod(new[:q]) == before]
    for merged in dict.fromkeys(math.prod(tail[:k]) for k in range(len(tail) + 1)):
        for q in starts:
            if new[q] == axis.length * merged and math.prod(new[q + 1 :]) * merged == math.prod(tail):
                spans = tuple(replace(s, spread=s.spread * merged) for s in axis.spans)
                return replace(axis, dim=q - len(new), spans=spans)
    raise Unknown(f"a reshape from {tuple(old)} to {tuple(new)} mixes its channels with another axis")


def _permute(op: Operation, axis: Axis) -> Axis:
    """Ask the operation itself, on a tensor whose sizes are all different."""
    axes = op.args[0].ndim
    probe = op.func(torch.empty([i + 2 for i in range(axes)], device="meta"), *op.args[1:], **op.kwargs)
    return replace(axis, dim=list(probe.shape).index(axes + axis.dim + 2) - axes)


def _elementwise(op: Operation) -> Axis | None:
    tensors = tensors_in([*op.args, op.kwargs])
    known = [a for t in tensors if (a := op.axis_of(t)) is not None]
    if not known:
        return None
    joined, dim = known[0], known[0].dim
    if any(a.dim != dim for a in known):
        raise Unknown(f"{op.name}() meets channels on different axes")
    for other in known[1:]:
        joined = op.join(joined, other)
    for t in tensors:
        if op.axis_of(t) is None and t.ndim >= -dim and t.shape[dim] != 1:
            raise Unknown(f"{op.name}() joins it with a tensor of unknown origin")
    return _same_length(op, joined)


def _same_length(op: Operation, axis: Axis) -> Axis:
    if op.result.ndim < -axis.dim or op.result.shape[axis.dim] != axis.length:
        raise Unknown(f"{op.name}() changes its channel axis")
    return axis


def _spatial(op: Operation, axis: Axis) -> Axis:
    if op.name.endswith("d") and op.name[-2].isdigit() and -axis.dim <= int(op.name[-2]):
        raise Unknown(f"{op.name}() pools over channels")
    if op.result.ndim != op.args[0].ndim:
        raise Unknown(f"{op.name}() changes the number of axes")
    return _same_length(op, axis)


def _cat(op: Operation) -> Axis | None:
    axes = [op.axis_of(t) for t in op.argument(0, "tensors")]
    known = [a for a in axes if a is not None]
    if not known:
        return None
    if len(known) < len(axes) or any(a.dim != known[0].dim for a in known):
        raise Unknown("cat() joins it with a tensor of unknown origin")
    along = op.argument(1, "dim", "axis", default=0)
    along = along if along < 0 else along - op.result.ndim
    if along == known[0].dim:
        sources = frozenset[str]().union(*(a.sources for a in known))
        return Axis(along, tuple(s for a in known for s in a.spans), sources)
    joined = known[0]
    for other in known[1:]:
        joined = op.join(joined, other)
    return joined


def _reduce(op: Operation, axis: Axis) -> Axis:
    dims = op.argument(1, "dim", "axis")
    if dims is None:
        raise Unknown(f"{op.name}() reduces over its channels")
    dims = [dims] if isinstance(dims, int) else list(dims)
    dims = [d if d < 0 else d - op.args[0].ndim for d in dims]
    if axis.dim in dims:
        raise Unknown(f"{op.name}() reduces over its channels")
    if op.argument(2, "keepdim", default=False):
        return axis
    return replace(axis, dim=axis.dim + sum(d > axis.dim for d in dims))


def _index(op: Operation, axis: Axis) -> Axis:
    axes = op.args[0].ndim
    at = axes + axis.dim
    if op.name == "__getitem__":
        index = op.args[1] if isinstance(op.args[1], tuple) else (op.args[1],)
        plain = all(isinstance(i, (int, slice)) for i in index)
        if not plain or len(index) > at:
            raise Unknown("it is indexed in a way that is not understood")
        return _same_length(op, axis)
    dim = op.argument(2 if op.name in {"chunk", "split"} else 1, "dim", default=0)
    dim = dim if dim >= 0 else dim + axes
    if dim == at:
        raise Unknown(f"{op.name}() takes its channels apart")
    gone = op.name in {"select", "unbind"} and dim > at
    return _same_length(op, replace(axis, dim=axis.dim + gone))


_RULES: tuple[tuple[frozenset[str], Callable[[Operation, Axis], Axis]], ...] = (
    (_RESHAPE, _reshape),
    (_PERMUTE, _permute),
    (_REPEAT, _same_length),
    (_SPATIAL, _spatial),
    (_REDUCE, _reduce),
    (_INDEX, _index),
)
