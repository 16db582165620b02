"""Events as they come: the steps of whole recordings, whatever the pieces; what does not fit is said."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snnprune.common.errors import UserError
from snnprune.data.events.gate import RESTART
from snnprune.data.events.grid import Grid
from snnprune.data.events.stream import Stream as Recording
from snnprune.data.frames import to_frames
from snnprune.engine.costs import Costs
from snnprune.engine.engine import Engine
from snnprune.engine.plan import INPUT, Layer, Linear, Plan, Source
from snnprune.engine.stream import MOST_SILENT, Stream
from support.random_plans import Drawn

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Frames:
    """In place of an engine: keeps the frames of the steps, dense, and answers with sums of their pixels."""

    def __init__(self, shape: tuple[int, int, int], over_time: str = "mean") -> None:
        row = Linear(name="fc", sources=(Source(INPUT),), shape=(2, 1, 1), weights=np.ones((2, 1)))
        self.plan = Plan(shape, (row,), 0, np.dtype(np.float64), None, over_time)
        self.seen: list[Array] = []

    def reset(self) -> None:
        self.seen.clear()

    def step_events(self, places: Array, counts: Array) -> Array:
        assert len(set(places.tolist())) == len(places), "a place comes twice"
        assert counts.all()
        frame = np.zeros(int(np.prod(self.plan.shape)))
        frame[places] = counts
        self.seen.append(frame.reshape(self.plan.shape))
        return np.array([frame.sum(), frame[: len(frame) // 2].sum()])

    @property
    def frames(self) -> Array:
        return np.stack(self.seen)


def drawn(rng: np.random.Generator, many: int, span: int, sensor: tuple[int, int] = (9, 7)) -> Recording:
    """Events at random places and times, in order, with bursts at one time and silence between them."""
    t = np.sort(rng.integers(0, span, many) // rng.integers(1, 60))
    t = np.sort(np.where(rng.random(many) < 0.2, t[rng.integers(0, many)], t)).astype(np.int64)
    x, y = (rng.integers(0, size, many).astype(np.uint16) for size in sensor)
    return Recording(t - t[0], x, y, rng.random(many) < 0.5, sensor)


def pieces(recording: Recording, rng: np.random.Generator) -> list[Recording]:
    cuts = np.sort(rng.integers(0, len(recording) + 1, rng.integers(0, 12)))
    return [recording.picked(slice(a, b)) for a, b in zip([0, *cuts], [*cuts, len(recording)], strict=True)]


def test_a_thousand_ways_to_cut_recordings_into_pieces() -> None:
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        recording = drawn(rng, int(rng.integers(1, 80)), int(rng.integers(1, 3000)))
        last, first = int(recording.t[-1]), int(rng.choice([0, -(2**40), 2**62, 1_700_000_000_000_000]))
        T, length = int(rng.integers(1, 12)), int(rng.integers(1, 400))
        engine = Frames((2, 7, 9))
        if seed % 2:  # T equal parts of the recording
            expected = to_frames(recording, T, engine.plan.shape)
            stream = Stream(engine, Fraction(last + 1, T))
        else:  # steps of one length
            T = last // length + 1
            expected = to_frames(recording, T, engine.plan.shape, span=(0, T * length))
            stream = Stream(engine, length)
        computed = 0
        for piece in pieces(recording, rng):
            columns = {name: piece[name] for name in "xyp"} | {"t": piece.t + first}
            computed += stream.push(columns)
            assert computed == len(engine.seen) == stream.steps == stream.answer().steps
        answer = stream.finish()
        if seed % 2:
            assert stream.advance(first + last + 1) == T - answer.steps
        assert np.array_equal(engine.frames, expected)
        assert stream.answer().scores[0] == expected.sum(dtype=int) / T
        assert stream.came == len(recording)


def test_arithmetic_on_paper() -> None:
    engine = Frames((1, 1, 3))
    stream = Stream(engine, 10)
    assert stream.answer().label is None
    assert np.isnan(stream.answer().scores).all()
    assert stream.push(_events(t=[105, 114], x=[0, 2])) == 0
    assert stream.push(_events(t=[115], x=[1])) == 1
    assert stream.push(_events(t=[], x=[])) == 0
    assert stream.push(_events(t=[150, 150, 150], x=[1, 1, 1])) == 3
    answer = stream.answer()
    assert (answer.steps, answer.time, answer.label) == (4, 40, 0)
    assert answer.scores.tolist() == [3 / 4, 1 / 4]
    assert stream.finish().steps == 5
    assert stream.finish().steps == 5, "there is no open step any more"
    assert engine.frames[:, 0, 0].tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 3, 0]]
    stream.reset()
    assert stream.push(_events(t=[7, 17], x=[0, 0])) == 1
    assert (stream.came, stream.answer().scores.tolist()) == (2, [1.0, 1.0])


@pytest.mark.parametrize(("over_time", "score"), [("mean", 2.0), ("max", 3.0), ("last", 1.0)])
def test_scores_are_those_of_the_plan(over_time: str, score: float) -> None:
    stream = Stream(Frames((1, 1, 3), over_time), 10)
    stream.push(_events(t=[0, 0, 1, 10, 11, 20], x=[0, 1, 2, 0, 0, 0]))
    assert stream.finish().scores[0] == score


def test_silence_passes() -> None:
    stream = Stream(Frames((1, 1, 3)), 10, start=100)
    assert stream.advance(109) == 0
    assert stream.advance(110) == 1
    assert stream.finish().steps == 1, "of the second step nothing is over yet"
    assert stream.advance(125) == 1
    assert stream.finish().steps == 3
    assert stream.advance(50) == 0, "time does not go back"
    unbegun = Stream(Frames((1, 1, 3)), 10)
    assert unbegun.advance(500) == 0
    assert unbegun.finish().steps == 0


def test_within_a_step_events_come_in_any_order() -> None:
    engine = Frames((1, 1, 3))
    stream = Stream(engine, 10, start=0)
    stream.push(_events(t=[7, 3, 12, 19, 11], x=[0, 1, 2, 2, 1]))
    stream.finish()
    assert engine.frames[:, 0, 0].tolist() == [[1, 1, 0], [0, 1, 2]]


def test_late_events() -> None:
    events = _events(t=[0, 25, 19, 21], x=[0, 1, 2, 2])
    stream = Stream(Frames((1, 1, 3)), 10)
    with pytest.raises(UserError, match=r"event 3 is late: its time is 19 us, and the steps before 20 are"):
        stream.push(events)
    assert stream.steps == 2
    stream.push(_events(t=[29, 30], x=[0, 0]))
    assert stream.steps == 3, "it goes on behind the event that was refused"
    counting = Stream(engine := Frames((1, 1, 3)), 10, late="count")
    counting.push(events)
    counting.finish()
    assert (counting.late, counting.came, counting.steps) == (1, 4, 3)
    assert engine.frames[2, 0, 0].tolist() == [0, 1, 1]
    with pytest.raises(UserError, match="the time of event 5 falls to -8,388,578 us"):
        counting.push(_events(t=[30 - RESTART], x=[0]))


def test_events_outside() -> None:
    wrong = [(3, 0, 0), (-1, 0, 0), (0, 2, 0), (70_000, 0, 0), (2**16 - 1, 0, 0), (0, 0, 2), (0, 0, -1)]
    for x, y, p in wrong:
        event = {"t": np.array([5]), "x": np.array([x]), "y": np.array([y]), "p": np.array([p])}
        stream = Stream(Frames((2, 2, 3)), 10)
        with pytest.raises(UserError, match=r"event 1 has x .* outside of 3 x 2 pixels with p 0 or 1"):
            stream.push(event)
        counting = Stream(Frames((2, 2, 3)), 10, outside="count")
        counting.push(event)
        assert (counting.outside, counting.finish().steps) == (1, 0), "it begins no step"
        counting.push({"t": [50, 61], "x": [0, 0], "y": [1, 1], "p": [True, False]})
        assert (counting.outside, counting.steps) == (1, 1)


def test_a_jump_of_the_clock_is_no_silence() -> None:
    stream = Stream(Frames((1, 1, 3)), 1)
    with pytest.raises(UserError, match="the time goes on to 3,600,000,000 us at event 2, by 3,600,000,000"):
        stream.push(_events(t=[0, 3_600_000_000], x=[0, 0]))
    assert stream.push(_events(t=[MOST_SILENT // 1000], x=[0])) == MOST_SILENT // 1000


def test_times_at_the_ends_of_an_int64() -> None:
    low, high = -(2**63), 2**63 - 1
    stream = Stream(engine := Frames((1, 1, 3)), 10)
    stream.push(_events(t=[low, low + 10], x=[0, 1]))
    assert stream.finish().steps == 2
    stream.reset()
    stream.push(_events(t=[high - 11, high, high], x=[0, 1, 1]))
    assert stream.finish().steps == 2
    assert engine.frames[:, 0, 0].tolist() == [[1, 0, 0], [0, 2, 0]]


def test_counts_stay_at_255() -> None:
    stream = Stream(engine := Frames((1, 1, 3)), 10)
    stream.push(_events(t=[0] * 300 + [1] * 254, x=[0] * 300 + [1] * 254))
    stream.finish()
    assert engine.frames[0, 0, 0].tolist() == [255, 254, 0]
    assert stream.full == 1


@pytest.mark.parametrize("polarity", ["both", "merged", "on"])
@pytest.mark.parametrize(("crop", "size"), [((40, 30), (40, 30)), ((24, 30), (8, 10)), ((13, 7), (13, 7))])
def test_a_sensor_is_cropped_and_pooled_as_for_frames(
    polarity: str, crop: tuple[int, int], size: tuple[int, int]
) -> None:
    grid = Grid((40, 30), crop, size, polarity)
    recording = drawn(np.random.default_rng(1), 5000, 90_000, (40, 30))
    engine = Frames(grid.shape)
    stream = Stream(engine, 1000, grid=grid)
    for piece in pieces(recording, np.random.default_rng(2)):
        stream.push(piece.structured())
    stream.finish()
    T = int(recording.t[-1]) // 1000 + 1
    shown = grid.onto(recording)
    assert np.array_equal(engine.frames, to_frames(shown, T, grid.shape, span=(0, 1000 * T)))
    assert stream.unseen == len(recording) - len(shown)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([1, 2, 3], "must have the columns t, x, y and p, by these names, and are list"),
        ({"t": [0], "x": [0], "y": [0]}, "must have the columns t, x, y and p"),
        ({"t": [0, 1], "x": [0], "y": [0], "p": [0]}, r"rows of one length, .* t \(2,\), x \(1,\)"),
        ({"t": [0.5], "x": [0], "y": [0], "p": [0]}, "the column t .* whole numbers, and is float64"),
        ({"t": [0], "x": [0], "y": ["a"], "p": [0]}, "the column y .* whole numbers"),
        ({"t": np.array([2**63], np.uint64), "x": [0], "y": [0], "p": [0]}, "times must fit into 63 bits"),
    ],
)
def test_what_are_no_events(events: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Stream(Frames((1, 1, 3)), 10).push(events)


def test_an_engine_has_one_stream() -> None:
    engine = Frames((1, 1, 3))
    first, second = Stream(engine, 10), Stream(engine, 10)
    first.push(_events(t=[0], x=[0]))
    second.push(_events(t=[0], x=[0]))
    with pytest.raises(UserError, match="another stream of this engine has begun"):
        first.finish()
    assert second.finish().steps == 1


@pytest.mark.parametrize("bits", [None, 8])
def test_an_engine_answers_as_it_does_whole_recordings(bits: int | None) -> None:
    spikes = 0.0
    for seed in range(12):
        drawn_plan = Drawn(seed, bits, dtype=np.float32)
        plan = drawn_plan.plan()
        _, height, width = plan.shape
        rng = np.random.default_rng(seed)
        recording = drawn(rng, 400, 30_000, (width, height))
        recording = replace(recording, p=rng.integers(0, plan.shape[0], 400).astype(np.uint8))
        last = int(recording.t[-1])
        frames = to_frames(recording, 9, plan.shape)[:, None]
        whole = Engine(plan, costs=Costs())
        outputs: list[Array] = []
        steps = Engine(plan, ways=whole_ways(plan), costs=Costs())
        stream = Stream(steps, Fraction(last + 1, 9))
        stream.on_step = lambda stream, outputs=outputs: outputs.append(stream.outputs)  # type: ignore[misc]
        for piece in pieces(recording, rng):
            stream.push(piece)
        stream.advance(last + 1)
        assert np.array_equal(np.stack(outputs), whole(frames)[:, 0]), f"plan {seed}"
        assert np.allclose(stream.answer().scores, whole.scores(frames)[0], rtol=1e-6, atol=1e-7)
        spikes += float(np.abs(outputs).sum())
    assert spikes > 0


def whole_ways(plan: Plan) -> dict[str, str]:
    return {node.name: "rows" for node in plan.nodes if isinstance(node, Layer)}


def test_what_is_no_stream() -> None:
    with pytest.raises(UserError, match="bin_us is 0: give microseconds above 0"):
        Stream(Frames((1, 1, 3)), 0)
    with pytest.raises(UserError, match="bin_us is '10ms': give microseconds above 0"):
        Stream(Frames((1, 1, 3)), "10ms")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="late must be 'refuse' or 'count', and is 'drop'"):
        Stream(Frames((1, 1, 3)), 10, late="drop")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"the shape \(2, 3, 3\), and the network reads \(1, 1, 3\)"):
        Stream(Frames((1, 1, 3)), 10, grid=Grid((3, 3), (3, 3), (3, 3)))


def _events(t: list[int], x: list[int]) -> dict[str, Any]:
    return {"t": np.array(t, np.int64), "x": x, "y": [0] * len(t), "p": [0] * len(t)}


@pytest.mark.slow
def test_every_index_is_inside(tmp_path: Path) -> None:
    chosen = "thousand or sensor or outside or late or 255"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:xdist",
            "-p",
            "no:cacheprovider",
            __file__,
            "-k",
            chosen,
        ],
        env=os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert " passed" in done.stdout
