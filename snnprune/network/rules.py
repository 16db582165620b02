"""What torch's operations do to the channel axis: one rule for each kind of operation.

Every rule returns the axis of the result, or raises `Unknown` with the reason; `Unknown` is always safe.
Whether a dead unit stays at zero after an operation is checked separately, in `silence`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from snnprune.common.errors import memory_full
from snnprune.network.axes import Axis, Operation, Unknown, tensors_in
from snnprune.network.silence import stays_at_zero

if TYPE_CHECKING:
    from collections.abc import Callable


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names without the underscores around them: add is torch.add(), Tensor.__add__() and Tensor.add_().
_ELEMENTWISE = _names(
    """abs add radd iadd sub subtract rsub isub mul multiply rmul imul div divide true_divide truediv rtruediv
    itruediv neg negative positive clamp clip clamp_min clamp_max pow rpow ipow square sqrt rsqrt reciprocal
    exp expm1 log log1p sin cos sign sgn round floor ceil trunc lerp addcmul addcdiv maximum minimum
    clone contiguous detach identity data alias float half double bfloat16 int long bool
    to type type_as cpu cuda requires_grad dropout dropout1d dropout2d dropout3d feature_dropout bernoulli
    nan_to_num gt ge lt le eq ne greater greater_equal less less_equal logical_and logical_or logical_not
    logical_xor and rand iand or ror ior xor rxor ixor invert where masked_fill heaviside threshold
    relu relu6 leaky_relu gelu silu elu selu celu mish sigmoid tanh softplus softsign hardtanh hardsigmoid
    hardswish hardshrink softshrink tanhshrink rrelu logsigmoid log_sigmoid
    zeros_like ones_like full_like rand_like randn_like"""
)
_RESHAPE = _names("flatten view reshape unflatten squeeze unsqueeze view_as reshape_as ravel")
_PERMUTE = _names("permute transpose movedim moveaxis swapaxes swapdims t T mT")
_REPEAT = _names("expand repeat expand_as repeat_interleave tile broadcast_to")
_SPATIAL = _names(
    """avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d interpolate upsample pad
    lp_pool1d lp_pool2d lp_pool3d fractional_max_pool2d fractional_max_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"""
)
_REDUCE = _names("mean sum amax amin prod std var max min any all")
_FRESH = _names("empty_like new_zeros new_ones new_empty new_full new_tensor")
_LOOKS = _names("item tolist bool int float index equal allclose nonzero is_nonzero numpy array")
_SHOWS = _names("repr str format")
_INDEX = _names("getitem select unbind chunk split narrow")
_JOIN = _names("cat concat concatenate")
_MIXING = _names("group_norm layer_norm rms_norm local_response_norm normalize softmax log_softmax")


def carry(op: Operation) -> Axis | None:
    """Return the channel axis of the result of ``op``; None if the result has no channels.

    Raises:
        Unknown: no rule covers it.
    """
    if op.name in _FRESH:
        return None
    try:
        axis = _axis_of_result(op)
        if axis is not None and (op.name in _ELEMENTWISE or op.name == "pad"):
            return replace(axis, resting=None if stays_at_zero(op) else axis.resting or op.name)
    except Unknown:
        raise
    except Exception as why:  # here it would be the network's, which may catch it
        if memory_full(why) is not None:
            raise
        raise Unknown(f"{op.name}() is used on it in a way that is not understood") from why
    return axis


def joins(name: str) -> bool:
    """Tell whether operation ``name`` puts tensors side by side."""
    return name in _JOIN


def looks_at_values(name: str) -> bool:
    """Tell whether operation ``name`` gives a tensor's values to Python, where control flow may use them."""
    return name in _LOOKS


def shows_values(name: str) -> bool:
    """Tell whether operation ``name`` makes text of a tensor's values, which people read."""
    return name in _SHOWS


def _axis_of_result(op: Operation) -> Axis | None:
    if op.name in _JOIN:
        return _cat(op)
    if op.name == "stack":
        return _stack(op)
    if op.name in _ELEMENTWISE or _compares(op):
        return _elementwise(op)
    axis = op.axis_of(op.subject)
    for names, rule in _RULES:
        if op.name in names:
            if axis is None:
                raise Unknown(f"it goes through {op.name}() beside a tensor of unknown origin")
            return rule(op, axis)
    if op.name in _MIXING:
        raise Unknown(f"{op.name}() mixes its channels")
    raise Unknown(f"it goes through {op.name}(), which is not understood")


def _compares(op: Operation) -> bool:
    """Tell whether ``op`` is max(x, y) or min(x, y), not max(x, dim)."""
    return op.name in {"max", "min"} and isinstance(op.argument(1, "other"), torch.Tensor)


def _reshape(op: Operation, axis: Axis) -> Axis:
    """Return the axis after a reshape: channels stay, or are merged with the axes behind them (a flatten)."""
    old, new = op.subject.shape, op.result.shape
    at = len(old) + axis.dim
    before, tail = math.prod(old[:at]), list(old[at + 1 :])
    starts = [q for q in range(len(new)) if math.prod(new[:q]) == before]
    for merged in dict.fromkeys(math.prod(tail[:k]) for k in range(len(tail) + 1)):
        for q in starts:
            if new[q] == axis.length * merged and math.prod(new[q + 1 :]) * merged == math.prod(tail):
                spans = tuple(replace(s, spread=s.spread * merged) for s in axis.spans)
                return replace(axis, dim=q - len(new), spans=spans)
    raise Unknown(f"a reshape from {tuple(old)} to {tuple(new)} takes apart or mixes its channels")


def _permute(op: Operation, axis: Axis) -> Axis:
    """Return the axis after a permutation, found by a call with a tensor whose sizes all differ."""
    axes = op.subject.ndim
    probe = op.func(torch.empty([i + 2 for i in range(axes)], device="meta"), *op.args[1:], **op.kwargs)
    return replace(axis, dim=list(probe.shape).index(axes + axis.dim + 2) - axes)


def _joined(op: Operation, tensors: list[torch.Tensor]) -> Axis | None:
    """Return the axis that all of ``tensors`` share; a tensor without one must have length 1 there."""
    known = [a for t in tensors if (a := op.axis_of(t)) is not None]
    if not known:
        return None
    joined, dim = known[0], known[0].dim
    if any(a.dim != dim for a in known):
        raise Unknown(f"{op.name}() meets channels on different axes")
    for other in known[1:]:
        joined = op.join(joined, other)
    for t in tensors:
        lost = op.axis_of(t) is None and t.ndim >= -dim and t.shape[dim] != 1
        if lost and op.adopt(t, dim, joined.spans) is None:
            raise Unknown(f"{op.name}() joins it with a tensor of unknown origin")
    return joined


def _elementwise(op: Operation) -> Axis | None:
    joined = _joined(op, tensors_in([*op.args, op.kwargs]))
    return None if joined is None else _same_length(op, joined)


def _stack(op: Operation) -> Axis | None:
    joined = _joined(op, tensors_in(op.subject))
    if joined is None:
        return None
    at = op.argument(1, "dim", default=0)
    behind = (at if at < 0 else at - op.result.ndim) > joined.dim - 1
    return _same_length(op, replace(joined, dim=joined.dim - behind))


def _same_length(op: Operation, axis: Axis) -> Axis:
    if op.result.ndim < -axis.dim or op.result.shape[axis.dim] != axis.length:
        raise Unknown(f"{op.name}() changes its channel axis")
    return axis


def _spatial(op: Operation, axis: Axis) -> Axis:
    if op.name.endswith("d") and op.name[-2].isdigit() and -axis.dim <= int(op.name[-2]):
        raise Unknown(f"{op.name}() pools over channels")
    if op.result.ndim != op.subject.ndim:
        raise Unknown(f"{op.name}() changes the number of axes")
    return _same_length(op, axis)


def _cat(op: Operation) -> Axis | None:
    axes = [op.axis_of(t) for t in op.subject]
    along = op.argument(1, "dim", "axis", default=0)
    along = along if along < 0 else along - op.result.ndim
    first = next((a for a in axes if a is not None), None)
    if first is None and along > -op.result.ndim:  # nobody joins samples, or time steps, to make channels
        first = next((a for t in op.subject if (a := op.adopt(t, along)) is not None), None)
    if first is None:
        return None
    axes = [op.axis_of(t) for t in op.subject]
    beside = along == first.dim
    spans = () if beside else first.spans
    found = (
        a or op.adopt(t, first.dim, spans, foreign=beside) for a, t in zip(axes, op.subject, strict=True)
    )
    known = [a for a in found if a is not None]
    if len(known) < len(axes) or any(a.dim != first.dim for a in known):
        raise Unknown("cat() joins it with a tensor of unknown origin")
    if beside:
        sources = frozenset[str]().union(*(a.sources for a in known))
        resting = next((a.resting for a in known if a.resting), None)
        state = known[0].state if all(a.state for a in known) else None
        return Axis(along, tuple(s for a in known for s in a.spans), sources, resting, state)
    joined = known[0]
    for other in known[1:]:
        joined = op.join(joined, other)
    return joined


def _reduce(op: Operation, axis: Axis) -> Axis:
    dims = op.argument(1, "dim", "axis")
    if dims is None:
        raise Unknown(f"{op.name}() reduces over its channels")
    dims = [dims] if isinstance(dims, int) else list(dims)
    dims = [d if d < 0 else d - op.subject.ndim for d in dims]
    if axis.dim in dims or not dims:
        raise Unknown(f"{op.name}() reduces over its channels")
    if op.result.ndim == op.subject.ndim:
        return axis
    return replace(axis, dim=axis.dim + sum(d > axis.dim for d in dims))


def _index(op: Operation, axis: Axis) -> Axis:
    axes = op.subject.ndim
    at = axes + axis.dim
    if op.name == "getitem":
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
