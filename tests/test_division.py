"""Products with an inverse are quotients, to the last bit, in numbers and in the potentials of neurons."""

import numpy as np
import pytest

from snnprune.engine import division
from snnprune.engine.costs import Costs
from snnprune.engine.engine import Engine
from snnprune.engine.plan import INPUT, Convolution, Linear, Neurons, Plan, Source
from snnprune.engine.table import Kind

SHAPE = (5, 1, 7)
"""Five channels and seven pixels: whole vectors of each width, and a rest."""


DIVISORS = [1.25, 4 / 3, 1.1, 3, 7, 10, -1.7, 100, *np.random.default_rng(0).uniform(1, 50, 12)]


@pytest.mark.parametrize("divisor", DIVISORS)
def test_no_number_differs(divisor: float) -> None:
    own = np.float32(divisor)
    assert division.differing(own, np.float32(1) / own) == 0


def test_another_inverse_is_found_out() -> None:
    assert division.differing(np.float32(3), np.float32(0.3334)) > 0


def test_what_cannot_be_tried_is_divided() -> None:
    assert division.is_product(3.0, np.float32) is division.FUSES
    assert not division.is_product(3.0, np.float64)
    assert not division.is_product(2.0**30, np.float32)


@pytest.mark.parametrize("tau", [3.0, 1.25, 1.7])
@pytest.mark.parametrize("decay_input", [True, False])
def test_potentials_are_those_of_divisions(tau: float, decay_input: bool) -> None:
    # Each unit reads its own number, so that its currents are the frames.
    rng, c = np.random.default_rng(0), SHAPE[0]
    one, each = np.float32(1), np.eye(c, dtype=np.float32)
    conv = Convolution(name="conv", sources=(Source(INPUT),), shape=SHAPE, weights=each[:, :, None, None])
    lif = Neurons(
        name="lif", sources=(Source(0),), shape=SHAPE, kind="lif", decay_input=decay_input,
        threshold=np.array([one]), leak=np.array([tau], np.float32), reset=np.zeros(1, np.float32),
    )  # fmt: skip
    ones = np.ones((1, c * SHAPE[2]), np.float32)
    out = Linear(name="out", sources=(Source(1),), shape=(1, 1, 1), weights=ones)
    plan = Plan(SHAPE, (conv, lif, out), 2, np.dtype(np.float32))
    frames = rng.normal(0.3, 0.6, (37, 1, *SHAPE)).astype(np.float32)
    engine = Engine(plan, ways={"conv": "rows", "out": "rows"}, costs=Costs())
    outputs = engine(frames)[:, 0, 0]

    v, leak = np.zeros(SHAPE, np.float32), np.float32(tau)
    for frame, output in zip(frames[:, 0], outputs, strict=True):
        h = v + (frame - v) / leak if decay_input else v - v / leak + frame
        v = np.where(h >= one, np.float32(0), h)
        assert output == (h >= one).sum()
    sample = engine._samples[0]
    op = next(row for row in sample.program.table if row["kind"] == Kind.FIRE)
    assert (op["inverse"] >= 0) == division.FUSES
    found = sample.x[op["potentials"] :][: 8 * SHAPE[2]].reshape(SHAPE[2], 8)[:, :c]
    assert found.T.tobytes() == v[:, 0].tobytes()
