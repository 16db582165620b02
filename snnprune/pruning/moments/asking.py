"""Ask an optimiser what it keeps, by letting fresh ones like it train whole and cut stand-ins."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import in_one_line
from snnprune.pruning.moments.carrying import cut_kept, kept_of, write_rest
from snnprune.pruning.moments.comparing import EQUAL, Comparison
from snnprune.pruning.moments.finding import Finding, Role, distance, take
from snnprune.pruning.moments.fresh import fingerprint, fresh_ones
from snnprune.pruning.moments.places import keyed, name_of
from snnprune.pruning.moments.trial import STEPS, Trial, step, train, unnoticed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from snnprune.pruning.moments.places import Path

ROWS, COLUMNS = 48, 40
"""Size of a stand-in: unequal, so that an axis tells by its length which one it is; 16 are left of either
after a cut, since some optimisers keep factors of weights from there on."""

MOST = 2**18
"""Largest number of entries of a stand-in of the weight's own shape."""

CUTS = ((0.34, 0.75), (0.75, 0.4))
"""Shares of rows and columns that live, in two trials: a step that looks at the weight's form shows in one."""


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
    question = (alike, shape, parameter.dtype, parameter.device)
    if alike is None or question not in _ANSWERED:
        finding = _ask(optimizer, parameter, list(shape))
        if alike is None:
            return finding
        _ANSWERED[question] = finding
    return _ANSWERED[question]


_ANSWERED: dict[Any, Finding] = {}
"""What was found out, for further optimisers of the same class and options."""


def _ask(optimizer: Any, parameter: Tensor, shape: list[int]) -> Finding:
    failure: Exception | None = None
    precisions = dict.fromkeys([parameter.dtype, torch.promote_types(parameter.dtype, torch.float32)])
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
        for shares in CUTS[: len(self._cuttable)]:
            self._compare(self._stays(shares), finding)
        self._try_masks(finding)
        return finding

    def _compare(self, stays: list[Tensor], finding: Finding) -> None:
        """Compare a whole stand-in with dead rows and columns to one that does not have them."""
        weights, gradients = self._numbers(1, stays)
        whole, other = self._train(weights, gradients), self._train(*self._numbers(2, stays))
        small = self._train(_taken(weights, stays), [_taken(g, stays) for g in gradients])
        moved = _taken(whole.movement, stays)
        if not bool(moved.isfinite().all()):
            raise ArithmeticError("its weights become infinite")
        finding.by_size |= distance(moved, small.movement) > EQUAL
        still = self._stand_still(weights)
        _note_roles(Comparison(stays, weights, whole.leaves, small.leaves, other.leaves, still), finding)
        fewer = small.others
        sized = next((path for path, size in whole.others.items() if fewer.get(path, size) != size), None)
        if sized is not None:
            finding.reason = finding.reason or f"it keeps '{name_of(sized)}' beside the state of the weight"
        finding.restarts = finding.restarts and self._restarts(other, gradients[0])
        if not refusal(finding):
            self._try_cut(whole, gradients[0], stays, finding)

    def _stand_still(self, weights: Tensor) -> dict[Path, Any]:
        """Return what is kept after one step without a gradient, if the optimiser takes such a step."""
        try:
            return self._train(weights, [torch.zeros_like(weights)]).leaves
        except Exception:
            return {}

    def _try_cut(self, whole: Trial, gradient: Tensor, stays: list[Tensor], finding: Finding) -> None:
        """Cut the whole stand-in, and look whether its optimiser can go on."""
        standin = whole.standin
        try:
            cut_kept(whole.optimizer, standin, finding.roles, stays, lambda _: None)
            standin.grad = None
            torch.utils.swap_tensors(standin, torch.nn.Parameter(_taken(standin.detach(), stays).clone()))
            step(whole.optimizer, standin, _taken(gradient, stays), graph=self.graph)
        except Exception as error:
            finding.reason = f"it stops after a cut ({in_one_line(error) or type(error).__name__})"

    def _restarts(self, trial: Trial, gradient: Tensor) -> bool:
        """Tell whether an optimiser that has lost what it kept makes it anew."""
        for _, mapping in list(keyed(trial.optimizer)):
            mapping.pop(trial.standin, None)
        try:
            step(trial.optimizer, trial.standin, gradient, graph=self.graph)
        except Exception:
            return False
        return True

    def _try_masks(self, finding: Finding) -> None:
        """Train with single dead entries whose state is set to rest after each step; leave it if that fails."""

        def after(optimizer: Any, standin: Tensor) -> None:
            for path, _, leaf in kept_of(optimizer, standin):
                role = finding.roles.get(path)
                if role is not None and role.maskable:
                    write_rest(leaf, role, dead)

        weights, gradients = self._numbers(3, [])
        dead = weights == 0
        try:
            sound = bool(self._train(weights, gradients, after).movement.isfinite().all())
        except Exception:
            sound = False
        if not sound:
            finding.roles = {path: replace(role, maskable=False) for path, role in finding.roles.items()}

    def _train(
        self, weights: Tensor, gradients: list[Tensor], after: Callable[[Any, Tensor], None] | None = None
    ) -> Trial:
        return train(self.make, weights, gradients, graph=self.graph, after=after)

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

    def _numbers(self, seed: int, stays: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Draw weights and the gradients of each step; without ``stays``, two of five entries are dead."""
        dice = torch.Generator().manual_seed(seed)
        alive = torch.rand(self.shape, generator=dice) < 0.6 if not stays else torch.ones(self.shape)
        for axis, stay in enumerate(stays):
            alive = alive * stay.view([-1 if a == axis else 1 for a in range(len(self.shape))])
        drawn = [torch.randn(self.shape, generator=dice) * alive for _ in range(STEPS + 1)]
        weights, *gradients = [t.to(self.like.device, self.like.dtype) for t in drawn]
        return weights / 10, gradients


def refusal(finding: Finding) -> str | None:
    """Return why no cut can follow, None where it can."""
    reasons = (
        f"it keeps '{name_of(path)}' {role.reason}" for path, role in finding.roles.items() if role.reason
    )
    return finding.unknown or next(reasons, finding.reason)


def _taken(tensor: Tensor, stays: list[Tensor]) -> Tensor:
    return take(tensor, range(len(stays)), stays)


def _note_roles(seen: Comparison, finding: Finding) -> None:
    for path in seen.paths():
        role = seen.role(path)
        if isinstance(role, Role):
            before = finding.roles.get(path)
            finding.roles[path] = role if before is None else before.also(role)
        elif role is not None:
            finding.reason = finding.reason or f"it keeps '{name_of(path)}' {role}"
