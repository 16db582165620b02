"""Events as they come: a network that answers at any time, step after step, without a recording's end."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from snnprune.common.errors import UserError
from snnprune.data.events.gate import RESTART
from snnprune.engine import binning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from snnprune.data.events.grid import Grid
    from snnprune.data.events.stream import Stream as Recording
    from snnprune.engine.plan import Plan

    Array = npt.NDArray[Any]
    Events = npt.NDArray[np.void] | Mapping[str, Array] | Recording

MOST_SILENT = 1_000_000
"""Most steps without events that are computed in one go. A time that is wrong by an hour would otherwise keep
the network busy for as long."""

BOUNDS = -(2**63), 2**63 - 1
"""Times that an int64 holds."""

_NEWEST: WeakKeyDictionary[Steps, object] = WeakKeyDictionary()
"""The mark of the newest stream of each engine, which has one state."""

Misfits = Literal["refuse", "count"]


class Steps(Protocol):
    """What computes one step after the other: an `Engine`."""

    plan: Plan

    def reset(self) -> None:
        """Begin at rest."""

    def step_events(self, places: Array, counts: Array) -> Array:
        """Return outputs [K] of one step for a sparse frame."""


@dataclass(frozen=True)
class Answer:
    """What a stream has answered so far.

    Attributes:
        label: the class with the highest score, the first of several; None before the first step.
        scores: over all steps since the stream began, float [K]; not a number before the first step.
        steps: number of steps.
        time: microseconds from the beginning of the stream to the end of the last step.
    """

    label: int | None
    scores: Array
    steps: int
    time: int


class Stream:
    """Events come in, in pieces of any size; a time step is computed as soon as its time is over.

    Step k has the events from the beginning of the stream plus k times ``bin_us`` on, so the frames are those
    of whole recordings (`snnprune.data.frames`), in whatever pieces the events come. A step's time is over
    when an event of a later one comes, or when `advance` or `finish` say so; steps without events are
    computed, too. Within a step, events may come in any order. The potentials go on from step to step, and
    the engine belongs to its newest stream.

    Args:
        engine: computes the steps; it begins at rest.
        bin_us: microseconds of a step: a whole number, or a fraction, as of a recording in T equal parts.
        grid: from the pixels of the sensor to those of a frame; without one the sensor has the columns and
            rows of the network's input, and p is the channel.
        start: time at which the first step begins; by default that of the first event.
        late: an event whose step is over, or from before the start, is refused, or left out and counted.
            Where a time falls by `snnprune.data.events.gate.RESTART` it is refused in any case: a clock
            begins again there.
        outside: an event that lies outside of the sensor, or whose polarity is none, is refused, or left out
            and counted.
        on_step: is called with the stream after each step.

    Raises:
        UserError: a step lasts no time, or frames of the grid are none that the network reads; later, at a
            step, if another stream of the engine has begun.

    Examples:
        >>> import numpy as np
        >>> from snnprune.engine.engine import Engine
        >>> from snnprune.engine.plan import INPUT, Linear, Neurons, Plan, Source
        >>> from snnprune.engine.stream import Stream
        >>> row, one = np.array([[2.0, 0.0]]), np.ones(1)
        >>> layer = Linear(name="fc", sources=(Source(INPUT),), shape=(1, 1, 1), weights=row)
        >>> neurons = {"kind": "if", "threshold": one, "leak": one, "reset": None}
        >>> fired = Neurons(name="if", sources=(Source(0),), shape=(1, 1, 1), **neurons)
        >>> stream = Stream(Engine(Plan((1, 1, 2), (layer, fired), 1, np.dtype("float64"))), bin_us=10)
        >>> stream.push({"t": [100, 103, 111], "x": [0, 0, 1], "y": [0, 0, 0], "p": [0, 0, 0]})
        1
        >>> stream.finish().scores
        array([1.])
    """

    def __init__(
        self,
        engine: Steps,
        bin_us: int | Fraction,
        *,
        grid: Grid | None = None,
        start: int | None = None,
        late: Misfits = "refuse",
        outside: Misfits = "refuse",
        on_step: Callable[[Stream], None] | None = None,
    ) -> None:
        if not isinstance(bin_us, (int, Fraction)) or not bin_us > 0:
            raise UserError(
                f"a step must last some time, and bin_us is {bin_us!r}: give microseconds above 0"
            )
        for name, chosen in (("late", late), ("outside", outside)):
            if chosen not in ("refuse", "count"):
                raise UserError(f"{name} must be 'refuse' or 'count', and is {chosen!r}")
        shape = engine.plan.shape
        if grid is not None and grid.shape != shape:
            raise UserError(
                f"frames of the sensor would have the shape {grid.shape}, and the network reads {shape}: "
                "crop, pool or merge as its training data were (data.crop, data.size, data.polarity)"
            )
        self.engine, self.bin = engine, Fraction(bin_us)
        self._sensor = grid.sensor if grid is not None else (shape[2], shape[1])
        self.on_step = on_step
        self._size = int(np.prod(engine.plan.nodes[engine.plan.output].shape))
        self._strict = np.array([late == "refuse", outside == "refuse", False])
        self._tables = binning.tables(shape, grid)
        cells = int(np.prod(shape))
        self._counts, self._places = np.zeros(cells, np.uint8), np.zeros(cells, np.int64)
        self._values = np.zeros(cells, engine.plan.dtype)
        self.reset(start)

    def reset(self, start: int | None = None) -> None:
        """Begin anew, at rest, with all numbers at 0.

        Args:
            start: time at which the first step begins; by default that of the first event.
        """
        self.engine.reset()
        _NEWEST[self.engine] = self._mark = object()
        self._counts[:] = 0
        self._tally = np.zeros(5, np.int64)
        self._many = self._came = self._steps = 0
        self._begun = False
        self._start = start
        self._kept: Array | None = None
        self._outputs = np.zeros(self._size, self.engine.plan.dtype)
        self._set_bounds()

    def push(self, events: Events) -> int:
        """Take events, and compute the steps whose time is over by then.

        Args:
            events: what has columns t (microseconds), x, y and p by name: a structured array, a dict, or a
                recording that was read; whole numbers, any number of events.

        Returns:
            The number of steps that were computed.

        Raises:
            UserError: columns are no whole numbers or not of one length; an event is late or outside, and
                refused; or one comes more than `MOST_SILENT` steps behind the step before. Events in front of
                it have been taken.
        """
        t, x, y, p = _columns(events)
        before, at = self._steps, 0
        while at < len(t):
            stopped, why, self._many, seen = binning.take(
                *(t, x, y, p, at),
                *(*self._bounds, *self._tables),
                *(self._counts, self._places, self._many, self._strict, self._tally),
            )
            self._begun |= seen
            self._came += stopped - at
            at = stopped
            if why == binning.NEXT:
                self._pass_to(int(t[at]))
            elif why != binning.ALL:
                raise self._refused(why, *(int(column[at]) for column in (t, x, y, p)))
        return self._steps - before

    def advance(self, time: int) -> int:
        """Let time pass: all events before ``time`` have come. Return the number of steps that were computed.

        Before the first event no time passes, unless ``start`` was given.

        Raises:
            UserError: more than `MOST_SILENT` steps would be computed.
        """
        before = self._steps
        if self._start is not None:
            self._pass_to(time)
            self._begun |= time > self._begins(self._steps)
        return self._steps - before

    def finish(self) -> Answer:
        """Compute the last step, if its time has begun, as that of a recording that ends here."""
        if self._begun:
            self._compute()
        return self.answer()

    def answer(self) -> Answer:
        """Return the answer over the steps that were computed so far."""
        time = 0 if self._start is None else self._begins(self._steps) - self._start
        if self._kept is None:
            return Answer(None, np.full(self._size, np.nan, self.engine.plan.dtype), 0, time)
        mean = self.engine.plan.over_time == "mean"
        scores = (self._kept / self._steps if mean else self._kept).astype(self.engine.plan.dtype)
        return Answer(int(scores.argmax()), scores, self._steps, time)

    @property
    def outputs(self) -> Array:
        """Outputs [K] of the last step, zeros before the first."""
        return self._outputs

    @property
    def steps(self) -> int:
        """Number of steps that were computed."""
        return self._steps

    @property
    def came(self) -> int:
        """Number of events that came."""
        return self._came

    @property
    def late(self) -> int:
        """Number of events that were late, and left out."""
        return int(self._tally[binning.WERE_LATE])

    @property
    def outside(self) -> int:
        """Number of events outside of the sensor, which were left out."""
        return int(self._tally[binning.WERE_OUTSIDE])

    @property
    def unseen(self) -> int:
        """Number of events of pixels or polarities that a frame does not show."""
        return int(self._tally[binning.UNSEEN])

    @property
    def full(self) -> int:
        """Number of counts of 255 or more events in one cell, which stay at 255."""
        return int(self._tally[binning.FULL])

    def _begins(self, step: int) -> int:
        """Return the first whole microsecond of a step."""
        assert self._start is not None
        return self._start - (-step * self.bin.numerator // self.bin.denominator)

    def _set_bounds(self) -> None:
        """Note the first and last time of the open step, and that before which a clock begins again."""
        low, high = BOUNDS
        self._strict[2] = self._start is None
        if self._start is None:
            self._bounds = (low, low, low)
            return
        first, after = self._begins(self._steps), self._begins(self._steps + 1)
        clipped = [min(max(time, low), high) for time in (first, after - 1, first - RESTART)]
        self._bounds = (clipped[0], clipped[1], clipped[2])

    def _pass_to(self, time: int) -> None:
        """Compute all steps that are over at ``time``."""
        if self._start is None:
            self._start = time
            self._set_bounds()
            return
        step = (time - self._start) * self.bin.denominator // self.bin.numerator
        if step - self._steps > MOST_SILENT:
            raise UserError(
                f"the time goes on to {time:,} us at event {self._came + 1:,}, by {step - self._steps:,} "
                f"steps, and at most {MOST_SILENT:,} without events are computed: correct the time, or reset "
                "the stream there"
            )
        while self._steps < step:
            self._compute()

    def _compute(self) -> None:
        if _NEWEST.get(self.engine) is not self._mark:
            raise UserError(
                "another stream of this engine has begun, which brought its potentials to rest: make an "
                "engine for each stream"
            )
        binning.emptied(self._counts, self._places, self._many, self._values, self._tally)
        many, self._many = self._many, 0
        self._outputs = outputs = self.engine.step_events(self._places[:many], self._values[:many])
        over_time, kept = self.engine.plan.over_time, self._kept
        if kept is None or over_time == "last":
            # Sums of many steps need more places than those of an output.
            self._kept = outputs.astype(np.float64)
        else:
            self._kept = np.maximum(kept, outputs) if over_time == "max" else kept + outputs
        self._steps += 1
        self._begun = False
        self._set_bounds()
        if self.on_step is not None:
            self.on_step(self)

    def _refused(self, why: int, t: int, x: int, y: int, p: int) -> UserError:
        event = f"event {self._came + 1:,}"
        if why == binning.LATE:
            first = self._begins(self._steps)
            if first - t >= RESTART:
                return UserError(
                    f"the time of {event} falls to {t:,} us, where steps before {first:,} are over, as if a "
                    "clock began again: reset the stream there, or give times that go on"
                )
            return UserError(
                f"{event} is late: its time is {t:,} us, and the steps before {first:,} are over; sort the "
                "events, have late ones left out and counted (late='count', --late count), or begin the next "
                "recording with reset()"
            )
        width, height = self._sensor
        known = " or ".join(map(str, np.flatnonzero(self._tables[2] != binning.FOREIGN)))
        polarity = "-1, or above 254" if p == np.iinfo(np.uint8).max else p
        return UserError(
            f"{event} has x {x}, y {y} and p {polarity}, outside of {width} x {height} pixels with p "
            f"{known}: compare the size of the sensor and the order of the columns, or have such events left "
            "out and counted (outside='count', --outside count)"
        )


def _columns(events: Events) -> tuple[Array, Array, Array, Array]:
    """Return times, columns, rows and polarities as `binning.take` reads them.

    Places of more than 16 bits, and polarities of more than 8, become ones that no sensor has.
    """
    try:
        t, x, y, p = (np.asarray(events[name]) for name in "txyp")
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise UserError(
            f"events must have the columns t, x, y and p, by these names, and are {type(events).__name__}: "
            "give a structured array or a dict"
        ) from error
    if not (t.ndim == 1 and t.shape == x.shape == y.shape == p.shape):
        raise UserError(
            "the columns of events must be rows of one length, and have the shapes "
            + ", ".join(f"{name} {column.shape}" for name, column in zip("txyp", (t, x, y, p), strict=True))
        )
    if not len(t):
        t, x, y, p = (np.zeros(0, np.int64) for _ in "txyp")
    for name, column in zip("txyp", (t, x, y, p), strict=True):
        if column.dtype.kind not in ("iub" if name == "p" else "iu"):
            raise UserError(
                f"the column {name} of events must hold whole numbers, and is {column.dtype}: times are "
                "microseconds"
            )
    if t.dtype == np.uint64 and t.max(initial=0) > BOUNDS[1]:
        raise UserError(f"times must fit into 63 bits, and one is {t.max():,}: subtract the first")
    return (
        np.ascontiguousarray(t, np.int64),
        _narrow(x, np.uint16),
        _narrow(y, np.uint16),
        _narrow(p, np.uint8),
    )


def _narrow(numbers: Array, kind: type[np.unsignedinteger[Any]]) -> Array:
    """Return numbers in fewer bits; what does not fit becomes the largest, which nothing has."""
    if numbers.dtype not in (np.dtype(kind), np.dtype(np.bool_)):
        top = np.iinfo(kind).max
        numbers = np.where((numbers >= 0) & (numbers < top), numbers, top)
    return np.ascontiguousarray(numbers, kind)
