"""Compare what is kept of a whole stand-in and of a cut one: from that follows what each tensor is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from snnprune.pruning.moments.finding import PLAIN, Role, crossed, dense, distance, take

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from snnprune.pruning.moments.places import Path

ALIKE = 0.25
"""Largest relative distance between what is kept in a cut network and what a cut makes of the whole one's.

A factor that is the same for all entries does not count: means over fewer entries differ by one. Clipped and
mixed over time they differ by less than this; what is kept in another basis than the weight's, by about 1.
"""

EQUAL = 1e-6
"""The largest distance of what masks and a cut make of a weight that counts as rounding."""

COMBINED = 1e-3
"""The largest share of a tensor that no combination of weights makes, and that counts as rounding."""

NOISE = 1e-5
"""The largest such distance of dead entries that counts as none: a product of matrices leaves some."""

CODEBOOKS = {"state1": "qmap1", "state2": "qmap2"}
"""Codes and the numbers that they stand for, by the names in bitsandbytes.

Only a name tells: its rounding on a CPU makes another code than that of 0 of a moment that is 0.
"""


@dataclass(frozen=True)
class Comparison:
    """What optimisers of the same kind keep of four stand-ins, by path.

    Attributes:
        stays: bool, for each axis: which entries live.
        weights: of the whole stand-in, 0 where it is dead.
        whole: kept of it.
        small: kept of the same one without the dead rows and columns.
        other: kept of a whole one with other living weights and gradients.
        still: kept of the whole one after a step without a gradient.
        course: weights of the whole one at first and after each step, before its dead are zero.
    """

    stays: Sequence[Tensor]
    weights: Tensor
    whole: Mapping[Path, Any]
    small: Mapping[Path, Any]
    other: Mapping[Path, Any]
    still: Mapping[Path, Any]
    course: Sequence[Tensor]

    def paths(self) -> list[Path]:
        """Return where anything is kept."""
        return [*self.whole, *(path for path in self.small if path not in self.whole)]

    def role(self, path: Path) -> Role | str | None:
        """Return what is kept there.

        Returns:
            The role of a tensor; a reason where it is no tensor and a cut cannot follow; None where nothing
            has to follow.
        """
        whole, small = self.whole.get(path), self.small.get(path)
        if not isinstance(whole, torch.Tensor) or not isinstance(small, torch.Tensor):
            if type(whole) is not type(small):
                return "only of weights of some sizes"
            sizes = isinstance(whole, (int, tuple)) and not isinstance(whole, bool)
            return "as a size of the weight" if sizes and whole != small else None
        axes = self._axes(whole, small)
        role = Role(axes or (None,) * whole.ndim, tuple(whole.shape), whole.dtype, type(whole))
        if axes is None:
            return replace(role, reason="in a shape of its own")
        if all(axis is None for axis in axes):
            return role
        numbers, fewer = dense(whole), dense(small)
        if numbers is None or fewer is None:
            return replace(role, reason=f"as {type(whole).__name__}")
        rest = self._rest(path, numbers, axes)
        reason = _reason(whole, take(numbers, axes, self.stays), fewer, local=rest is not None)
        return replace(role, maskable=rest is not None, rest=rest or 0, reason=reason)

    def _axes(self, whole: Tensor, small: Tensor) -> tuple[int | None, ...] | None:
        """Return the axis of the weight that each axis follows; None if an axis changes otherwise."""
        if whole.ndim != small.ndim:
            return None
        sizes = [(len(s), int(s.sum())) for s in self.stays]
        found: list[int | None] = []
        for own, lengths in enumerate(zip(whole.shape, small.shape, strict=True)):
            if lengths[0] == lengths[1]:
                found.append(None)
            elif whole.ndim == len(sizes) and sizes[own] == lengths:
                found.append(own)
            elif lengths in sizes:
                found.append(sizes.index(lengths))
            else:
                return None
        return tuple(found)

    def _rest(self, path: Path, numbers: Tensor, axes: tuple[int | None, ...]) -> int | None:
        """Return what the dead hold whatever the living do (0 for floating point), None if there is no such.

        Only a tensor with all axes of the weight, in their order, has an entry for each of the weight's.
        """
        cut = [a for a, s in enumerate(self.stays) if not bool(s.all())]
        if numbers.shape != self.weights.shape or any(axes[a] != a for a in cut):
            return None
        if not numbers.is_floating_point():
            return self._code(path, numbers)
        other, still = dense(self.other[path]), self.still.get(path)
        again = dense(still) if isinstance(still, torch.Tensor) else None
        if again is not None and distance(again, self.weights) <= ALIKE:
            return 0  # weights once more: the slow ones of Lookahead, those that are averaged
        if _is_combination(numbers, self.course):
            return 0  # an average of weights that begins at zero
        dead = ~crossed(self.stays).to(numbers.device)
        apart = (
            float((numbers[dead].double() - other[dead].double()).norm()) if other is not None else torch.inf
        )
        return 0 if apart <= NOISE * float(numbers.double().norm()) else None

    def _code(self, path: Path, codes: Tensor) -> int | None:
        book = self.whole.get((*path[:-1], CODEBOOKS.get(path[-1])))
        if book is not None:
            return int(book.abs().argmin())
        held = codes[~crossed(self.stays).to(codes.device)].unique()
        return int(held[0]) if len(held) == 1 and codes.dtype in {torch.int8, torch.uint8} else None


def _is_combination(tensor: Tensor, of: Sequence[Tensor]) -> bool:
    """Tell whether a tensor is a sum of others, each times a number. With few entries any tensor is."""
    if tensor.numel() <= 2 * len(of) or not tensor.any():
        return False
    vectors = torch.stack([each.double().flatten() for each in of], 1).cpu()
    wanted = tensor.double().flatten().cpu()
    basis, sizes, _ = torch.linalg.svd(vectors, full_matrices=False)
    basis = basis[:, sizes > 1e-9 * sizes[0]]
    return float((wanted - basis @ (basis.T @ wanted)).norm()) <= COMBINED * float(wanted.norm())


def _reason(whole: Tensor, kept: Tensor, fewer: Tensor, *, local: bool) -> str | None:
    """Return why what is ``kept`` of a whole weight is not what the cut one has.

    What rests where a weight is dead, and has an entry for each of the weight's, is cut entry by entry.
    """
    if type(whole) not in PLAIN:
        return f"as {type(whole).__name__}, in blocks that a cut would divide"
    if not whole.is_floating_point():
        return None if torch.equal(kept, fewer) else f"in codes ({str(whole.dtype).partition('.')[2]})"
    alike = local or distance(kept, fewer, scaled=True) <= ALIKE
    return None if alike else "in numbers that mix the weight's entries"
