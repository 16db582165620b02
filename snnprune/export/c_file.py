"""A trained network as C99: which time step it has, what a reader has to know, what its program answers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from snnprune import data as datasets
from snnprune.common.console import say
from snnprune.common.errors import UserError
from snnprune.config.names import DATASETS, pick
from snnprune.config.values import microseconds
from snnprune.data.events import sources
from snnprune.data.events.sources import within_intervals
from snnprune.engine.c.running import COMPILERS, Runner
from snnprune.engine.c.writing import write
from snnprune.engine.engine import Engine
from snnprune.engine.plan import Layer
from snnprune.export.comparison import compare, spiking_run
from snnprune.export.planning import of_grid, plan
from snnprune.export.quantisation import quantise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from snnprune.config.schema import DataConfig
    from snnprune.export.comparison import Run, Spikes
    from snnprune.export.subject import Subject

LOOKED_AT = 25
"""Recordings whose length is looked at for an example of a time step."""

BYTES_OF_TEXT = 16
"""Of a weight in the text of a program, about."""

LARGE = 20e6
"""Bytes of text that are announced."""


@dataclass(frozen=True)
class Asked:
    """What is asked of a program.

    Attributes:
        bits: of a weight; None for floats.
        bin: time step, such as 10ms; None for that of the run.
    """

    bits: int | None = None
    bin: str | None = None


def export(
    subject: Subject, model: nn.Module, file: Path, recordings: Iterable[torch.Tensor], asked: Asked
) -> tuple[dict[str, Any], str]:
    """Write a network as C, compile it if this machine has a compiler, and compare it on recordings.

    Args:
        subject: the network and its data.
        model: the network.
        file: the source; its header is written beside it.
        recordings: batches of encoded frames [T, B, C, H, W].
        asked: bits and time step.

    Returns:
        "file", "header", "bytes" of both, "flash" and "ram"; and, where there is a compiler, "round_trip" as
        `RoundTrip.report` returns it, and "engine_differs", the number of recordings in which any bit of an
        output differs from those of `snnprune.engine.engine.Engine`. Then the same as a sentence.

    Raises:
        UserError: no time step, a network that a plan or C cannot hold, or files that cannot be written.
    """
    data, events = subject.config.data, subject.splits.events
    bin_us = time_step(subject, asked.bin)
    counts = events or data.encoding == "poisson"
    example, grid = subject.example(), None
    if asked.bits is None:
        network = plan(model, example, bits=None, dtype=None, **subject.kept())
    else:
        grid = quantise(model, example, asked.bits)
        network = of_grid(grid, **subject.kept())
    weights = sum(int(np.count_nonzero(node.weights)) for node in network.nodes if isinstance(node, Layer))
    if weights * BYTES_OF_TEXT >= LARGE:
        say(Console(), f"writing about {weights * BYTES_OF_TEXT / 1e6:,.0f} megabytes of C")
    said_of = notes(data, events=events)
    written = write(network, file, bin_us=bin_us, counts=counts, notes=said_of)
    result: dict[str, Any] = {
        "file": str(written.source),
        "header": str(written.header),
        "bytes": written.text,
        "flash": written.flash,
        "ram": written.ram,
    }
    said = f"{written.flash:,} bytes of constants and {written.ram:,} of static data; header {written.header}"
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner.compiled(written, Path(folder))
        if runner is None:
            return result, f"{said}\nno compiler found ({', '.join(COMPILERS)}): not compared"
        mine = spiking_run(model) if grid is None else spiking_run(grid.model, grid.neurons)
        other = _Other(runner, Engine(network))
        names = {name for name, _ in written.neurons}
        found = compare(in_rows(mine, names), other, recordings, network.over_time)
    result |= {"round_trip": found.report(), "engine_differs": other.differ}
    compared = str(found).removeprefix("read back and ")
    return (
        result,
        f"{said}\ncompiled and {compared}; {other.differ} recordings differ from the engine in a bit",
    )


class _Other:
    """Maps encoded frames to the outputs and spikes of a program, places in one row.

    Attributes:
        differ: number of samples in which any bit of an output differs from the engine's.
    """

    def __init__(self, runner: Runner, engine: Engine) -> None:
        self.runner, self.engine, self.differ = runner, engine, 0

    def __call__(self, frames: torch.Tensor) -> tuple[torch.Tensor, Spikes]:
        shaped = frames.numpy().reshape(*frames.shape[:2], *self.engine.plan.shape)
        outputs, spikes = self.runner.spikes(shaped)
        self.differ += int((outputs != self.engine(shaped)).any((0, 2)).sum())
        rows = {name: torch.from_numpy(fired.reshape(*fired.shape[:2], -1)) for name, fired in spikes.items()}
        return torch.from_numpy(np.ascontiguousarray(outputs)), rows


def time_step(subject: Subject, asked: str | None) -> int | None:
    """Return the length of a time step in microseconds; None where there are no events.

    Args:
        subject: the network and its data.
        asked: a span such as 10ms, in place of that of the run.

    Raises:
        UserError: the network reads no events, and a span was asked for; or its frames divide recordings of
            any length, and none was.
    """
    config = subject.config.data
    if not subject.splits.events:
        if asked is not None:
            raise UserError(
                f"--bin is the time step of events, and '{config.name}' holds images: leave it out"
            )
        return None
    if asked is not None:
        return microseconds(asked)
    if config.bin is not None:
        return microseconds(config.bin)
    if config.window is not None and config.binning == "time":
        step, rest = divmod(microseconds(config.window), config.time_steps)
        if rest == 0 and step > 0:
            return step
    raise UserError(
        f"the run's {config.time_steps} frames divide each recording as a whole, and C takes events as they "
        f"come: give the length of a time step with --bin, {_such_as(config)}"
    )


def notes(config: DataConfig, *, events: bool) -> list[str]:
    """Return what the reader of a program has to know about the data of its run."""
    if not events:
        how = "pixel / 255, the same at each time step" if config.encoding == "direct" else "drawn spikes"
        return [f"Trained on '{config.name}': images, {how}, for {config.time_steps} time steps."]
    said = f"Trained on '{config.name}' with {config.time_steps} frames a recording"
    said += f" of {config.bin} each" if config.bin else f" of {config.window}" if config.window else ""
    changed = [
        f"data.{name} {value}"
        for name, value in (
            ("crop", config.crop),
            ("size", config.size),
            ("polarity", config.polarity if config.polarity != "both" else None),
            ("hot_pixels", config.hot_pixels if config.hot_pixels == "remove" else None),
        )
        if value
    ]
    if not changed:
        return [f"{said}. Events go in as the sensor has them."]
    return [f"{said}. Events have to be brought onto these frames first: {', '.join(changed)}."]


def in_rows(run: Run, names: set[str]) -> Run:
    """Return ``run`` with outputs and places in one row, of the layers ``names``."""

    def flat(frames: torch.Tensor) -> tuple[torch.Tensor, Spikes]:
        outputs, spikes = run(frames)
        return outputs.flatten(2), {name: spikes[name].flatten(2) for name in spikes if name in names}

    return flat


def _such_as(config: DataConfig) -> str:
    """Return the end of the sentence: how to find a time step like those of the run."""
    length = _median_length(config)
    if length is None:
        return f"about the length of a recording divided by {config.time_steps}"
    step = max(1, round(length / config.time_steps))
    said = f"{step / 1000:.3g}ms" if step >= 1000 and step % 1000 == 0 else f"{step}us"
    return (
        f"such as --bin {said}: the median recording lasts {length / 1000:,.4g} ms, and "
        f"{config.time_steps} such steps are as long"
    )


def _median_length(config: DataConfig) -> int | None:
    """Return the median length of some recordings in microseconds; None where there are no files."""
    try:
        folder = datasets.where(config.name, config.root)
        if folder is None:
            return None
        source: Any = pick(DATASETS, "data set", config.name).load()
        found = sources.found(folder, config)
        read = within_intervals(source.reader()) if hasattr(source, "listing") else found.read
        recordings = found.listing.recordings
        chosen = recordings[:: max(1, len(recordings) // LOOKED_AT)]
        return int(np.median([int(read(recording).t[-1]) + 1 for recording in chosen]))
    except (UserError, ValueError, OSError):
        return None
