"""Events to frames, and frames from a cache: this package beside Tonic, in one interleaved run.

    python -m benchmarks.data.frames --data.root FOLDER [--json FILE]

reads N-MNIST recordings from FOLDER (or from the folder that SNNPRUNE_DATA names); without any, it makes
simulated ones. Both sides get the same events and must give the same frames, or the run stops.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tonic import DiskCachedDataset
from tonic.transforms import ToFrame
from torch.utils.data import DataLoader

from benchmarks import harness
from snnprune.data import FrameSet, as_is
from snnprune.data.cache import Batch, cached
from snnprune.data.digits import DIGITS_EVENTS
from snnprune.data.folders import root_given
from snnprune.data.frames import to_frames
from snnprune.data.neuromorphic import NMNIST
from snnprune.data.saccade import record
from support import markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import torch

SENSOR = (2, 34, 34)
BATCH = 50


class Transformed:
    """Recordings in memory, transformed when asked for: what Tonic's disk cache is put around."""

    def __init__(self, recordings: list[np.ndarray], transform: Callable[[np.ndarray], np.ndarray]) -> None:
        self.recordings, self.transform = recordings, transform

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        return self.transform(self.recordings[i]), i % 10


class OneByOne:
    """A frame set without its ready batches: what the memory map alone is worth."""

    def __init__(self, frames: FrameSet) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.frames[i]


TONICS = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
"""Tonic's own type of event."""


def recordings_in(root: str | None, many: int) -> tuple[list[np.ndarray], str]:
    """Return recordings with Tonic's own type of event, and what they are."""
    folder = NMNIST.found(root_given(root))
    if folder is not None and NMNIST.absent(folder, "train") is None:
        read = NMNIST.reader()
        listed = NMNIST.list(folder, "train")
        spread = listed[:: max(len(listed) // many, 1)][:many]
        return [read(recording).structured().astype(TONICS) for recording in spread], "N-MNIST recordings"
    images, _ = DIGITS_EVENTS.images()
    return [events.astype(TONICS) for events in record(images[:many])], "simulated recordings"


def rates(
    contenders: dict[str, Callable[[], Iterable[Any]]], rounds: int, samples: int
) -> dict[str, dict[str, float]]:
    """Let all take turns at ``samples``; return the rate of each, and its ratio to the first."""
    turns = {name: lambda run=run: [None for _ in run()] for name, run in contenders.items()}
    found = harness.take_turns(turns, rounds, warm_up=1)
    first = next(iter(found.values())).times
    return {
        name: {"samples_per_second": samples / took.median, "ratio": harness.ratio(first, took.times)}
        for name, took in found.items()
    }


def binning(recordings: list[np.ndarray], T: int, rounds: int) -> dict[str, dict[str, float]]:
    tonic = ToFrame(sensor_size=SENSOR[::-1], n_time_bins=T)
    for events in recordings:
        if not np.array_equal(tonic(events), to_frames(events, T, SENSOR, "tonic")):
            sys.exit("the two sides do not give the same frames")
    rules = {"Tonic's rule": "tonic", "equal time": "time", "equal count": "count"}
    return rates(
        {
            "Tonic ToFrame(n_time_bins)": lambda: map(tonic, recordings),
            **{
                f"snnprune, {name}": lambda rule=rule: (to_frames(e, T, SENSOR, rule) for e in recordings)
                for name, rule in rules.items()
            },
        },
        rounds,
        len(recordings),
    )


def reading(recordings: list[np.ndarray], T: int, rounds: int, folder: Path) -> dict[str, dict[str, float]]:
    """Read shuffled batches through a DataLoader in this process, every cache filled before."""

    def build() -> Iterator[Batch]:
        for i, events in enumerate(recordings):
            yield Batch(to_frames(events, T, SENSOR, "tonic")[None], np.array([i % 10]))

    stored = cached(folder, "benchmark", {"T": T}, build, len(recordings))
    source = Transformed(recordings, ToFrame(sensor_size=SENSOR[::-1], n_time_bins=T))
    frames = FrameSet(stored.frames, stored.labels)
    packed = DiskCachedDataset(source, str(folder / "lzf"))
    raw = DiskCachedDataset(source, str(folder / "plain"), compress=False)
    loaders = {
        "Tonic DiskCachedDataset": DataLoader(packed, BATCH, shuffle=True),
        "Tonic DiskCachedDataset(compress=False)": DataLoader(raw, BATCH, shuffle=True),
        "snnprune, memory map, one by one": DataLoader(OneByOne(frames), BATCH, shuffle=True),
        "snnprune, memory map, ready batches": DataLoader(frames, BATCH, shuffle=True, collate_fn=as_is),
    }
    runs = {name: lambda loader=loader: loader for name, loader in loaders.items()}
    return rates(runs, rounds, len(recordings))


def table(title: str, results: dict[str, dict[str, float]]) -> str:
    rows = (
        (name, f"{row['samples_per_second']:,.0f}", f"{row['ratio']:.1f}x") for name, row in results.items()
    )
    return markdown.table(f":{title} | samples/s | ratio", rows)


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--data.root", dest="root", help="folder with N-MNIST; else SNNPRUNE_DATA")
    options.add_argument("--json", type=Path, help="write the figures there too")
    options.add_argument("--rounds", type=int, default=9, help="times that each is measured")
    options.add_argument("--recordings", type=int, default=600, help="recordings to use")
    options.add_argument("--time-steps", type=int, default=10, help="frames of a recording")
    given = options.parse_args()
    recordings, kind = recordings_in(given.root, given.recordings)
    T = given.time_steps
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "binning": binning(recordings, T, given.rounds),
            "reading": reading(recordings, T, given.rounds, Path(folder)),
        }
    about = {
        "recordings": len(recordings),
        "kind": kind,
        "events": int(statistics.median(len(events) for events in recordings)),
        "time_steps": T,
        "rounds": given.rounds,
        **harness.machine("cpu", "numpy", "tonic", "snnprune"),
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print()
    print(table("Binning, events in memory", results["binning"]))
    print()
    print(table(f"Reading, cache full, shuffled batches of {BATCH}", results["reading"]))
    if given.json:
        given.json.write_text(json.dumps({"about": about, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
