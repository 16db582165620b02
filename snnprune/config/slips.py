"""Which known name was meant by a word that is not quite it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LETTERS = 4
"""One wrong letter in so many is a slip of the hand; a word with more of them is another word."""


def meant(word: str, known: Iterable[str]) -> str | None:
    """Return the name that ``word`` is a slip of, or the beginning or the end of; None if there is none.

    Only what follows the last dot counts for the number of letters: ``--method.rate`` is no slip of
    ``--method.name``.

    Examples:
        >>> meant("tua", ["tau", "eta"]), meant("theta", ["tau", "eta"]), meant("growth", ["growth_conv"])
        ('tau', None, 'growth_conv')
    """
    known = sorted(known)
    allowed = max(len(word.rpartition(".")[2]) // LETTERS, 1)
    near = min(((edits(word, name), name) for name in known), default=None)
    if near is not None and near[0] <= allowed:
        return near[1]
    return next((name for name in known if _is_part(word.lstrip("-"), name.lstrip("-"))), None)


def edits(one: str, other: str) -> int:
    """Return how many letters have to be added, left out, replaced, or swapped with the next one."""
    before, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before_that, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
            if i > 1 and j > 1 and (a, b) == (other[j - 2], one[i - 2]):
                row[j] = min(row[j], before_that[j - 2] + 1)
    return row[-1]


def _is_part(word: str, name: str) -> bool:
    """Tell whether ``name`` begins with ``word``, or ends with it behind a dot, an underscore or a hyphen."""
    ends = any(name.endswith(f"{mark}{word}") for mark in "._-")
    return len(word) >= LETTERS and (name.startswith(word) or ends)
