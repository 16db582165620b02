"""The one stream of a file that holds several: never merged, never picked silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def chosen(names: Sequence[str], asked: str | None) -> str:
    """Return the name of the stream to read.

    Args:
        names: the streams of events that a file holds, at least one.
        asked: what the user asks for: a name, parts of a path as far as they tell it apart, or a number,
            counted from 0 in the order of ``names``.

    Raises:
        ValueError: there are several and none is asked for, or none is called so.
    """
    listed = ", ".join(names)[:80]
    if asked is None:
        if len(names) > 1:
            raise ValueError(f"it holds several streams of events: give one of {listed} as --data.stream")
        return names[0]
    if asked in names:
        return asked
    if asked.isdecimal() and int(asked) < len(names):
        return names[int(asked)]
    wanted = f"/{asked.strip('/')}/"
    within = [name for name in names if wanted in f"/{name.strip('/')}/"]
    if len(within) == 1:
        return within[0]
    raise ValueError(
        f"it holds no stream of events called {asked[:30]!r}: --data.stream must be one of {listed}"
    )
