"""Events to frames, and frames from a cache: this package beside Tonic, in one interleaved run.

    python benchmarks/data.py --data.root FOLDER [--json FILE]

reads N-MNIST recordings from FOLDER (or from the folder that SNNPRUNE_DATA names); without any, it makes
simulated ones. Both sides get the same events and must give the same frames, or the run stops.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from snnprune.data import FrameSet

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


def recordings_in(root: str | None, many: int) -> tuple[list[np.ndarray], str]:
    """Return recordings with Tonic's own type of event, and what they are."""
    from snnprune.data.digits import DIGITS_EVENTS
    from snnprune.data.folders import root_given
    from snnprune.data.neuromorphic import NMNIST
    from snnprune.data.saccade import record

    folder = NMNIST.found(root_given(root))
    if folder is not None:
        read = NMNIST.reader()
        listed = NMNIST.list(folder / NMNIST.train)
        spread = listed[:: max(len(listed) // many, 1)][:many]
        return [read(recording) for recording in spread], "N-MNIST recordings"
    dtype = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    images, _ = DIGITS_EVENTS.images()
    return [events.astype(dtype) for events in record(images[:many])], "simulated recordings"


def timed(
    contenders: dict[str, Callable[[], None]], rounds: int, samples: int
) -> dict[str, dict[str, float]]:
    """Measure all in turns, and return the median rate of each and its median ratio to the first.

    A ratio is taken within a round, so that whatever else the machine does meanwhile weighs on both sides.
    One round to warm up is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            begin = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    first = next(iter(seconds.values()))
    return {
        name: {
            "samples_per_second": samples / statistics.median(own),
            "ratio": statistics.median(theirs / ours for theirs, ours in zip(first, own, strict=True)),
        }
        for name, own in seconds.items()
    }


def binning(recordings: list[np.ndarray], T: int, rounds: int) -> dict[str, dict[str, float]]:
    from tonic.transforms import ToFrame

    from snnprune.data.frames import to_frames

    tonic = ToFrame(sensor_size=SENSOR[::-1], n_time_bins=T)
    for events in recordings:
        if not np.array_equal(tonic(events), to_frames(events, T, SENSOR, "tonic")):
            sys.exit("the two sides do not give the same frames")

    def run(bin_one: Callable[[np.ndarray], Any]) -> Callable[[], None]:
        def all_of_them() -> None:
            for events in recordings:
                bin_one(events)

        return all_of_them

    return timed(
        {
            "Tonic ToFrame(n_time_bins)": run(tonic),
            "snnprune, Tonic's rule": run(lambda events: to_frames(events, T, SENSOR, "tonic")),
            "snnprune, equal time": run(lambda events: to_frames(events, T, SENSOR, "time")),
            "snnprune, equal count": run(lambda events: to_frames(events, T, SENSOR, "count")),
        },
        rounds,
        len(recordings),
    )


def reading(recordings: list[np.ndarray], T: int, rounds: int, folder: Path) -> dict[str, dict[str, float]]:
    """Read shuffled batches through a DataLoader in this process, every cache filled before."""
    from tonic import DiskCachedDataset
    from tonic.transforms import ToFrame
    from torch.utils.data import DataLoader

    from snnprune.data import FrameSet, as_is
    from snnprune.data.cache import Batch, cached
    from snnprune.data.frames import to_frames

    def build() -> Iterator[Batch]:
        for i, events in enumerate(recordings):
            yield Batch(to_frames(events, T, SENSOR, "tonic")[None], np.array([i % 10]))

    stored = cached(folder, "benchmark", {"T": T}, build, len(recordings))
    source = Transformed(recordings, ToFrame(sensor_size=SENSOR[::-1], n_time_bins=T))
    frames = FrameSet(stored.frames, stored.labels)
    loaders = {
        "Tonic DiskCachedDataset": DataLoader(
            DiskCachedDataset(source, str(folder / "lzf")), BATCH, shuffle=True
        ),
        "Tonic DiskCachedDataset(compress=False)": DataLoader(
            DiskCachedDataset(source, str(folder / "plain"), compress=False), BATCH, shuffle=True
        ),
        "snnprune, memory map, one by one": DataLoader(OneByOne(frames), BATCH, shuffle=True),
        "snnprune, memory map, ready batches": DataLoader(frames, BATCH, shuffle=True, collate_fn=as_is),
    }

    def run(loader: DataLoader) -> Callable[[], None]:
        def all_of_them() -> None:
            for _ in loader:
                pass

        return all_of_them

    return timed({name: run(loader) for name, loader in loaders.items()}, rounds, len(recordings))


def table(title: str, results: dict[str, dict[str, float]]) -> str:
    rows = [
        f"| {name} | {row['samples_per_second']:,.0f} | {row['ratio']:.1f}x |"
        for name, row in results.items()
    ]
    return "\n".join([f"| {title} | samples/s | ratio |", "| --- | ---: | ---: |", *rows])


def versions() -> dict[str, str]:
    import tonic
    import torch

    import snnprune

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "tonic": tonic.__version__,
        "snnprune": snnprune.__version__,
        "machine": platform.machine(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data.root", dest="root", help="folder with N-MNIST; else SNNPRUNE_DATA")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--rounds", type=int, default=9, help="times that each is measured")
    parser.add_argument("--recordings", type=int, default=600, help="recordings to use")
    parser.add_argument("--time-steps", type=int, default=10, help="frames of a recording")
    given = parser.parse_args()
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
        **versions(),
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
