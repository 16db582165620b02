"""What a name stands for: data sets, models and methods, with a line on each.

The tables hold places ("module:attribute"), not objects, so that reading them imports nothing heavy and
no room has to know the rooms above it. An object works wherever a name does.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

from snnprune.errors import UserError


@dataclass(frozen=True)
class Entry:
    """One name that a user may write.

    Attributes:
        summary: a line for somebody who does not know it.
        source: the paper or the archive that it comes from.
        place: "module:attribute" of the callable that builds it.
    """

    summary: str
    source: str
    place: str

    def load(self) -> Any:
        """Import the module and return the attribute."""
        module, _, attribute = self.place.partition(":")
        return getattr(importlib.import_module(module), attribute)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint naming the entry of ``known`` that is nearest to ``word``, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"choose one of: {', '.join(known)}"


def pick(table: Mapping[str, Entry], kind: str, name: str) -> Entry:
    """Look ``name`` up in ``table``.

    Raises:
        UserError: the name is not in the table; the message names the nearest one.
    """
    if name not in table:
        raise UserError(f"there is no {kind} called '{name}': {nearest(name, table)}")
    return table[name]


DATASETS: dict[str, Entry] = {}

MODELS: dict[str, Entry] = {}

METHODS: dict[str, Entry] = {}
