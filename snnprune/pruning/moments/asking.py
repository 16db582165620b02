"""Ask an optimiser what it keeps, by letting fresh ones like it train whole and cut stand-ins."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import in_one_line
from snnprune.pruning.moments.comparing import EQUAL, Comparison
from snnprune.pruning.moments.finding import Finding, Role, crossed, distance, take
from snnprune.pruning.moments.fresh import fingerprint, fresh_ones
from snnprune.pruning.moments.places import name_of
from snnprune.pruning.moments.trial import STEPS, Trial, unnoticed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from snnprune.pruning.moments.places import Path

ROWS, COLUMNS = 48, 40
"""Size of a stand-in: unequal, so that an axis tells by its length which one it is; 16 are left of either
after a cut, since some optimisers keep factors of weights from there on."""

MOST = 2**18
"""Largest number of entries of a stand-in of the weight's own shape."""

SHARES = tuple(0.0015 * 20 ** (n / (STEPS - 1)) for n in range(STEPS))
"""Of a gradient, along the weights, in each step after a cut. AdamP looks whether it is below 0.1 / sqrt(n)
for n entries, which is 0.0023 for a stand-in and 0.025 for a row of 16."""

CUTS = ((0.34, 0.75), (0.75, 0.4))
"""Shares of rows and columns that live, in two trials: a step that looks at a weight's form shows in one."""


def ask(optimizer: Any, parameter: Tensor, *, own_shape: bool = False) -> Finding:
    """Find out what ``optimizer`` keeps of a weight like ``parameter``; neither is touched.

    Args:
        optimizer: the user's.
        parameter: one of its parameters.
        own_shape: use a stand-in of the parameter's own shape: some optimisers keep large weights otherwise.
    """
    shape = tuple(_own(parameter.shape) if own_shape else standard(parameter.shape))
    try:
        alike = fingerprint(optimizer, parameter)
    except ValueError as error:
        return Finding(unknown=str(error))
    question = (alike, shape, parameter.dtype, parameter.device, own_shape)
    if alike is None or question not in _ANSWERED:
        finding = _ask(optimizer, parameter, list(shape), own_shape=own_shape)
        if alike is None:
            return finding
        _ANSWERED[question] = finding
    return _ANSWERED[question]


_ANSWERED: dict[Any, Finding] = {}
"""What was found out, for further optimisers of the same class and options."""


def _ask(optimizer: Any, parameter: Tensor, shape: list[int], *, own_shape: bool) -> Finding:
    failure: Exception | None = None
    plain = torch.promote_types(parameter.dtype, torch.float32)
    precisions = dict.fromkeys([parameter.dtype, plain] if own_shape else [torch.float64, plain])
    with unnoticed(parameter.device):
        ways = itertools.product(precisions, (False, True), list(fresh_ones(optimizer, parameter)))
        for precision, graph, make in ways:
            try:
                return _Question(make, parameter.detach().to(precision), shape, graph).answer()
            except Exception as error:
                failure = failure or error
    return Finding(unknown=f"it could not be tried out on a stand-in ({in_one_line(failure)})")  # type: ignore[arg-type]


def standard(shape: Sequence[int]) -> list[int]:
    """Return the shape of the stand-in of a weight of ``shape``."""
    wanted = [ROWS, COLUMNS, *shape[2:]]
    return [1 if n == 1 else w for n, w in zip(shape, wanted, strict=False)]


def _own(shape: Sequence[int]) -> list[int]:
    sizes = list(shape)
    while torch.Size(sizes).numel() > MOST:
        sizes[sizes.index(max(sizes))] //= 2
    return sizes


class _Question:
    """Trials with one way to make the optimiser."""

    def __init__(self, make: Callable[[Tensor], Any], like: Tensor, shape: list[int], graph: bool) -> None:
        self.make, self.shape, self.graph = make, shape, graph
        self.like = like

    def answer(self) -> Finding:
        finding = Finding()
        cuts = [self._stays(shares) for shares in CUTS[: len(self._cuttable)]]
        for stays in cuts:
            self._compare(stays, finding)
        self._try_masks(finding)
        for stays in cuts:
            if not refusal(finding):
                self._try_cut(stays, finding)
        return finding

    def _compare(self, stays: list[Tensor], finding: Finding) -> None:
        """Compare a stand-in whose dead rows and columns never lived to one that does not have them."""
        alive = crossed(stays)
        weights, gradients = self._numbers(1, alive)
        other_weights, other_gradients = self._numbers(2, alive)

        course = [weights]

        def bury(trial: Trial) -> None:
            trial.bury(~alive.to(weights.device))

        def note(trial: Trial) -> None:
            course.append(trial.weights)
            bury(trial)

        whole = self._trial(weights).train(gradients, note)
        other = self._trial(other_weights).train(other_gradients, bury)
        small = self._trial(_taken(weights, stays)).train(_taken(g, stays) for g in gradients)
        if not bool(_taken(whole.weights, stays).isfinite().all()):
            raise ArithmeticError("its weights become infinite")
        finding.by_size |= whole.draws
        _note_roles(
            Comparison(
                stays, weights, whole.leaves, small.leaves, other.leaves, self._stand_still(weights), course
            ),
            finding,
        )
        fewer = small.others
        sized = next((path for path, size in whole.others.items() if fewer.get(path, size) != size), None)
        if sized is not None:
            finding.reason = finding.reason or f"it keeps '{name_of(sized)}' beside the state of the weight"
        finding.restarts = finding.restarts and self._restarts(other, other_gradients[0])

    def _stand_still(self, weights: Tensor) -> dict[Path, Any]:
        """Return what is kept after one step without a gradient, if the optimiser takes such a step."""
        try:
            return self._trial(weights).train([torch.zeros_like(weights)]).leaves
        except Exception:
            return {}

    def _try_cut(self, stays: list[Tensor], finding: Finding) -> None:
        """Let rows and columns that have lived die, and look whether masks and a cut go on alike."""
        alive = crossed(stays).to(self.like.device)
        weights, lived = self._numbers(4, torch.ones(self.shape))
        masked, cut, kept = (self._trial(weights).train(lived[: STEPS // 2]) for _ in range(3))

        def bury(trial: Trial) -> None:
            trial.bury(~alive, finding.roles)

        bury(masked)
        bury(cut)
        begun, gradients = _taken(masked.weights, stays), []
        for gradient, share in zip(self._numbers(5, alive.cpu())[1], SHARES, strict=True):
            gradients.append(_turned(gradient, masked.weights, share))
            masked.train(gradients[-1:], bury)
        kept.train(gradients)
        try:
            cut.cut(stays, finding.roles)
            cut.train(_taken(g, stays) for g in gradients)
        except Exception as error:
            finding.reason = f"it stops after a cut ({in_one_line(error) or type(error).__name__})"
            return
        moved = cut.weights - begun
        finding.by_size |= not distance(_taken(masked.weights, stays) - begun, moved) <= EQUAL
        finding.by_living |= not distance(_taken(kept.weights, stays) - begun, moved) <= EQUAL

    def _restarts(self, trial: Trial, gradient: Tensor) -> bool:
        """Tell whether an optimiser that has lost what it kept makes it anew."""
        trial.forget()
        try:
            trial.train([gradient])
        except Exception:
            return False
        return True

    def _try_masks(self, finding: Finding) -> None:
        """Train with single dead entries whose state is set to rest; where that fails, leave it as it is."""
        weights, gradients = self._numbers(3, None)
        dead = weights == 0
        try:
            trial = self._trial(weights).train(gradients, lambda trial: trial.bury(dead, finding.roles))
            sound = bool(trial.weights.isfinite().all())
        except Exception:
            sound = False
        if not sound:
            finding.roles = {path: replace(role, maskable=False) for path, role in finding.roles.items()}

    def _trial(self, weights: Tensor) -> Trial:
        return Trial(self.make, weights, graph=self.graph)

    @property
    def _cuttable(self) -> list[int]:
        """The axes of units and columns; of others, all that are longer than 1."""
        long = [axis for axis, n in enumerate(self.shape) if n > 1]
        return [axis for axis in long if axis < 2] or long

    def _stays(self, shares: Sequence[float]) -> list[Tensor]:
        """Draw which entries of each axis live, bool."""
        stays = [torch.ones(n, dtype=torch.bool) for n in self.shape]
        dice = torch.Generator().manual_seed(0)
        for axis, share in zip(self._cuttable, shares, strict=False):
            n = self.shape[axis]
            gone = n - max(1, min(n - 1, round(share * n)))
            stays[axis][torch.randperm(n, generator=dice)[:gone]] = False
        return stays

    def _numbers(self, seed: int, alive: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Draw weights and the gradients of each step; where none is said to be alive, three of five are."""
        dice = torch.Generator().manual_seed(seed)
        drawn = [torch.randn(self.shape, generator=dice) for _ in range(STEPS + 1)]
        if alive is None:
            alive = torch.rand(self.shape, generator=dice) < 0.6
        weights, *gradients = [(t * alive).to(self.like.device, self.like.dtype) for t in drawn]
        return weights / 10, gradients


def refusal(finding: Finding) -> str | None:
    """Return why no cut can follow, None where it can."""
    reasons = (
        f"it keeps '{name_of(path)}' {role.reason}" for path, role in finding.roles.items() if role.reason
    )
    return finding.unknown or next(reasons, finding.reason)


def _taken(tensor: Tensor, stays: list[Tensor]) -> Tensor:
    return take(tensor, range(len(stays)), stays)


def _turned(gradient: Tensor, weights: Tensor, share: float) -> Tensor:
    """Return a gradient whose rows point along those of the weights by a share of their length."""
    if gradient.ndim < 2:
        return gradient
    rows, along = gradient.flatten(1), weights.flatten(1)
    along = along / along.norm(dim=1, keepdim=True).clamp(min=torch.finfo(along.dtype).tiny)
    rows = rows - (rows * along).sum(1, keepdim=True) * along
    return (rows + share * rows.norm(dim=1, keepdim=True) * along).view_as(gradient)


def _note_roles(seen: Comparison, finding: Finding) -> None:
    for path in seen.paths():
        role = seen.role(path)
        if isinstance(role, Role):
            before = finding.roles.get(path)
            finding.roles[path] = role if before is None else before.also(role)
        elif role is not None:
            finding.reason = finding.reason or f"it keeps '{name_of(path)}' {role}"
