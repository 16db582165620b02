"""Text on the terminal: sentences without markup, and durations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def clock(seconds: float) -> str:
    """Return a span of time as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print ``text`` without markup or line breaks: a path may hold brackets."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
