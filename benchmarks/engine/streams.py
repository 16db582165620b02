"""How many events a second the engine keeps up with, as they come, on one thread.

    python -m benchmarks.engine.streams [--runs FOLDER] [--out streams.json]

Events are drawn: anywhere on the sensor, so that every region of every layer is busy, at rates from slow to
as fast as a camera hands them over. They come in pieces, and all steps are computed. conv-snn reads them at
34 x 34 pixels (trained on N-MNIST, whole and pruned, with the folder of `benchmarks.engine.table`), at
346 x 260 pixels pooled to 86 x 64, and at all of 346 x 260 pixels with fewer hidden units.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks import harness
from benchmarks.engine.networks import TASKS, trained
from snnprune.config.schema import ModelConfig
from snnprune.data.events.grid import Grid
from snnprune.engine.engine import Engine
from snnprune.engine.stream import Stream
from snnprune.export.planning import plan
from snnprune.nn import models
from support.markdown import table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    import numpy.typing as npt

    Columns = dict[str, npt.NDArray[Any]]

RATES = (100_000, 1_000_000, 5_000_000)
"""Events a second."""

SECONDS = 0.2
BIN_US = 10_000
PIECE = 10_000
"""Most events that come at once."""

ROUNDS = 5


@dataclass(frozen=True)
class Camera:
    """A sensor, and the frames that a network reads of it.

    Attributes:
        sensor: width and height in pixels.
        size: width and height of a frame, of as many pixels of the sensor as they divide.
        hidden: units of the network's hidden layer.
    """

    sensor: tuple[int, int]
    size: tuple[int, int]
    hidden: int = 300

    @property
    def grid(self) -> Grid:
        """Return which pixels a frame shows."""
        width, height = ((whole // part) * part for whole, part in zip(self.sensor, self.size, strict=True))
        return Grid(self.sensor, (width, height), self.size)

    def engine(self) -> Engine:
        """Return a network with the weights that training begins with."""
        torch.manual_seed(0)
        shape = self.grid.shape
        model = models.build(ModelConfig("conv-snn", hidden=self.hidden), shape, 10).eval()
        return Engine(plan(model, torch.zeros(1, 1, *shape)))

    def events(self, rate: int, seconds: float) -> Columns:
        """Return events anywhere on the sensor, at any time, in order."""
        dice, count = np.random.default_rng(0), round(rate * seconds)
        return {
            "t": np.sort(dice.integers(0, round(1e6 * seconds), count)),
            "x": dice.integers(0, self.sensor[0], count).astype(np.uint16),
            "y": dice.integers(0, self.sensor[1], count).astype(np.uint16),
            "p": dice.integers(0, 2, count).astype(np.uint8),
        }


SMALL = Camera((34, 34), (34, 34))
POOLED = Camera((346, 260), (86, 64))
LARGE = Camera((346, 260), (346, 260), hidden=30)


def engines(given: argparse.Namespace) -> Iterator[tuple[Camera, str, Engine]]:
    """Yield the networks that are measured."""
    if given.runs is None:
        yield SMALL, "conv-snn, initial weights", SMALL.engine()
    else:
        for method, target in (("dense", 0.0), ("dpap", 0.9)):
            network = trained(TASKS["nmnist"], given.runs, method, target)  # type: ignore[arg-type]
            model: Any = network.subject.model
            yield SMALL, f"conv-snn, {network.name}", Engine(plan(model, network.subject.example(1)))
    if not given.quick:
        yield POOLED, "conv-snn, initial weights", POOLED.engine()
        yield LARGE, f"conv-snn of {LARGE.hidden} hidden units, initial weights", LARGE.engine()


def play(stream: Stream, events: Columns) -> None:
    """Let events come, piece by piece, until the last step."""
    stream.reset(start=0)
    for begin in range(0, len(events["t"]), PIECE):
        stream.push({name: column[begin : begin + PIECE] for name, column in events.items()})
    stream.finish()


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Return the rows, and what they depend on."""
    rows = []
    seconds = SECONDS / 10 if given.quick else SECONDS
    for (camera, name, engine), rate in itertools.product(engines(given), RATES):
        events = camera.events(rate, seconds)
        stream = Stream(engine, BIN_US, grid=camera.grid)
        took = harness.take_turns({name: partial(play, stream, events)}, given.rounds)[name]
        rows.append({
            "sensor": camera.sensor, "size": camera.size, "network": name, "rate": rate, "played": seconds,
            "seconds": took.times, "steps": stream.steps, "median": took.median,
        })  # fmt: skip
    return {"machine": {**harness.machine(), "clock": given.clock}, "rows": rows}


def report(found: dict[str, Any]) -> str:
    """Return a row for each network and rate, as Markdown."""
    rows = []
    for row in found["rows"]:
        frame = "all" if row["size"] == row["sensor"] else "{} x {}".format(*row["size"])
        per_step = row["median"] / row["steps"]
        rows.append((
            "{} x {}".format(*row["sensor"]), frame, row["network"], f"{row['rate'] / 1e6:g}",
            f"{1e6 * per_step:,.0f}", f"{row['rate'] * row['played'] / row['median'] / 1e6:.2f}",
            f"{row['played'] / row['median']:.1f}",
        ))  # fmt: skip
    head = (
        ":sensor | :frame | :network | millions come a second | us a step | millions a second of computing | "
        "times as fast as they come"
    )
    return table(head, rows)


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--rounds", type=int, default=ROUNDS, help=f"{harness.WARM_UP} more warm up")
    options.add_argument("--runs", type=Path, help="folder of the networks of benchmarks.engine.table")
    options.add_argument("--out", type=Path, help="a file for the figures, which are measured once")
    harness.add_clock(options)
    options.add_argument("--quick", action="store_true", help="short and small: does it run at all?")
    given = options.parse_args()
    torch.set_num_threads(1)
    harness.set_clock(given.clock)
    found = measure(given) if given.out is None else harness.once(given.out, lambda: measure(given))
    print(f"Steps of {BIN_US / 1000:g} ms; pieces of {PIECE:,} events at most.\n")
    print(report(found) + "\n")
    print(", ".join(f"{name} {value}" for name, value in found["machine"].items()))


if __name__ == "__main__":
    main()
