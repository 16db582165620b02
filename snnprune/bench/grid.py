"""Which runs a bench consists of: methods x targets x seeds on one data set and model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from snnprune.common.errors import UserError
from snnprune.config.names import METHODS, options_of, pick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snnprune.config.schema import RunConfig

DENSE = "dense"
"""The method that prunes nothing, which all others are compared with."""

SEEDS = 5
"""Seeds where nobody says how many: with fewer, an interval seldom excludes anything."""

OWN = ("none", "null", "own")
"""Words for the method's own stopping, in place of a target."""


@dataclass(frozen=True)
class Cell:
    """One run of a bench.

    Attributes:
        method: its name.
        target: share of all weights to prune, None for the method's own stopping and for methods without one.
        seed: of weights, data order and noise.
    """

    method: str
    target: float | None
    seed: int

    @property
    def group(self) -> str:
        """What runs that differ in the seed alone have in common, such as "dpap-0.6"."""
        return group_name(self.method, self.target)

    @property
    def name(self) -> str:
        """Name of the cell's folder."""
        return f"{self.group}-seed{self.seed}"

    def config(self, base: RunConfig) -> RunConfig:
        """Return the configuration of the run; constants in ``base`` are those of the method named there."""
        own = base.method.options if self.method == base.method.name else {}
        method = replace(base.method, name=self.method, target=self.target, options=own)
        return replace(base, method=method, train=replace(base.train, seed=self.seed, twin=False))


@dataclass(frozen=True)
class Grid:
    """What is compared.

    Attributes:
        methods: by name; `DENSE` should be one of them.
        targets: of those methods that know one; None is the method's own stopping.
        seeds: of each.
    """

    methods: tuple[str, ...]
    targets: tuple[float | None, ...]
    seeds: tuple[int, ...]

    def cells(self) -> Iterator[Cell]:
        """Yield the cells, seed by seed, so that a bench can be compared early."""
        aims = {
            method: self.targets if "target" in options_of(METHODS, "method", method) else (None,)
            for method in self.methods
        }
        for seed in self.seeds:
            for method in self.methods:
                for target in aims[method]:
                    yield Cell(method, target, seed)


def group_name(method: str, target: float | None) -> str:
    """Return "dpap-0.6", or the method's name alone where there is no target."""
    return method if target is None else f"{method}-{target:g}"


def grid(base: RunConfig, methods: Any = None, targets: Any = None, seeds: Any = None) -> Grid:
    """Return the grid that somebody asked for, in a file or on the command line.

    Args:
        base: gives what was not asked: its method beside `DENSE`, its target, and `SEEDS` seeds from its own.
        methods: names, as a list or with commas.
        targets: numbers, as a list or with commas; "none" is the method's own stopping.
        seeds: a list, numbers with commas, or how many.

    Raises:
        UserError: an unknown method, a number out of range, or nothing in a list.
    """
    chosen = (DENSE, base.method.name) if methods is None else _items("methods", methods)
    for method in chosen:
        pick(METHODS, "method", str(method))
    aims = (base.method.target,) if targets is None else _items("targets", targets)
    return Grid(
        tuple(dict.fromkeys(str(method) for method in chosen)),
        tuple(dict.fromkeys(_target(aim) for aim in aims)),
        _seeds(SEEDS if seeds is None else seeds, base.train.seed),
    )


def _items(name: str, given: Any) -> tuple[Any, ...]:
    """Return the entries of a list, also of one that is written with commas."""
    if isinstance(given, str):
        given = [word.strip() for word in given.strip("[] ").split(",") if word.strip()]
    items = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    if not items:
        raise UserError(f"--{name} is a list such as a,b,c, and came empty")
    return items


def _target(given: Any) -> float | None:
    if given is None or str(given).lower() in OWN:
        return None
    try:
        target = float(given)
    except (TypeError, ValueError):
        target = -1.0
    if isinstance(given, bool) or not 0 <= target < 1:
        raise UserError(f"--targets are shares of all weights, from 0 to below 1, and one is {given!r}")
    return target


def _seeds(given: Any, first: int) -> tuple[int, ...]:
    items = _items("seeds", given)
    alone = len(items) == 1 and not isinstance(given, (list, tuple)) and "," not in str(given)
    try:
        numbers = [int(str(item)) for item in items]
    except ValueError:
        numbers = [-1]
    if min(numbers) < 0 or (alone and numbers[0] < 1):
        raise UserError(f"--seeds is how many (5), or a list of seeds from 0 on (0,1,2), and is {given!r}")
    return tuple(range(first, first + numbers[0])) if alone else tuple(dict.fromkeys(numbers))
