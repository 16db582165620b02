"""The runs of a bench: methods x targets x seeds on one data set and model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from snnprune.common.errors import UserError
from snnprune.config.names import METHODS, label, options_of, pick
from snnprune.config.schema import FURTHER, LARGEST_SEED
from snnprune.config.unused import DENSE, unused_in_all
from snnprune.config.values import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from snnprune.config.schema import RunConfig

SEEDS = 5
"""Default number of seeds: with fewer, an interval seldom excludes zero."""

MOST = 1000
"""Most entries of a list: a longer list is a typing error."""

OWN = ("none", "null", "own")
"""Words that stand for the method's own stopping rule, in place of a target."""


Aim = float | tuple[str, float] | None
"""A target: a share of all weights, or of a measure by its name; None is the method's own stopping rule."""

WEIGHTS = "weights"


@dataclass(frozen=True)
class Cell:
    """One run of a bench.

    Attributes:
        method: the name of the method.
        target: share to prune; None for the method's own stopping rule, and for methods without a target.
        seed: seed of weights, data order and noise.
        measure: what the target is a share of: `WEIGHTS`, or another measure.
    """

    method: str
    target: float | None
    seed: int
    measure: str = WEIGHTS

    @property
    def group(self) -> str:
        """Name of the group of runs that differ in the seed alone: "dpap-0.6", or "dpap-synops-0.6"."""
        return group_name(self.method, self.target, self.measure)

    @property
    def name(self) -> str:
        """Name of the cell's folder."""
        return f"{label(self.group)}-seed{self.seed}"

    def config(self, base: RunConfig) -> RunConfig:
        """Return the configuration of the run. Options in ``base`` are for the method that ``base`` names."""
        own = base.method.options if self.method == base.method.name else {}
        aims: dict[str, Any] = {"target": None, **dict.fromkeys(FURTHER), _key(self.measure): self.target}
        method = replace(base.method, name=self.method, options=own, **aims)
        return replace(base, method=method, train=replace(base.train, seed=self.seed, twin=False))


@dataclass(frozen=True)
class Grid:
    """The methods, targets and seeds of a bench.

    Attributes:
        methods: names of methods; `DENSE` should be one of them.
        targets: targets of those methods that have them.
        seeds: seeds of each method and target.
    """

    methods: tuple[str, ...]
    targets: tuple[Aim, ...]
    seeds: tuple[int, ...]

    def cells(self) -> Iterator[Cell]:
        """Yield the cells, seed by seed, so that a bench can be compared early."""
        for seed in self.seeds:
            for method in self.methods:
                options = options_of(METHODS, "method", method)
                if "target" not in options:
                    yield Cell(method, None, seed)
                    continue
                for aim in self.targets:
                    measure, target = aim if isinstance(aim, tuple) else (WEIGHTS, aim)
                    if _key(measure) in options:
                        yield Cell(method, target, seed, measure)


def group_name(method: str, target: float | None, measure: str = WEIGHTS) -> str:
    """Return a name such as "dpap-0.6" or "dpap-synops-0.6", or the method's alone without a target."""
    own = "" if measure == WEIGHTS else f"{measure}-"
    return method if target is None else f"{method}-{own}{target:g}"


def _key(measure: str) -> str:
    """Return the setting of a target that is a share of a measure."""
    return "target" if measure == WEIGHTS else f"target_{measure}"


def grid(
    base: RunConfig,
    methods: Any = None,
    targets: Any = None,
    seeds: Any = None,
    *,
    named: Mapping[str, str] | None = None,
) -> Grid:
    """Return the grid that the user asked for, in a file or on the command line.

    Args:
        base: the source of the defaults: its method beside `DENSE`, its target, and `SEEDS` seeds from its
            own on.
        methods: names, as a list or with commas.
        targets: shares of all weights, or "synops:0.9" for a share of another measure, as a list or with
            commas; "none" is the method's own stopping rule.
        seeds: a list, numbers with commas, or a number of seeds.
        named: how a message names each of the three, if not as an option.

    Raises:
        UserError: a method is unknown, a number is out of range, a list is empty, or ``base`` has targets of
            other measures beside the list.
    """
    further = base.method.further_targets
    said = {name: f"--{name}" for name in ("methods", "targets", "seeds")} | dict(named or {})
    chosen = (DENSE, base.method.name) if methods is None else _items(said["methods"], methods, "dense,dpap")
    own = {key: f"{key.removeprefix('target_')}:{share}" for key, share in further.items()}
    if targets is not None and own:
        key, aim = next(iter(own.items()))
        raise UserError(f"method.{key} stands beside a list of targets: put {aim} into {said['targets']}")
    own_aims: list[Any] = [base.method.target] if base.method.target is not None or not own else []
    own_aims += own.values()
    aims = _items(said["targets"], own_aims if targets is None else targets, "0.4,0.6")
    return Grid(
        tuple(dict.fromkeys(_method(said["methods"], method) for method in chosen)),
        tuple(dict.fromkeys(_target(said["targets"], aim) for aim in aims)),
        _seeds(said["seeds"], SEEDS if seeds is None else seeds, base.train.seed),
    )


def unused_in_bench(base: RunConfig, asked: Grid, chosen: Collection[str]) -> list[str]:
    """Return a sentence for each of the settings ``chosen`` that no cell of ``asked`` uses.

    Args:
        base: the configuration that all cells have in common.
        asked: the grid.
        chosen: dotted keys, and those of "methods", "targets" and "seeds" that were given.
    """
    own = {"train.twin": "a bench trains the unpruned network as a method, dense"}
    if "targets" in chosen:
        own["method.target"] = "the list of targets is used in its place"
    if "seeds" in chosen and asked.seeds[0] != base.train.seed:
        own["train.seed"] = "the list of seeds is used in its place"
    own = {key: why for key, why in own.items() if key in chosen}
    configs = {cell.group: cell.config(base) for cell in asked.cells()}
    return [
        *(f"{key} is not used: {why}" for key, why in own.items()),
        *unused_in_all(list(configs.values()), set(chosen) - set(own)),
    ]


def _items(named: str, given: Any, such: str) -> tuple[Any, ...]:
    """Return the entries of a list, or of text with commas."""
    if isinstance(given, str):
        given = [word.strip() for word in given.strip("[] ").split(",") if word.strip()]
    items = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    if not items:
        raise UserError(f"{named} must be a list such as {such}, and is empty")
    if len(items) > MOST:
        raise UserError(f"{named} must be a list of at most {MOST}, and has {len(items)}")
    return items


def _method(named: str, given: Any) -> str:
    """Return a method's name; one of the user's own is imported now, before anything is trained."""
    if not isinstance(given, str):
        raise UserError(f"{named} must be names of methods, and one is {shown(given)}")
    entry = pick(METHODS, "method", given)
    if entry.kind is not None:
        entry.load()
    return given


def _target(named: str, given: Any) -> Aim:
    if given is None or str(given).lower() in OWN:
        return None
    measure, colon, share = given.rpartition(":") if isinstance(given, str) else ("", "", given)
    measure, known = measure.strip(), (WEIGHTS, *(key.removeprefix("target_") for key in FURTHER))
    if colon and measure not in known:
        raise UserError(f"{named} has {shown(given)}, whose measure is not one of {', '.join(known)}")
    try:
        target = float(share)
    except (TypeError, ValueError, OverflowError):
        target = -1.0
    if isinstance(given, bool) or not 0 <= target < 1:
        raise UserError(
            f"{named} must be shares of all weights, or such as synops:0.9, from 0 to below 1, and one is "
            f"{shown(given)}"
        )
    return (measure, target) if colon and measure != WEIGHTS else target


def _seeds(named: str, given: Any, first: int) -> tuple[int, ...]:
    items = _items(named, given, "0,1,2")
    alone = len(items) == 1 and not isinstance(given, (list, tuple)) and "," not in str(given)
    try:
        numbers = [int(str(item)) for item in items]
    except ValueError:
        numbers = [-1]
    if alone and numbers[0] in range(1, MOST + 1):
        numbers = list(range(first, first + numbers[0]))
    elif alone:
        numbers = [-1]
    if min(numbers) < 0 or max(numbers) > LARGEST_SEED:
        raise UserError(
            f"{named} must be a number of seeds from 1 to {MOST}, or a list of seeds such as 0,1,2, "
            f"and is {shown(given)}"
        )
    return tuple(dict.fromkeys(numbers))
