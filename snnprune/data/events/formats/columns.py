"""Which column of a table holds what: by its names, or as the user says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnprune.data.events.stream import Raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from snnprune.data.events.stream import Unit

NAMES = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs"),
    "y": ("y", "ys"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on"),
}
"""Names in use for the columns of events, in small letters."""

MEANING = {name: column for column, names in NAMES.items() for name in names}


def named(names: Iterable[str]) -> dict[str, str] | None:
    """Return the name that each of the columns t, x, y and p has, or None if one is not there.

    Raises:
        ValueError: two names stand for the same column.
    """
    found: dict[str, str] = {}
    for name in names:
        column = MEANING.get(name.strip().lower())
        if column in found:
            raise ValueError(f"both {found[column]} and {name} could be its column {column}")
        if column is not None:
            found[column] = name
    return found if len(found) == len(NAMES) else None


def positions(many: int, names: Sequence[str] | None, asked: tuple[str, ...] | None) -> dict[str, int]:
    """Return at which place of a table each of the columns t, x, y and p stands.

    Names in the file come first: files that have some may stand beside files that have none.

    Args:
        many: number of columns of the table.
        names: their names in the file, if it has any.
        asked: what the user says that they hold, "-" for one to leave out.

    Raises:
        ValueError: neither says it, or there are not as many as in the table.
    """
    own = named(names) if names is not None else None
    if own is not None and names is not None:
        if len(names) != many:
            raise ValueError(f"it has {many} columns, and {len(names)} names for them")
        return {column: list(names).index(name) for column, name in own.items()}
    if asked is None:
        called = "have no names" if names is None else f"are called {', '.join(names)[:60]}"
        raise ValueError(
            f"its {many} columns {called}: say what they hold with --data.columns, such as t,x,y,p (- for a "
            "column to leave out)"
        )
    return _told(many, asked)


def raw(
    columns: dict[str, npt.NDArray[Any]], unit: Unit | None = None, sensor: tuple[int, int] | None = None
) -> Raw:
    """Return events whose columns are called t, x, y and p."""
    return Raw(columns["t"], columns["x"], columns["y"], columns["p"], unit, sensor)


def _told(many: int, asked: tuple[str, ...]) -> dict[str, int]:
    """Return the places that the user names.

    Raises:
        ValueError: a column is missing, twice there or unknown, or there are not as many as in the table.
    """
    if sorted(name for name in asked if name != "-") != sorted(NAMES):
        raise ValueError(
            f"--data.columns must name t, x, y and p once each, and - for others, not {','.join(asked)[:60]}"
        )
    if len(asked) != many:
        raise ValueError(
            f"it has {many} columns, and --data.columns names {len(asked)}: {','.join(asked)[:60]}"
        )
    return {name: asked.index(name) for name in NAMES}
