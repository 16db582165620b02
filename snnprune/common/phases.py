"""What a program says while it works and nobody can see that it does: one line as each phase begins.

Rooms below name their phase; whoever runs them decides where it is said. Nothing is said where nobody asks.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_say: ContextVar[Callable[[str], None] | None] = ContextVar("_say", default=None)


def phase(what: str) -> None:
    """Say ``what`` begins, as in "reading nmnist"."""
    say = _say.get()
    if say is not None:
        say(what)


@contextmanager
def told(say: Callable[[str], None]) -> Iterator[None]:
    """Have ``say`` called with every phase that begins inside."""
    token = _say.set(say)
    try:
        yield
    finally:
        _say.reset(token)
