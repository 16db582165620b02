"""What torch's operations do to the channel axis: one rule for each kind of operation.

Reshapes and indices are in `regrouping`, products of activities in `contractions`. Every rule returns the
axis of the result, or raises `Unknown` with the reason; `Unknown` is always safe. Whether a dead unit stays
at zero after an operation is checked separately, in `silence`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from snnprune.common.errors import memory_full
from snnprune.network.axes import Axis, Unknown, tensors_in
from snnprune.network.contractions import contract, product
from snnprune.network.regrouping import index, reshape, same_length
from snnprune.network.silence import stays_at_zero

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnprune.network.operation import Operation


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
_SOFTMAX = _names("softmax log_softmax")
_FLIP = _names("flip")
_MIXING = _names("group_norm layer_norm rms_norm local_response_norm normalize")
_PRODUCTS = _names("matmul rmatmul bmm einsum scaled_dot_product_attention")


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


def takes_apart(name: str) -> bool:
    """Tell whether operation ``name`` may take channels apart into heads, or put them together."""
    return name in _RESHAPE | _INDEX


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
    if op.name in _PRODUCTS:
        return product(op)
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


def _permute(op: Operation, axis: Axis) -> Axis:
    """Return the axes after a permutation, found by a call with a tensor whose sizes all differ."""
    axes = op.subject.ndim
    probe = op.func(torch.empty([i + 2 for i in range(axes)], device="meta"), *op.args[1:], **op.kwargs)
    return axis.moved(lambda dim: list(probe.shape).index(axes + dim + 2) - axes)


def _joined(op: Operation, tensors: list[torch.Tensor]) -> Axis | None:
    """Return the axes that all of ``tensors`` share; a tensor without one must have length 1 there."""
    known = [a for t in tensors if (a := op.axis_of(t)) is not None]
    if not known:
        return None
    joined = known[0]
    for other in known[1:]:
        if not any(joined.at(dim) for dim, _ in other.places):
            raise Unknown(f"{op.name}() meets channels on different axes")
        joined = op.units.join(joined, other)
    for t in tensors:
        axis = op.axis_of(t)
        for dim, spans in joined.places:
            lost = (axis is None or not axis.at(dim)) and t.ndim >= -dim and t.shape[dim] != 1
            alone = axis is None and joined.is_whole
            if lost and not (alone and op.adopt(t, dim, spans)):
                raise Unknown(f"{op.name}() joins it with a tensor of unknown origin")
    return joined


def _elementwise(op: Operation) -> Axis | None:
    joined = _joined(op, tensors_in([*op.args, op.kwargs]))
    return None if joined is None else same_length(op, joined)


def _stack(op: Operation) -> Axis | None:
    joined = _joined(op, tensors_in(op.subject))
    if joined is None:
        return None
    at = op.argument(1, "dim", default=0)
    at = at if at < 0 else at - op.result.ndim
    return same_length(op, joined.moved(lambda dim: dim - (at > dim - 1)))


def _spatial(op: Operation, axis: Axis) -> Axis:
    last = axis.places[-1][0]
    if op.name.endswith("d") and op.name[-2].isdigit() and -last <= int(op.name[-2]):
        raise Unknown(f"{op.name}() pools over channels")
    if op.result.ndim != op.subject.ndim:
        raise Unknown(f"{op.name}() changes the number of axes")
    return same_length(op, axis)


def _of_all(op: Operation, first: Axis, along: int) -> list[Axis]:
    """Return the axes of all tensors of a concatenation: they are those of ``first``.

    Raises:
        Unknown: a tensor has others.
    """
    beside = first.is_whole and along == first.dim
    found = [op.axis_of(t) for t in op.subject]
    if first.is_whole:
        spans = () if beside else first.spans
        pairs = zip(found, op.subject, strict=True)
        found = [a or op.adopt(t, first.dim, spans, foreign=beside) for a, t in pairs]
    known = [a for a in found if a is not None]
    dims = [dim for dim, _ in first.places]
    if len(known) < len(found) or any([dim for dim, _ in a.places] != dims for a in known):
        raise Unknown("cat() joins it with a tensor of unknown origin")
    return known


def _cat(op: Operation) -> Axis | None:
    axes = [op.axis_of(t) for t in op.subject]
    along = op.argument(1, "dim", "axis", default=0)
    along = along if along < 0 else along - op.result.ndim
    first = next((a for a in axes if a is not None), None)
    if first is None and along > -op.result.ndim:  # nobody joins samples, or time steps, to make channels
        first = next((a for t in op.subject if (a := op.adopt(t, along)) is not None), None)
    if first is None:
        return None
    known = _of_all(op, first, along)
    dims = [dim for dim, _ in first.places]
    joined = replace(known[0], state=known[0].state if all(a.state for a in known) else None)
    for other in known[1:]:
        rest = replace(other, places=tuple(p for p in other.places if p[0] != along))
        joined = replace(op.units.join(joined, rest), state=joined.state)
    if along not in dims:
        return joined
    spans = tuple(s for a in known for s in op.units.resolved(a.at(along)))
    return replace(joined, places=tuple((d, spans if d == along else on) for d, on in joined.places))


def _reduce(op: Operation, axis: Axis) -> Axis:
    dims = op.argument(1, "dim", "axis")
    if dims is None:
        raise Unknown(f"{op.name}() reduces over its channels")
    dims = [dims] if isinstance(dims, int) else list(dims)
    dims = [op.from_end(d) for d in dims]
    left = [place for place in axis.places if place[0] not in dims]
    if not left or not dims or (len(left) < len(axis.places) and (op.name != "sum" or axis.resting)):
        raise Unknown(f"{op.name}() reduces over its channels")
    contract(op.units, (spans for dim, spans in axis.places if dim in dims))
    axis = replace(axis, places=tuple(left))
    if op.result.ndim == op.subject.ndim:
        return axis
    return axis.moved(lambda dim: dim + sum(d > dim for d in dims))


def _flip(op: Operation, axis: Axis) -> Axis:
    given = op.argument(1, "dims", default=())
    dims = [*given] if isinstance(given, (tuple, list)) else [given, *op.args[2:]]
    if any(axis.at(op.from_end(dim)) for dim in dims):
        raise Unknown("flip() reorders its channels")
    return same_length(op, axis)


def _softmax(op: Operation, axis: Axis) -> Axis:
    """Return the axes after a softmax: over places or steps, it makes something of a silent unit's zeros."""
    dim = op.argument(1, "dim")
    if dim is None or axis.at(op.from_end(dim)):
        raise Unknown(f"{op.name}() mixes its channels")
    return replace(axis, resting=op.name)


_RULES: tuple[tuple[frozenset[str], Callable[[Operation, Axis], Axis]], ...] = (
    (_RESHAPE, reshape),
    (_PERMUTE, _permute),
    (_REPEAT, same_length),
    (_SPATIAL, _spatial),
    (_REDUCE, _reduce),
    (_FLIP, _flip),
    (_INDEX, index),
    (_SOFTMAX, _softmax),
)
