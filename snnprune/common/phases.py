"""Progress of a program: one line when a phase begins.

The lower rooms call `phase`. The caller decides with `told` where the line goes. Without `told` there is no
line.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_say: ContextVar[Callable[[str], None] | None] = ContextVar("_say", default=None)


def phase(what: str) -> None:
    """Report that ``what`` begins, as in "reading nmnist"."""
    say = _say.get()
    if say is not None:
        say(what)


@contextmanager
def told(say: Callable[[str], None]) -> Iterator[None]:
    """Call ``say`` with every phase that begins inside this context."""
    token = _say.set(say)
    try:
        yield
    finally:
        _say.reset(token)
