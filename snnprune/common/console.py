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


def legible(text: object) -> str:
    """Return ``text`` in one line, with "?" for what cannot be shown, which a name of a file may hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def lasting(microseconds: float) -> str:
    """Return a short length of time with its unit: 12 us, 306 ms, 4.25 s, or 3:20 min."""
    if microseconds >= 100e6:
        return f"{clock(microseconds * 1e-6)} {'h' if microseconds >= 3600e6 else 'min'}"
    for size, unit in ((1e6, "s"), (1e3, "ms")):
        if microseconds >= 0.9995 * size:  # what rounds to 1000 of a unit is 1 of the next
            return f"{microseconds / size:.3g} {unit}"
    return f"{microseconds:.0f} us"
