"""Play events to a trained network, from a file or as they come, and say what it answers meanwhile."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.common.errors import UserError
from snnprune.config.check import check
from snnprune.config.names import DATASETS, is_own, pick
from snnprune.config.values import microseconds
from snnprune.data.events import framing, reading
from snnprune.data.events.cutting import laid_out
from snnprune.data.events.grid import grid
from snnprune.data.events.layouts import Recording
from snnprune.data.events.stream import Asked
from snnprune.engine import plan_file
from snnprune.engine.engine import Engine
from snnprune.engine.stream import Stream
from snnprune.runs import about
from snnprune.runs.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from snnprune.config.schema import DataConfig
    from snnprune.data.events.cutting import Shown
    from snnprune.data.events.grid import Grid
    from snnprune.data.events.stream import Stream as Events
    from snnprune.engine.plan import Plan
    from snnprune.engine.stream import Misfits

PACKED = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
"""An event on the standard input: 13 bytes, little endian; microseconds, column, row, and 1 for ON."""

PIECE = 2**16
"""Most events that are pushed at a time."""


@dataclass(frozen=True)
class Network:
    """A network that plays.

    Attributes:
        name: its path.
        plan: what it computes.
        data: settings of its data: how events become frames.
        classes: names of the classes; where they are not known, their numbers.
    """

    name: str
    plan: Plan
    data: DataConfig
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Moment:
    """What the network answers at some time.

    Attributes:
        time: microseconds since the recording's beginning, at the end of a step.
        step: number of steps of this sample that were computed.
        label: the class with the highest score.
        scores: of all classes.
        sample: number of the sample, from 0: of the window, where there are several.
        samples: number of samples that are played.
        last: whether it is the answer to the whole sample.
    """

    time: int
    step: int
    label: int
    scores: npt.NDArray[Any]
    sample: int = 0
    samples: int = 1
    last: bool = False


@dataclass
class Played:
    """What was played.

    Attributes:
        events: number of events that were pushed.
        steps: number of steps that were computed.
        bin: microseconds of a step.
        span: microseconds that were played.
        seconds: of computing.
        left_out: numbers of events that were left out, by why.
    """

    events: int = 0
    steps: int = 0
    bin: Fraction = Fraction(0)
    span: int = 0
    seconds: float = 0.0
    left_out: dict[str, int] | None = None

    def add(self, stream: Stream, seconds: float) -> None:
        """Add the numbers of a stream that has ended."""
        self.events += stream.came
        self.steps += stream.steps
        self.bin = stream.bin
        self.span += stream.answer().time
        self.seconds += seconds
        now = {"late": stream.late, "outside": stream.outside, "unseen": stream.unseen, "full": stream.full}
        before = self.left_out or dict.fromkeys(now, 0)
        self.left_out = {why: before[why] + many for why, many in now.items()}


def network(path: Path, data: Mapping[str, Any], bits: int | None = None) -> Network:
    """Read a network that was trained on recordings.

    Args:
        path: folder of a finished run, its model.safetensors, or a list of connections, which needs no torch.
        data: settings of `DataConfig` that replace those of its training.
        bits: of a weight, for whole numbers.

    Raises:
        UserError: there is no such network, or it was trained on images or has no plan.
    """
    plan = None
    if path.is_file() and plan_file.is_one(path):
        if bits is not None:
            raise UserError(f"{path} holds weights of bits of its own: leave --bits out, or give its run")
        plan = plan_file.read(path)
        known = about.parse(plan.about, path)
    else:
        known = about.parse(_about_of(path), path)
    config = replace(known.config, data=replace(known.config.data, **data))
    check(config)
    source = _source(config.data.name)
    if not getattr(source, "events", True):
        raise UserError(
            f"{path} was trained on images ('{config.data.name}'), and events are played to networks that "
            "were trained on recordings: `snnprune eval` measures it"
        )
    if plan is None:
        plan = _planned(path, known, bits)
    if plan.shape[0] == 1 and _has(config.data.name, "channels"):
        config = replace(config, data=replace(config.data, polarity="on"))
    return Network(str(path), plan, config.data, _names(source, config.data, known.classes))


def _about_of(path: Path) -> str:
    """Return what the file of a compact network says of its origin."""
    from snnprune.export.compact import about_of  # noqa: PLC0415 - torch

    file = path
    if path.is_dir():
        RunFolder(path).read_config()
        file = RunFolder(path).network
        if not file.is_file():
            raise UserError(
                f"{path} has no compact network yet: finish the run with `snnprune train --resume {path}`"
            )
    if not file.is_file() or file.suffix != ".safetensors":
        raise UserError(
            f"{path} is no network that plays: expected the folder of a run, its model.safetensors, or a "
            "file of `snnprune export --to csr`"
        )
    return about_of(file)


def _planned(path: Path, known: about.About, bits: int | None) -> Plan:
    """Return the plan of a torch network; in place of its data, which need not be there, a sample made up."""
    from snnprune.data import FrameSet, Splits  # noqa: PLC0415 - torch
    from snnprune.export.planning import plan_of  # noqa: PLC0415 - torch

    shape = (2, 2, *known.shape)
    made_up = (np.arange(np.prod(shape)).reshape(shape) % 3 == 0).astype(np.uint8)
    sample = FrameSet(made_up, np.zeros(len(made_up), np.int64))
    names = tuple(map(str, range(known.classes)))
    splits = Splits(sample, sample, sample, names, known.shape, events=True)
    return plan_of(path, bits=bits, splits=splits)


def _source(name: str) -> Any:
    """Return the data set of this name; None for one that cannot be had here."""
    if name not in DATASETS and not is_own(name):
        return None  # it was made by hand
    try:
        return pick(DATASETS, "data set", name).load()
    except UserError:
        return None


def _has(name: str, trait: str) -> bool:
    return name in DATASETS and bool(DATASETS[name].has(trait))


def _names(source: Any, config: DataConfig, many: int) -> tuple[str, ...]:
    names: tuple[str, ...] = tuple(getattr(source, "classes", ()))
    if config.classes is not None and names:
        names = tuple(names[int(label)] for label in config.classes.split(","))
    return names if len(names) == many else tuple(map(str, range(many)))


@dataclass(frozen=True)
class Asking:
    """How a recording is played.

    Attributes:
        bin: microseconds of a step; None for those of the training.
        every: microseconds between answers; None to hear of each answer that changes.
        late: what happens to events that are late.
        outside: what happens to events outside of the sensor.
        tell: is called with what the network answers.
        remark: is called with what the user should know, in a sentence.
    """

    bin: int | None
    every: int | None
    late: Misfits
    outside: Misfits
    tell: Callable[[Moment], None]
    remark: Callable[[str], None]


def play_file(playing: Network, path: Path, asking: Asking) -> Played:
    """Play a recording: in the steps of the training's frames, with the answers of ``eval``, or in own steps.

    Raises:
        UserError: the file cannot be read, is of another sensor, or is cut into frames that have no time.
    """
    # In steps of one's own, all of the recording is one sample.
    config = playing.data if asking.bin is None else replace(playing.data, bin=None, window=None)
    shown = _shown(config, path)
    for remark in shown.remarks:
        asking.remark(f"{path} {remark}")
    spans = _spans(config, path, shown, asking.bin)
    player = _Player(playing, shown.grid, asking, len(spans))
    for begin, end, length in spans:
        inside = slice(*np.searchsorted(shown.events.t, (begin, end)))
        if inside.start < inside.stop:
            part = shown.stream.picked(slice(*np.searchsorted(shown.stream.t, (begin, end))))
            player.sample(length, begin, end if asking.bin is None else None, _pieces(part))
    return player.played


def _shown(config: DataConfig, path: Path) -> Shown:
    said, form = _said(config, path)
    stream = reading.read(path, said, form)
    try:
        return laid_out(stream, Recording(path, 0), config, named=True)
    except ValueError as error:
        raise UserError(f"{path} {error}") from error


def _said(config: DataConfig, path: Path | None) -> tuple[Asked, Any]:
    """Return what files of the data set do not say themselves, and their format where it is of its own."""
    said, source = framing.asked(config), _source(config.name)
    patterns = getattr(source, "patterns", (getattr(source, "pattern", ""),))
    if path is not None and path.suffix.lower() not in {Path(pattern).suffix for pattern in patterns}:
        return said, None
    own = getattr(source, "table", None) or getattr(source, "asked", None) or Asked()
    if hasattr(source, "sensor"):
        own = replace(own, sensor=tuple(source.sensor[:0:-1]))
    chosen = {name: value for name, value in vars(said).items() if value is not None}
    return replace(own, **chosen), getattr(source, "form", None)


def _spans(config: DataConfig, path: Path, shown: Shown, own: int | None) -> list[tuple[int, int, Fraction]]:
    """Return where samples begin and end, and how long a step of theirs is."""
    T, times = config.time_steps, shown.events.t
    if own is not None:
        return [(0, int(shown.stream.t[-1]) + 1, Fraction(own))]
    if config.binning == "count":
        raise UserError(
            "the network was trained on frames of equal counts (data.binning count), which last no time "
            "that is known before: give --bin, such as --bin 10ms"
        )
    if config.binning == "tonic":
        length = int(times[-1] - times[0]) // T
        if not length:
            raise UserError(
                f"{path} spans less than {T} microseconds, too few for Tonic's rule (data.binning tonic): "
                "give --bin, such as --bin 10us"
            )
        return [(int(times[0]), int(times[0]) + T * length, Fraction(length))]
    return [(begin, end, Fraction(end - begin, T)) for begin, end in shown.spans]


def _pieces(events: Events) -> Iterator[Events]:
    for at in range(0, len(events), PIECE):
        yield events.picked(slice(at, at + PIECE))


def play_input(playing: Network, descriptor: int, asking: Asking) -> Played:
    """Play packed events (`PACKED`) as they come from a file descriptor, to its end.

    Raises:
        UserError: no events come, steps have no length, the sensor is not known, or an event is refused.
    """
    config = playing.data
    length = asking.bin or (None if config.bin is None else microseconds(config.bin))
    if length is None:
        raise UserError(
            f"{playing.name} was trained on frames that are shares of a recording, and events from the "
            "standard input have no end that is known before: give --bin, such as --bin 10ms"
        )
    if config.hot_pixels == "remove":
        raise UserError(
            "hot pixels are found in whole recordings, and events from the standard input come one by one: "
            "play a file, or give --data.hot_pixels keep"
        )
    player = _Player(playing, _grid(playing), asking, 1)
    player.sample(Fraction(length), None, None, _unpacked(descriptor, asking.remark))
    if not player.played.events:
        raise UserError("no events came from the standard input: write records of 13 bytes (docs/engine.md)")
    return player.played


def _grid(playing: Network) -> Grid:
    said, _ = _said(playing.data, None)
    sensor = said.sensor
    if sensor is None and (playing.data.crop or playing.data.size):
        raise UserError(
            "events from the standard input do not say how many pixels the sensor has: give --data.sensor "
            "WIDTHxHEIGHT, such as 346x260"
        )
    sensor = sensor or (playing.plan.shape[2], playing.plan.shape[1])
    try:
        return grid(playing.data, sensor)
    except ValueError as error:
        raise UserError("a sensor of {} x {} pixels {}".format(*sensor, error)) from error


def _unpacked(descriptor: int, remark: Callable[[str], None]) -> Iterator[npt.NDArray[np.void]]:
    """Yield events as they come, to the end or until Ctrl-C; a record may come in two parts."""
    left = b""
    for came in _until_stopped(lambda: os.read(descriptor, PIECE * PACKED.itemsize)):
        left += came
        many = len(left) // PACKED.itemsize
        yield np.frombuffer(left, PACKED, many)
        left = left[many * PACKED.itemsize :]
    if left:
        remark(f"the standard input ends within an event, of which {len(left)} bytes were left out")


def _until_stopped(read: Callable[[], bytes]) -> Iterator[bytes]:
    """Yield what ``read`` returns until that is nothing, or until Ctrl-C: the end of events that never end.

    A second Ctrl-C interrupts as usual.
    """
    reading = stopped = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopped
        if reading or stopped:
            stopped = True
            raise KeyboardInterrupt
        stopped = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        while True:
            try:
                reading = True
                came = b"" if stopped else read()
                reading = False
            except KeyboardInterrupt:
                return
            if not came:
                return
            yield came
    finally:
        signal.signal(signal.SIGINT, before)


class _Player:
    """Plays samples one behind the other on one engine."""

    def __init__(self, playing: Network, shown: Grid, asking: Asking, samples: int) -> None:
        self.asking, self.grid, self.samples = asking, shown, samples
        self.engine = Engine(playing.plan)
        self.played = Played()
        self.sampled = 0
        # What is compiled or read from a cache at the first call is no computing of events.
        warm = Stream(self.engine, 1, grid=shown, outside="count")
        warm.push(np.zeros(2, PACKED))
        warm.finish()

    def sample(self, length: Fraction, begin: int | None, end: int | None, pieces: Iterator[Any]) -> None:
        """Play the events of ``pieces`` from rest, until time ``end``, or to the end of the last step."""
        pending: list[Moment] = []
        now = Moment(begin or 0, 0, 0, np.zeros(0), self.sampled, self.samples)
        following = _Following(self.asking.every, now, pending.append)
        live = Stream(
            self.engine,
            length,
            grid=self.grid,
            start=begin,
            late=self.asking.late,
            outside=self.asking.outside,
            on_step=following.step,
        )
        seconds = 0.0

        def timed(act: Callable[[], Any]) -> None:
            nonlocal seconds
            before = time.perf_counter()
            act()
            seconds += time.perf_counter() - before
            for moment in pending:
                self.asking.tell(moment)
            pending.clear()

        for piece in pieces:
            timed(lambda piece=piece: live.push(piece))  # type: ignore[misc]
        timed(live.finish if end is None else lambda: live.advance(end))
        self.played.add(live, seconds)
        self.sampled += 1
        if live.steps:
            self.asking.tell(replace(following.moment(live), last=True))


class _Following:
    """Notes the answers that are told: those that change, or those after each ``every`` microseconds."""

    def __init__(self, every: int | None, first: Moment, note: Callable[[Moment], None]) -> None:
        self.every, self.first, self.note = every, first, note
        self.label: int | None = None
        self.marks = 0

    def moment(self, stream: Stream) -> Moment:
        """Return what the network answers now."""
        answer = stream.answer()
        assert answer.label is not None
        time = self.first.time + answer.time
        return replace(self.first, time=time, step=answer.steps, label=answer.label, scores=answer.scores)

    def step(self, stream: Stream) -> None:
        """Take note of the answer after a step."""
        if self.every is None:
            moment = self.moment(stream)
            if moment.label != self.label:
                self.label = moment.label
                self.note(moment)
        elif (marks := stream.answer().time // self.every) > self.marks:
            self.marks = marks
            self.note(self.moment(stream))
