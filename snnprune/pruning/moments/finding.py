"""What is found out about an optimiser: which axes its tensors have, and what the dead hold in them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from snnprune.pruning.moments.places import Path

PLAIN = {torch.Tensor, nn.Parameter, nn.Buffer}
"""Classes whose numbers are what they seem."""


@dataclass(frozen=True)
class Role:
    """What one tensor of an optimiser is.

    Attributes:
        axes: the axis of the weight that each of its axes follows, None for one that follows none.
        sizes: of its axes, as the stand-in had them; those that follow none are the same for every weight.
        dtype: of the tensor.
        kind: its class.
        maskable: its dead entries may be set to ``rest``.
        rest: what it holds for an entry that never had a gradient; 0 for floating point.
        reason: why a cut cannot follow, None where it can.
    """

    axes: tuple[int | None, ...]
    sizes: tuple[int, ...]
    dtype: torch.dtype
    kind: type
    maskable: bool = False
    rest: int = 0
    reason: str | None = None

    def also(self, other: Role) -> Role:
        """Return what two trials agree on."""
        return replace(
            self,
            maskable=self.maskable and other.maskable and self.rest == other.rest,
            reason=self.reason
            or other.reason
            or (None if self.axes == other.axes else "in a shape of its own"),
        )

    def fits(self, tensor: Tensor, shape: Sequence[int]) -> bool:
        """Tell whether a tensor kept of a weight of ``shape`` looks like this one; any precision will do."""
        numbers = tensor.is_floating_point() and self.dtype.is_floating_point
        return (
            type(tensor) is self.kind
            and (numbers or tensor.dtype == self.dtype)
            and tensor.ndim == len(self.axes)
            and all(
                n == (seen if a is None else shape[a])
                for a, n, seen in zip(self.axes, tensor.shape, self.sizes, strict=True)
            )
        )


@dataclass
class Finding:
    """What is known of an optimiser and a kind of weight.

    Attributes:
        roles: of each tensor, by path.
        reason: why a cut cannot follow whatever the tensors are, None where it can.
        by_size: a step depends on how many entries the weight has, so that a cut changes the training.
        by_living: a step depends on what entries without a gradient hold, so that a cut changes the training
            of a parameter in which the dead keep their numbers, as in constants of neurons.
        unknown: why nothing could be found out, None where it could.
        restarts: what is dropped is made anew in the next step.
    """

    roles: dict[Path, Role] = field(default_factory=dict)
    reason: str | None = None
    by_size: bool = False
    by_living: bool = False
    unknown: str | None = None
    restarts: bool = True


def dense(tensor: Tensor) -> Tensor | None:
    """Return the numbers of a tensor as an ordinary tensor, None where its class does not tell them."""
    if type(tensor) in PLAIN:
        return tensor.detach()
    try:
        return tensor.dequantize()
    except Exception:
        return None


def take(tensor: Tensor, axes: Sequence[int | None], stays: Sequence[Tensor]) -> Tensor:
    """Return the entries that stay.

    Args:
        tensor: to be cut.
        axes: the axis of the weight that each of its axes follows.
        stays: bool, for each axis of the weight.
    """
    for own, axis in enumerate(axes):
        if axis is not None:
            tensor = tensor.index_select(own, stays[axis].nonzero().squeeze(1).to(tensor.device))
    return tensor


def distance(one: Tensor, other: Tensor, *, scaled: bool = False) -> float:
    """Return how far two tensors are apart, as a share of the larger one's length.

    Args:
        one: a tensor.
        other: of the same shape.
        scaled: scale ``one`` first so that it comes as near as it can.
    """
    one, other = one.double().flatten(), other.double().flatten()
    if scaled and one.any():
        one = one * (one @ other / (one @ one))
    length = max(float(one.norm()), float(other.norm()))
    return float((one - other).norm()) / length if length else 0.0


def crossed(stays: Sequence[Tensor]) -> Tensor:
    """Return bool, shape of the weight: where every axis lives."""
    alive = torch.ones([len(each) for each in stays], dtype=torch.bool)
    for axis, each in enumerate(stays):
        alive &= each.view([-1 if a == axis else 1 for a in range(len(stays))])
    return alive
