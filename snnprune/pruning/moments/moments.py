"""The moments of an optimiser, and whatever else it keeps of each weight, as masks and cuts see it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import torch

from snnprune.common import ranks
from snnprune.common.errors import CompactionError
from snnprune.pruning.moments.asking import ask, refusal, standard
from snnprune.pruning.moments.carrying import cut_kept, is_view, kept_of, write_rest
from snnprune.pruning.moments.finding import PLAIN
from snnprune.pruning.moments.memory import Memory
from snnprune.pruning.moments.places import keyed, leaves, name_of, nested
from snnprune.pruning.moments.restart import restart
from snnprune.pruning.optimizers import parameters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from torch import Tensor

    from snnprune.network.cut import Cut
    from snnprune.pruning.compaction.transaction import Transaction
    from snnprune.pruning.moments.finding import Finding, Role
    from snnprune.pruning.moments.places import Path

REFUSED = (
    "{name} cannot go along with a cut of {key}, because {reason}: train with masks alone and take the dead "
    "out of a copy at the end (snnprune.compact(model, pruner.masks)), or use an optimiser whose moments "
    "have the shape of the weights, such as torch.optim.AdamW"
)

BY_SIZE = (
    "{name} takes other steps once the dead are taken out, because they depend on the size of a weight, on "
    "what was dead, or on random numbers: a network that is cut while it trains becomes another one than "
    "with masks alone. Where the two have to agree, cut after training, or use an optimiser that treats "
    "each entry by itself, such as torch.optim.AdamW"
)

UNKNOWN = (
    "dead weights stay at zero, but what {name} keeps of them is left as it is, because the pruner could not "
    "find out what that means: {reason}"
)


class Moments:
    """What one optimiser keeps of each parameter.

    What each tensor means is asked once, of stand-ins (`snnprune.pruning.moments.asking`).

    Args:
        optimizer: the optimiser; it is held weakly.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer, self._name = ref(optimizer), type(optimizer).__name__
        self._asked: dict[tuple[Any, ...], Finding] = {}
        self._plans: dict[int, _Plan] = {}
        self._said = False

    # --- masks

    def erasures(self, masked: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        """Set the dead entries of what is kept to rest.

        Args:
            masked: parameters, each with an integer tensor of its shape that is 0 where it is dead.

        Returns:
            Ordinary tensors to be multiplied by such a tensor, left to the caller; all others are done.
        """
        optimizer = self._optimizer()
        mappings = list(keyed(optimizer))
        pairs: list[tuple[Tensor, Tensor]] = []
        for parameter, factor in masked:
            for path, mapping in mappings:
                kept = mapping.get(parameter)
                if kept is not None:
                    pairs += self._erasures(path, kept, parameter, factor)
        return pairs

    def _erasures(
        self, path: Path, kept: Any, parameter: Tensor, factor: Tensor
    ) -> Iterable[tuple[Tensor, Tensor]]:
        plan = self._plan(parameter)
        names = plan.flat.get((path, len(kept) if type(kept) is dict else -1))
        if names is not None:  # the ordinary case: a dict of tensors, of which nothing is new
            return [(kept[name], factor) for name in names]
        if plan.finding.unknown is not None:
            self._say(UNKNOWN.format(name=self._name, reason=plan.finding.unknown))
        pairs, flat = {}, type(kept) is dict
        for inside, _, leaf in leaves(kept):
            role = self._role(plan, (*path, *inside), leaf, parameter)
            flat = flat and len(inside) == 1
            if role is not None and role.maskable:
                if type(leaf) in PLAIN and leaf.is_floating_point():
                    pairs[inside] = (leaf, factor)
                else:
                    write_rest(leaf, role, factor == 0)
                    flat = False
        if flat:
            plan.flat[path, len(kept)] = [name for (name,) in pairs]
        return pairs.values()

    # --- cuts

    def outlook(self, tensors: Mapping[str, Tensor], lasting: Collection[str]) -> str | None:
        """Return why parameters, by name, cannot be cut in training, or what a cut would change.

        Args:
            tensors: the parameters.
            lasting: names of those in which the dead keep their numbers.
        """
        mine = {id(p) for p in parameters(self._optimizer())}
        findings = {k: self._plan(p).finding for k, p in tensors.items() if id(p) in mine and p.numel() > 1}
        for key, finding in findings.items():
            reason = refusal(finding)
            if reason is not None:
                return REFUSED.format(name=self._name, key=key, reason=reason)
        changed = any(f.by_size or (f.by_living and key in lasting) for key, f in findings.items())
        return BY_SIZE.format(name=self._name) if changed else None

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Check that a cut of these parameters, by name, can be followed.

        Raises:
            CompactionError: it cannot.
        """
        optimizer = self._optimizer()
        for key, parameter in tensors.items():
            kept = list(kept_of(optimizer, parameter))
            if not kept:
                continue
            plan = self._plan(parameter)
            for path, _, _, leaf in kept:
                self._role(plan, path, leaf, parameter)
            reason = refusal(plan.finding) or plan.unseen
            if reason is not None:
                raise CompactionError(REFUSED.format(name=self._name, key=key, reason=reason))

    def shrink(self, tensors: Mapping[str, Tensor], cut: Cut, changes: Transaction) -> None:
        """Cut what is kept of parameters, by name, before these are cut themselves; `check` comes first."""
        optimizer = self._optimizer()
        for key, parameter in tensors.items():
            if any(True for _ in kept_of(optimizer, parameter)):
                stays = [cut.stays(key, axis, n) for axis, n in enumerate(parameter.shape)]
                cut_kept(optimizer, parameter, self._plan(parameter).finding.roles, stays, changes.on_failure)

    def forget(self, parameter: Tensor) -> None:
        """Start anew with a parameter whose weights were replaced."""
        optimizer = self._optimizer()
        if any(True for _ in kept_of(optimizer, parameter)):
            restart(optimizer, parameter, lazily=self._plan(parameter).finding.restarts)

    # --- what things are

    def _plan(self, parameter: Tensor) -> _Plan:
        plan = self._plans.get(id(parameter))
        if plan is None or plan.shape != parameter.shape:
            finding = self._ask(parameter)
            plan = self._plans[id(parameter)] = _Plan(parameter.shape, finding)
        return plan

    def _ask(self, parameter: Tensor, *, own: bool = False) -> Finding:
        optimizer: Any = self._optimizer()
        holds = (any(p is parameter for p in group["params"]) for group in optimizer.param_groups)
        group = next((i for i, held in enumerate(holds) if held), None)
        shape = parameter.shape if own else standard(parameter.shape)
        question = (group, *shape, parameter.dtype, parameter.device, own)
        if question not in self._asked:
            self._asked[question] = ask(optimizer, parameter, own_shape=own)
        return self._asked[question]

    def _role(self, plan: _Plan, path: Path, leaf: Any, parameter: Tensor) -> Role | None:
        """Return what a leaf is; where a stand-in had none like it, ask one of the parameter's own shape."""
        if not isinstance(leaf, torch.Tensor) or plan.finding.unknown or is_view(leaf, parameter):
            return None
        for own in (True, False):
            role = plan.finding.roles.get(path)
            if role is not None and role.fits(leaf, parameter.shape):
                return role
            if own and not plan.own:
                plan.finding, plan.own = self._ask(parameter, own=True), True
        if leaf.numel() > 1:
            plan.unseen = f"it keeps '{name_of(path)}', which it did not keep of a stand-in"
        return None

    def _say(self, sentence: str) -> None:
        if not self._said and ranks.is_first():
            warnings.warn(sentence, stacklevel=2)
        self._said = True


class _Plan:
    """What is known of one parameter: the finding, and which keys of a plain dict of moments are masked."""

    def __init__(self, shape: torch.Size, finding: Finding) -> None:
        self.shape, self.finding, self.own = shape, finding, False
        self.unseen: str | None = None
        self.flat: dict[tuple[Path, int], list[Any]] = {}


_MOMENTS: WeakKeyDictionary[Any, Moments | Memory] = WeakKeyDictionary()


def moments_of(optimizer: Any) -> Moments | Memory:
    """Return what is known of an optimiser; it is asked once."""
    known = _MOMENTS.get(optimizer)
    if known is None:
        known = Memory(optimizer) if isinstance(optimizer, torch.optim.LBFGS) else Moments(optimizer)
        _MOMENTS[optimizer] = known
    return known


def outermost(optimizers: Iterable[Any]) -> list[Any]:
    """Return the optimisers without those that are inside another one of them."""
    given = list(optimizers)
    inside = {id(part) for each in given for path, part in nested(each) if path}
    return [each for each in given if id(each) not in inside]
