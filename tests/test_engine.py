"""The engine computes what a plan says: on paper, and as plain loops do."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnprune.common.errors import UserError
from snnprune.engine import calibration
from snnprune.engine.costs import Costs
from snnprune.engine.engine import WAYS, Engine
from snnprune.engine.plan import INPUT, Convolution, Layer, Linear, Neurons, Plan, Pool, Source
from support.plain_engine import answers
from support.random_plans import Drawn, windows

COSTS = Costs()


def engine(plan: Plan, way: str | None = None, **options: object) -> Engine:
    names = [node.name for node in plan.nodes if isinstance(node, Layer)]
    return Engine(plan, ways=dict.fromkeys(names, way) if way else None, costs=COSTS, **options)  # type: ignore[arg-type]


def small(dtype: type = np.float64) -> Plan:
    """Two channels of one row of four pixels, a convolution of width 3, neurons, pairs averaged, one sum."""
    kernel = np.array([[[[1.0, 2.0, 0.0]], [[0.0, 0.0, 4.0]]]], dtype)
    one = Source(INPUT)
    return Plan(
        (2, 1, 4),
        (
            Convolution(
                name="conv", sources=(one,), shape=(1, 1, 4), weights=kernel, padding=(0, 1),
                biases=np.array([0.5], dtype),
            ),
            Neurons(
                name="lif", sources=(Source(0),), shape=(1, 1, 4), kind="lif", decay_input=True,
                threshold=np.array([2.0], dtype), leak=np.array([2.0], dtype), reset=np.zeros(1, dtype),
            ),
            Pool(
                name="pool", sources=(Source(1),), shape=(1, 1, 2), kind="average",
                rows=np.array([[0, 1]], np.int32), columns=windows(4, 2, 2, 0), divisors=np.full((1, 2), 2.0),
            ),
            Linear(
                name="out", sources=(Source(2),), shape=(1, 1, 1), weights=np.array([[10.0, 100.0]], dtype)
            ),
        ),
        3,
        np.dtype(dtype),
    )  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_two_steps_on_paper(way: str) -> None:
    # Step 1: 3 at pixel 1 of the first channel. Currents: 2 * 3 = 6 at 1, 1 * 3 = 3 at 2, and biases of 0.5:
    # 0.5, 6.5, 3.5, 0.5. Half of them: 0.25, 3.25 (fires), 1.75, 0.25. Averages 0.5 and 0: 0.5 * 10 = 5.
    # Step 2: 1 at pixel 3 of the second channel: 4 at 2. Currents 0.5, 0.5, 4.5, 0.5, half way to them:
    # 0.375, 0.25, 3.125 (fires), 0.375. Averages 0 and 0.5: 50.
    frames = np.zeros((2, 1, 2, 1, 4), np.uint8)
    frames[0, 0, 0, 0, 1] = 3
    frames[1, 0, 1, 0, 3] = 1
    own = engine(small(), way)
    assert own(frames).tolist() == [[[5.0]], [[50.0]]]
    spikes = own.spikes(frames)
    assert spikes["conv"][:, 0, 0, 0].tolist() == [[0.5, 6.5, 3.5, 0.5], [0.5, 0.5, 4.5, 0.5]]
    assert spikes["lif"][:, 0, 0, 0].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    assert spikes["pool"][:, 0, 0, 0].tolist() == [[0.5, 0], [0, 0.5]]
    assert own.scores(frames).tolist() == [[27.5]]


@pytest.mark.parametrize("channels", [3, 8, 13, 16, 20, 29, 32])
@pytest.mark.parametrize("kind", ["average", "maximum"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squares_of_any_number_of_channels(
    dtype: type, kind: Literal["average", "maximum"], channels: int
) -> None:
    # Each unit reads its own pixel and fires where it is 1, so pools are those of the frames.
    shape, one = (channels, 4, 6), np.ones(1, dtype)
    kernel = np.eye(channels, dtype=dtype)[:, :, None, None]
    pool = Pool(
        name="pool", sources=(Source(1),), shape=(channels, 2, 3), kind=kind, rows=windows(4, 2, 2, 0),
        columns=windows(6, 2, 2, 0), divisors=np.full((2, 3), 4.0, dtype),
    )  # fmt: skip
    conv = Convolution(name="conv", sources=(Source(INPUT),), shape=shape, weights=kernel)
    fires = Neurons(
        name="if", sources=(Source(0),), shape=shape, kind="if", threshold=one, leak=one, reset=0 * one
    )
    frames = np.random.default_rng(0).random((5, 2, *shape)) < 0.3
    found = engine(Plan(shape, (conv, fires, pool), 2, np.dtype(dtype)), "rows")(frames.astype(np.uint8))
    squares = frames.reshape(5, 2, channels, 2, 2, 3, 2)
    expected = squares.mean((4, 6)) if kind == "average" else squares.any((4, 6))
    assert (found == expected.reshape(5, 2, -1)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([None, 8]), st.integers(1, 20))
def test_any_plan_is_that_of_plain_loops(seed: int, bits: int | None, steps: int) -> None:
    drawn = Drawn(seed, bits)
    plan, frames = drawn.plan(), drawn.frames(steps, 2)
    outputs, nodes = answers(plan, frames)
    found = {way: engine(plan, way) for way in WAYS}
    bound = 1e-12 * max(1.0, np.abs(outputs).max()) if bits is None else 0
    for own in found.values():
        assert np.abs(own(frames) - outputs).max() <= bound
    spikes = found["rows"].spikes(frames)
    for node in plan.nodes:
        if isinstance(node, Neurons) or bits:
            assert (spikes[node.name] == nodes[node.name]).all(), node.name
    every = [own(frames) for own in found.values()]
    assert (every[0] == every[1]).all()
    assert (every[0] == every[2]).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(WAYS))
def test_steps_of_a_stream_are_those_of_a_batch(seed: int, way: str) -> None:
    drawn = Drawn(seed)
    plan, frames = drawn.plan(), drawn.frames(5, 3)
    own = engine(plan, way, threads=2)
    outputs = own(frames)
    assert (outputs == engine(plan, way)(frames)).all()
    for sample in range(3):
        own.reset()
        assert all((own.step(f[sample]) == o[sample]).all() for f, o in zip(frames, outputs, strict=True))
        own.reset()
        for frame, output in zip(frames, outputs, strict=True):
            numbers = frame[sample].reshape(-1)
            places = drawn.rng.permutation(np.nonzero(numbers)[0])
            assert (own.step_events(places, numbers[places]) == output[sample]).all()


@pytest.mark.parametrize("change", [{"padding": (3, 0)}, {"shape": (9, 1, 1)}, {"sources": (Source(7),)}])
def test_a_plan_that_does_not_fit_together_is_refused(change: dict[str, Any]) -> None:
    plan = small()
    first, *others = plan.nodes
    wrong = replace(plan, nodes=(replace(first, **change), *others))
    with pytest.raises(UserError, match=r"no plan of a network \(.*make it with snnprune.export.planning"):
        Engine(wrong)


def test_events_of_a_place_are_added() -> None:
    own = engine(small())
    own.reset()
    assert own.step_events(np.array([1, 1, 1]), np.array([1, 1, 1])).tolist() == [5.0]


def test_what_does_not_fit_is_refused() -> None:
    own = engine(small())
    with pytest.raises(UserError, match=r"\(2, 1, 4\) as C, H, W"):
        own(np.zeros((1, 1, 1, 2, 4)))
    with pytest.raises(UserError, match="reads"):
        own.step(np.zeros((1, 2, 4)))
    with pytest.raises(UserError, match="not finite"):
        own(np.full((1, 1, 2, 1, 4), np.nan))
    with pytest.raises(UserError, match="outside"):
        own.step_events(np.array([8]), np.array([1]))
    with pytest.raises(UserError, match="places"):
        own.step_events(np.array([0.5]), np.array([1]))
    with pytest.raises(UserError, match="'conv: fast' is not known"):
        Engine(small(), ways={"conv": "fast"})
    with pytest.raises(UserError, match="computes a Plan, and was given a str: make it with"):
        Engine("runs/mine")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no time step"):
        own.scores(np.zeros((0, 1, 2, 1, 4)))
    with pytest.raises(UserError, match="threads"):
        Engine(small(), threads=0)


def test_ways_follow_the_rates_of_the_first_sample() -> None:
    costs = Costs(event=1.0, vector=1.0, synapse=1.0, shared=1.0, multiply=0.5)
    own = Engine(small(), costs=costs)
    assert [row["rate"] for row in own.layers()] == [None, None]
    frames = np.zeros((4, 1, 2, 1, 4), np.uint8)
    frames[:, :, 0, 0, 0] = 1  # one of eight numbers
    own(frames)
    rows = {row["layer"]: row for row in own.layers()}
    assert rows["conv"]["rate"] == 1 / 8
    assert (rows["conv"]["alive"], rows["conv"]["all"]) == (3, 6)
    # one event; its three taps are a vector each; a synapse for each second tap
    assert rows["conv"]["rows"] == 1 + 3
    assert rows["conv"]["synapses"] == 1 + 1.5
    assert rows["conv"]["product"] == 4 * 3 * 2 * 0.5
    assert rows["conv"]["way"] == "synapses"


def test_float32_flips_hardly_a_spike() -> None:
    flipped = total = 0
    for seed in range(12):
        drawn = Drawn(seed, dtype=np.float32)
        plan, frames = drawn.plan(), drawn.frames(6, 2)
        _, nodes = answers(plan, frames)
        spikes = engine(plan, "rows").spikes(frames)
        for node in plan.nodes:
            if isinstance(node, Neurons):
                flipped += int((spikes[node.name] != nodes[node.name]).sum())
                total += spikes[node.name].size
    assert flipped <= 1e-5 * total


def test_costs_are_kept_and_damage_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "measured", lambda dtype: Costs(vector=0.25))
    path = tmp_path / "snnprune" / "engine-costs.json"

    def found() -> Costs:
        calibration._kept.cache_clear()
        return calibration.costs_of_this_machine(np.dtype(np.float32))

    assert found().vector == 0.25
    path.write_text(path.read_text().replace("0.25", "0.75"))
    assert found().vector == 0.75
    with monkeypatch.context() as changed:  # the code of another day
        changed.setattr(calibration, "_kernels", lambda: "0")
        assert found().vector == 0.25
    assert found().vector == 0.75
    for damage in ("", "[1]", "{", path.read_text().replace("0.75", "-1.0"), '{"other": {}}'):
        path.write_text(damage)
        assert found().vector == 0.25
    path.unlink()
    path.mkdir()
    assert found().vector == 0.25
    calibration._kept.cache_clear()


def test_whole_numbers_beyond_what_is_exact_are_refused() -> None:
    drawn = Drawn(3, bits=8)
    at = drawn.neurons(drawn.linear(INPUT, 4))
    own = engine(drawn.finished(at))
    frames = np.full((2, 1, *drawn.shape), 1e30)
    with pytest.raises(UserError, match="sums are not exact"):
        own(frames)
    with pytest.raises(UserError, match="sums are not exact"):
        own.step(frames[0, 0])
    assert own(frames * 0).shape == (2, 1, 4)
