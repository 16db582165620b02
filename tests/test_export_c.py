"""A plan as C: the engine's answers bit for bit, on this machine and on Arm; bytes, events, refusals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnprune import data as datasets
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig, MethodConfig, RunConfig, TrainConfig
from snnprune.data.frames import to_frames
from snnprune.engine.c import running
from snnprune.engine.c.bounds import potentials
from snnprune.engine.c.running import Runner
from snnprune.engine.c.values import Values, literal
from snnprune.engine.c.writing import texts, write
from snnprune.engine.engine import Engine
from snnprune.engine.plan import (
    INPUT,
    Convolution,
    Flatten,
    Linear,
    Neurons,
    Norm,
    Plan,
    Pool,
    Source,
    Sum,
)
from snnprune.export import exporting
from snnprune.training.run import train
from support import absences, plain_engine
from support.c_programs import ARM, STRICT, checked, compiled, for_arm, tool
from support.random_plans import Drawn

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.engine.c.writing import Written

    Array = npt.NDArray[Any]

FEW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = {"float32": (None, np.float32), "float64": (None, np.float64), "8": (8, None), "4": (4, None)}


def one_neuron(weight: float = 0.75, **own: Any) -> Plan:
    """One input, one leaky neuron with tau 2 and threshold 1: v + (x - v) / 2."""
    constants = {"kind": "lif", "threshold": np.ones(1, np.float32), "leak": np.full(1, 2, np.float32)}
    constants |= {"reset": np.zeros(1, np.float32), "decay_input": True} | own
    nodes = (
        Linear(name="fc", sources=(Source(INPUT),), shape=(1, 1, 1), weights=np.float32([[weight]])),
        Neurons(name="lif", sources=(Source(0),), shape=(1, 1, 1), **constants),
    )
    return Plan((1, 1, 1), nodes, 1, np.dtype(np.float32))


def agrees(runner: Runner, plan: Plan, frames: Array, reference: str = "engine") -> None:
    """Check outputs, spikes, scores and classes, bit for bit."""
    outputs, spikes = runner.spikes(frames)
    if reference == "engine":
        engine = Engine(plan)
        wanted, handed_on = engine(frames), engine.spikes(frames)
    else:
        wanted, handed_on = plain_engine.answers(plan, frames)
    assert len(spikes) == len(runner.written.neurons)
    for name, fired in spikes.items():
        assert np.array_equal(fired, handed_on[name]), name
    assert np.array_equal(outputs, wanted)
    over_time = {"mean": lambda y: y.mean(0), "max": lambda y: y.max(0), "last": lambda y: y[-1]}
    scores = over_time[plan.over_time](wanted)
    classes, said = runner.answers(frames)
    assert np.array_equal(said, scores)
    assert np.array_equal(classes, scores.argmax(1))


def to_c(plan: Plan, folder: Path, **own: Any) -> Written:
    return write(plan, folder, **({"bin_us": 1000, "name": "net"} | own))


# --- on paper


def test_one_neuron_is_arithmetic(tmp_path: Path) -> None:
    """Counts 2, 0, 4 are currents 1.5, 0, 3: v = 0.75, 0.375, then 0.375 + 2.625 / 2 = 1.6875 fires."""
    runner = compiled(to_c(one_neuron(), tmp_path))
    frames = np.array([2, 0, 4, 0], np.uint8).reshape(4, 1, 1, 1, 1)
    outputs, spikes = runner.spikes(frames)
    assert spikes["lif"].ravel().tolist() == [0, 0, 1, 0]
    assert outputs.ravel().tolist() == [0, 0, 1, 0]
    assert runner.answers(frames)[1].tolist() == [[0.25]]


def events(times: list[int], **own: int) -> Array:
    packed = np.zeros(len(times), [("t", "i8"), ("x", "u2"), ("y", "u2"), ("p", "u1")])
    packed["t"] = times
    for name, value in own.items():
        packed[name] = value
    return packed


def test_bins_begin_with_the_first_event_and_silent_ones_count(tmp_path: Path) -> None:
    """Bins of 1,000 us from 5,000 hold 2, 0, 4 and 1, the last one not full: a spike in four steps."""
    runner = compiled(to_c(one_neuron(), tmp_path))
    times = [5000, 5999, 7000, 7001, 7500, 7999, 8000]
    classes, scores = runner.answered(events(times))
    assert (classes.tolist(), scores.tolist()) == ([0], [[0.25]])
    assert runner.answered(events([-(2**62), -(2**62) + 999]))[1].tolist() == [[0.0]], "any clock"


def test_events_that_cannot_be_are_left_out_and_said(tmp_path: Path) -> None:
    runner = compiled(to_c(one_neuron(), tmp_path))
    with pytest.raises(UserError, match="an event is out of order"):
        runner.answered(events([5, 4]))
    with pytest.raises(UserError, match="an event is out of range"):
        runner.answered(events([5], x=1))


def test_a_place_holds_255_events(tmp_path: Path) -> None:
    """300 events of weight 2^-8 are 255 of them: (255 / 256) / 2 is below 1/2, and 300 / 512 is not."""
    plan = one_neuron(2.0**-8, threshold=np.full(1, 0.5, np.float32))
    runner = compiled(to_c(plan, tmp_path))
    assert runner.answered(events([0] * 300))[1].tolist() == [[0.0]]


def test_numbers_stand_in_the_text_exactly() -> None:
    for number in (0.1, 1 / 3, 1e-40, 2.0, 0.25, -0.0, 16777217.0):
        for kind, real in (("float", np.float32), ("double", np.float64)):
            text = literal(float(real(number)), kind).removesuffix("f")
            assert real(float.fromhex(text) if "x" in text else float(text)) == real(number)
    assert literal(2**40, "int64_t") == "INT64_C(1099511627776)"


def test_bounds_of_potentials_are_reached_and_not_passed() -> None:
    """L = 4 of 8 halves what is left: currents from -10 to 6 take v to no less than -11 / (1 - 1/2) = -22."""
    neurons = Neurons(
        name="n", sources=(Source(0),), shape=(1, 1, 1), kind="whole", leak=np.array([4]),
        threshold=np.array([100]), reset=np.array([0]),
    )  # fmt: skip
    plan = Plan((1, 1, 1), (neurons,), 0, np.dtype(np.float64), bits=3)
    found = potentials(plan, neurons, Values(-10, 6))
    v = 0
    for _ in range(50):
        v = (4 * v >> 3) - 10
    assert v == -20
    assert -33 <= found.low <= v
    assert found.high == 100 * 2**16
    assert found.steps is None


def test_potentials_that_do_not_leak_say_how_long_they_fit() -> None:
    neurons = Neurons(
        name="n", sources=(Source(0),), shape=(1, 1, 1), kind="whole", leak=np.array([8]),
        threshold=np.array([100]), reset=np.array([0]),
    )  # fmt: skip
    layer = Linear(
        name="fc", sources=(Source(INPUT),), shape=(1, 1, 1), weights=np.array([[-3]], np.int32),
        steps=np.ones(1),
    )  # fmt: skip
    plan = Plan((1, 1, 1), (layer, neurons), 1, np.dtype(np.float64), bits=3)
    text, _, _ = texts(plan, "net", "net.h", bin_us=1000)
    steps = 2**61 // (3 * 255 * 2**16 + 1)
    assert f"proven to fit for {steps:,} time steps" in " ".join(text.split())


@pytest.mark.parametrize("seed", [3, 4])
def test_events_are_the_frames_of_their_bins(seed: int, tmp_path: Path) -> None:
    """Bins of 700 us, some silent, from the first event on; the last one ends with the recording."""
    drawn = Drawn(seed, dtype=np.float32)
    plan, rng = drawn.plan(), np.random.default_rng(seed)
    channels, height, width = plan.shape
    own = events(np.sort(rng.integers(10**12, 10**12 + 5000, 60)).tolist())
    own["t"][30:] += 2000
    for name, size in (("x", width), ("y", height), ("p", channels)):
        own[name] = rng.integers(0, size, len(own))
    first, last = int(own["t"][0]), int(own["t"][-1])
    steps = (last - first) // 700 + 1
    frames = to_frames(own, steps, plan.shape, span=(first, first + steps * 700))[:, None]
    _, scores = compiled(to_c(plan, tmp_path, bin_us=700)).answered(own)
    assert np.array_equal(scores, Engine(plan).scores(frames))


# --- the engine's answers


@pytest.mark.parametrize("numbers", NUMBERS)
@FEW
@given(seed=st.integers(0, 2**32 - 1))
def test_random_plans_answer_as_the_engine_does(seed: int, numbers: str, tmp_path: Path) -> None:
    bits, dtype = NUMBERS[numbers]
    drawn = Drawn(seed, bits, dtype=dtype)
    plan = drawn.plan()
    agrees(compiled(to_c(plan, tmp_path)), plan, drawn.frames(6, 2))


@settings(FEW, max_examples=3)
@given(seed=st.integers(0, 2**32 - 1), bits=st.sampled_from([8, 4]))
def test_whole_numbers_are_those_of_plain_loops(seed: int, bits: int, tmp_path: Path) -> None:
    drawn = Drawn(seed, bits)
    plan = drawn.plan()
    agrees(compiled(to_c(plan, tmp_path)), plan, drawn.frames(5, 2), "plain loops")


def dyadic(*shape: int, seed: int = 0) -> Array:
    """Multiples of 1/64, whose sums are exact in any order."""
    return (np.random.default_rng(seed).integers(-64, 65, shape) / 64).astype(np.float32)


def lif(place: int, shape: tuple[int, int, int], **own: Any) -> Neurons:
    constants = {"kind": "lif", "threshold": np.full(1, 0.5, np.float32), "reset": np.zeros(1, np.float32)}
    constants |= {"leak": np.full(1, 2, np.float32), "decay_input": True} | own
    return Neurons(name=f"lif{place}", sources=(Source(place),), shape=shape, **constants)


def late() -> Plan:
    """A map that reads its own last spikes by a convolution, the last spikes of neurons before, and those of
    neurons behind; a delayed flatten, a flattened map that neurons read, and a norm of currents."""
    shape = (3, 5, 4)
    conv = {"padding": (1, 1), "shape": shape}
    nodes = (
        Convolution(name="in", sources=(Source(INPUT),), weights=dyadic(3, 2, 3, 3), **conv),
        Convolution(name="own", sources=(Source(3, 1),), weights=dyadic(3, 3, 3, 3, seed=1) / 4, **conv),
        Sum(name="both", sources=(Source(0), Source(1)), shape=shape),
        lif(2, shape),
        Sum(name="twice", sources=(Source(3), Source(3, 1), Source(5, 1)), shape=shape),
        lif(4, shape, threshold=np.full(1, 1.25, np.float32), reset=np.full(1, 0.25, np.float32)),
        Flatten(name="flat", sources=(Source(5),), shape=(60, 1, 1)),
        lif(6, (60, 1, 1), threshold=np.linspace(0.25, 0.75, 60).astype(np.float32)),
        Linear(name="fc", sources=(Source(6, 1),), shape=(4, 1, 1), weights=dyadic(4, 60, seed=2)),
        Linear(name="fc2", sources=(Source(7),), shape=(4, 1, 1), weights=dyadic(4, 60, seed=3)),
        Sum(name="sum", sources=(Source(8), Source(9)), shape=(4, 1, 1)),
        Norm(
            name="norm", sources=(Source(10),), shape=(4, 1, 1), mean=np.float32([0, 1, 2, 0.5]),
            scale=np.float32([1, 0.5, 2, 1]), shift=np.float32([0, 0, 0.25, 1]),
        ),
    )  # fmt: skip
    return Plan((2, 5, 4), nodes, 11, np.dtype(np.float32), over_time="max")


@pytest.mark.parametrize("reference", ["engine", "plain loops"])
def test_what_is_read_a_step_late(reference: str, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 3, (7, 3, 2, 5, 4)).astype(np.uint8)
    agrees(compiled(to_c(late(), tmp_path)), late(), frames, reference)


def test_values_that_are_no_counts(tmp_path: Path) -> None:
    frames = dyadic(5, 2, 2, 5, 4)
    written = to_c(late(), tmp_path, counts=False, bin_us=None)
    agrees(compiled(written), late(), frames)
    assert "_push" not in written.header.read_text()
    with pytest.raises(UserError, match="a value is out of range"):
        compiled(written).spikes(frames * 1000)


@pytest.mark.parametrize("options", [("-O3", "-march=native", "-std=gnu99"), ("-O0",)])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compilers_and_their_options_change_nothing(
    compiler: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    for seed in (3, 5):
        drawn = Drawn(seed, dtype=np.float32)
        plan = drawn.plan()
        agrees(compiled(to_c(plan, tmp_path), *options, compiler=compiler), plan, drawn.frames(6, 2))


def test_fast_mathematics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="change the answers"):
        compiled(to_c(one_neuron(), tmp_path), "-ffast-math")


@pytest.mark.parametrize("unit", [(), ("-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")], ids=["soft", "hard"])
@pytest.mark.parametrize("numbers", ["float32", "8"])
def test_a_cortex_m4_answers_alike(numbers: str, unit: tuple[str, ...], tmp_path: Path) -> None:
    bits, dtype = NUMBERS[numbers]
    drawn = Drawn(11, bits, dtype=dtype)
    plan = drawn.plan()
    agrees(for_arm(to_c(plan, tmp_path), *unit), plan, drawn.frames(5, 2))


# --- bytes


def sizes(written: Written, compiler: str, nm: str, *options: str) -> tuple[int, int]:
    """Return the bytes of constants and of static data that the compiler makes of a source."""
    out = str(written.source.with_suffix(".o"))
    checked([tool(compiler), *STRICT, *options, "-O0", "-c", "-o", out, str(written.source)])
    rows = [line.split() for line in checked([tool(nm), "-S", out]).splitlines()]
    found = {"r": 0, "b": 0}
    for row in rows:
        if len(row) == 4 and row[2] in found:
            found[row[2]] += int(row[1], 16)
    return found["r"], found["b"]


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
@pytest.mark.parametrize("numbers", NUMBERS)
def test_bytes_are_those_of_the_compiler(numbers: str, compiler: str, tmp_path: Path) -> None:
    bits, dtype = NUMBERS[numbers]
    arm = compiler.startswith("arm")
    nm, options = ("arm-none-eabi-nm", ARM[:2]) if arm else ("nm", ())
    for seed in (1, 2):
        written = to_c(Drawn(seed, bits, dtype=dtype).plan(), tmp_path)
        assert sizes(written, compiler, nm, *options) == (written.flash, written.ram)
        said = " ".join(written.source.read_text().split())
        assert f"Flash {written.flash:,} bytes of constants" in said
        assert f"RAM {written.ram:,} bytes of static data" in said


def test_each_layer_says_its_bytes(tmp_path: Path) -> None:
    """A conv of 2 x 1 x 3 x 3 floats is 72 bytes; its neurons have 2 x 4 x 4 potentials of 4 bytes."""
    nodes = (
        Convolution(
            name="conv", sources=(Source(INPUT),), shape=(2, 4, 4), weights=dyadic(2, 1, 3, 3), padding=(1, 1)
        ),
        lif(0, (2, 4, 4)),
        Linear(name="fc", sources=(Source(1),), shape=(3, 1, 1), weights=np.eye(3, 32, dtype=np.float32)),
    )
    plan = Plan((1, 4, 4), nodes, 2, np.dtype(np.float32))
    said = to_c(plan, tmp_path).source.read_text()
    assert re.search(r"conv +1\d +dense float +72 +0\n", said)
    assert re.search(r"lif0 +0 +128\n", said)
    # three weights of 4 bytes, three units, and 33 starts of a byte, in place of 96 floats
    assert re.search(r"fc +3 +listed float +48 +0\n", said)


def test_marked_rows_and_potentials_of_48_bits(tmp_path: Path) -> None:
    """480 of 40 x 30 weights are not zero: 480 bytes, 40 rows of 30 bits in 4 bytes, 41 starts of 2 bytes.

    At most 12 x 127 counts of 255 times 2^16 are more than 2^31, so a potential takes 4 and 2 bytes.
    """
    weights = np.zeros((30, 40), np.int32)
    rng = np.random.default_rng(0)
    for row in weights.T:
        row[rng.choice(30, 12, replace=False)] = rng.choice([-127, -3, 5, 127], 12)
    nodes = (
        Linear(
            name="fc", sources=(Source(INPUT),), shape=(30, 1, 1), weights=weights, steps=np.ones(30)
        ),
        Neurons(
            name="n", sources=(Source(0),), shape=(30, 1, 1), kind="whole", leak=np.array([200], np.int32),
            threshold=np.array([90], np.int32), reset=np.arange(-15, 15, dtype=np.int32),
        ),
    )  # fmt: skip
    plan = Plan((40, 1, 1), nodes, 1, np.dtype(np.float64), bits=8)
    written = to_c(plan, tmp_path)
    said = written.source.read_text()
    assert re.search(r"fc +480 +marked int8 +722 +0\n", said)
    assert re.search(r"n +120 +180\n", said), "resets of 4 bytes; potentials"
    frames = np.random.default_rng(1).integers(0, 3, (20, 2, 40, 1, 1)).astype(np.uint8)
    agrees(compiled(written), plan, frames)


def test_weights_of_four_bits_are_half_a_byte(tmp_path: Path) -> None:
    weights = np.arange(-7, 8, dtype=np.int32).reshape(5, 3)
    layer = Linear(
        name="fc", sources=(Source(INPUT),), shape=(5, 1, 1), weights=weights, steps=np.ones(5), whole=False
    )
    plan = Plan((3, 1, 1), (layer,), 0, np.dtype(np.float64), bits=4)
    written = to_c(plan, tmp_path)
    assert written.flash == 8, "fifteen halves"
    frames = np.eye(3, dtype=np.uint8).reshape(3, 1, 3, 1, 1)
    outputs, _ = compiled(written).spikes(frames)
    assert np.array_equal(outputs[:, 0].T, weights)


# --- what cannot be


@pytest.mark.parametrize("name", ["2net", "while", "weight", "a-b", "nét"])
def test_names_that_c_does_not_know(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"'{name}' cannot be a name in C"):
        to_c(one_neuron(), tmp_path, name=name)


def test_plans_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has weights that are not finite"):
        to_c(one_neuron(float("inf")), tmp_path)
    with pytest.raises(UserError, match="a time step of 0 us is out of range"):
        to_c(one_neuron(), tmp_path, bin_us=0)
    with pytest.raises(UserError, match="expected neurons of the plan's own numbers"):
        to_c(one_neuron(kind="whole"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_names_of_layers_may_be_anything(tmp_path: Path) -> None:
    nodes = (
        Linear(name="*/ 1.fc é", sources=(Source(INPUT),), shape=(1, 1, 1), weights=np.float32([[1.0]])),
        Linear(name="*/ 1.fc è", sources=(Source(0),), shape=(1, 1, 1), weights=np.float32([[1.0]])),
        Pool(
            name="", sources=(Source(1),), shape=(1, 1, 1), kind="maximum", divisors=np.ones((1, 1)),
            rows=np.array([[0, 1]]), columns=np.array([[0, 1]]),
        ),
    )  # fmt: skip
    plan = Plan((1, 1, 1), nodes, 2, np.dtype(np.float32))
    frames = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1, 1)
    assert compiled(to_c(plan, tmp_path)).spikes(frames)[0].ravel().tolist() == [0, 1, 2]


def test_without_a_compiler_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "COMPILERS", ("no-such-compiler",))
    assert Runner.compiled(to_c(one_neuron(), tmp_path), tmp_path) is None


def test_a_compiler_that_fails_is_a_sentence(tmp_path: Path) -> None:
    tool("gcc")
    written = to_c(one_neuron(), tmp_path)
    written.source.write_text("no C\n")
    with pytest.raises(UserError, match=r"does not compile .*net\.c"):
        Runner.compiled(written, tmp_path)


# --- a trained network


@pytest.mark.data
@pytest.mark.slow
def test_real_recordings_are_answered_as_the_network_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hundred test recordings of N-MNIST, in floats and in whole numbers."""
    root = absences.real_data()
    if root is None:
        pytest.skip(absences.NO_DATA)
    if datasets.where("nmnist", root) is None:
        pytest.skip(f"no nmnist in {root}")
    tool("gcc")
    config = RunConfig(
        data=DataConfig("nmnist", root=str(root), bin="30ms"),
        method=MethodConfig(target=0.5),
        train=TrainConfig(epochs=1, twin=False, threads=1),
    )
    train(config, tmp_path / "run")
    for bits in (None, 8, 4):
        found = exporting.export(tmp_path / "run", "c", samples=100, bits=bits)
        assert found["engine_differs"] == 0
        trip = found["round_trip"]
        assert trip["samples"] == 100
        assert trip["spikes"] > 1000
        assert trip["spike_flips"] <= (trip["spikes"] * 1e-4 if bits is None else 0)
    said = capsys.readouterr().out
    assert "compiled and compared on 100 recordings" in said
    with pytest.raises(UserError, match=r"--bin 30\d+us: the median recording lasts 30"):
        exporting.export(tmp_path / "run", "c", data={"bin": None})
