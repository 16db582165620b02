"""What is odd about a recording: each the end of a sentence that begins with the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnprune.common.console import lasting
from snnprune.data.events.hot import said_of
from snnprune.data.events.statistics import FAR, far, spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snnprune.data.events.inspection import Inspection, Look
    from snnprune.data.events.statistics import Measured


@dataclass(frozen=True)
class Odd:
    """A recording that is not like the others.

    Attributes:
        look: what was found in it.
        said: what is odd, each the end of a sentence that begins with the file; or, where it cannot be read,
            one whole sentence.
        usable: whether it can be trained on.
    """

    look: Look
    said: tuple[str, ...]
    usable: bool


def oddities(found: Inspection) -> list[Odd]:
    """Return the recordings that are odd, in the order of the listing."""
    outlying = _outlying(found)
    odd = []
    for number, look in enumerate(found.looks):
        if look.numbers is None:
            odd.append(Odd(look, (look.failure,), usable=False))
            continue
        alien = look.numbers.sensor != found.sensor
        said = [*(_of_sensor(look.numbers, found) if alien else ()), *_of_one(look.numbers)]
        said += outlying.get(number, ())
        if said:
            odd.append(Odd(look, tuple(said), usable=not alien))
    return odd


def _of_sensor(numbers: Measured, found: Inspection) -> Iterator[str]:
    size, most = ("{} x {}".format(*sensor) for sensor in (numbers.sensor, found.sensor or (0, 0)))
    yield (
        f"is of a sensor of {size} pixels, and most are of {most}: frames must have one size, which "
        "--data.crop WIDTHxHEIGHT gives them"
    )


def _of_one(numbers: Measured) -> Iterator[str]:
    """Yield what is odd about a recording by itself."""
    yield from numbers.remarks
    if numbers.disordered:
        yield f"has {numbers.disordered:,} events out of order, which are sorted by time"
    is_sound = numbers.sensor[1] == 1  # a row of channels, whose events have one polarity
    if numbers.on in (0, numbers.events) and not is_sound:
        yield f"has {'ON' if numbers.on else 'OFF'} events only"
    if numbers.hot:
        yield f"has {said_of(numbers.hot)}"


def _outlying(found: Inspection) -> dict[int, list[str]]:
    """Return what is said of the recordings that lie far from the others of their class, by their number."""
    said: dict[int, list[str]] = {}
    for label in range(len(found.listing.classes)):
        own = [(n, look.numbers) for n, look in enumerate(found.looks) if look.recording.label == label]
        read = [(n, numbers) for n, numbers in own if numbers is not None]
        rated = [(n, numbers) for n, numbers in read if numbers.rate is not None]
        for numbered, value, sentence in (
            (read, lambda one: float(one.span), _span),
            (rated, lambda one: one.rate or 0.0, _rate),
        ):
            values = [value(numbers) for _, numbers in numbered]
            middle = spread(values)
            for (n, _), own_value, is_far in zip(numbered, values, far(values), strict=True):
                if is_far and middle is not None:
                    said.setdefault(n, []).append(sentence(own_value, middle.median))
    return said


def _span(own: float, median: float) -> str:
    return f"lasts {lasting(own)}, {_against(own, median)} {lasting(median)}"


def _rate(own: float, median: float) -> str:
    return f"has {own:,.0f} events a second, {_against(own, median)} {median:,.0f}"


def _against(own: float, median: float) -> str:
    return f"{f'more than {FAR} times' if own > median else f'less than 1/{FAR} of'} the median of its class,"
