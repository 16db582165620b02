"""How fast event files are read: events a second, beside the libraries that read the same file.

    python -m benchmarks.data.events --events 5000000 --rounds 9

Every format is written to a file once, by `support.event_files`. All that read it take turns. "read" decodes
the file and passes the gate, which checks every event; "read and frames" makes T frames of them besides. A
library decodes only. It is left out where it is not installed, and marked where it gives other events than
were written. Ratios are to the fastest library, and are medians of the ratios within a turn. All have one
thread. "With N threads", the number that torch begins with, only the gate's pass over columns is shared.

numpy hands over a table in one piece. What taking its columns apart costs, with nothing checked, is measured
beside it, and is no library.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks import harness
from snnprune.common.compiling import compiled
from snnprune.data.events.reading import FORMATS, read
from snnprune.data.frames import to_frames
from support import event_files, markdown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from snnprune.data.events.stream import Stream
    from support.event_files import Writer

CAMERA = (1280, 720)
TICK = 2
"""Largest time between neighbouring rows, in microseconds: about six million events a second."""


def library(name: str) -> Any:
    """Import a library that is no dependency, and may be absent."""
    return importlib.import_module(name)


def faery(path: Path, _: Writer) -> Any:
    return library("faery").events_stream_from_file(path).to_array()


def expelliarmus(path: Path, writer: Writer) -> Any:
    form = "dat" if writer.suffix == ".dat" else str(writer).partition("_")[0]
    return library("expelliarmus").Wizard(encoding=form).read(path)


def tonic(path: Path, _: Writer) -> Any:
    from tonic.io import events_struct, read_mnist_file

    return read_mnist_file(str(path), events_struct)


def numpy(path: Path, _: Writer) -> Any:
    return np.load(path)


@compiled
def apart(t, x, y, p, columns):  # type: ignore[no-untyped-def]
    """Copy the columns of a table into columns of a stream."""
    times, places, rows, on = columns
    for n in range(t.size):
        i = np.uintp(n)
        times[i], places[i], rows[i], on[i] = t[i], x[i], y[i], p[i] != 0


def numba(path: Path, _: Writer) -> Any:
    table = np.asarray(np.load(path, mmap_mode="r"))
    found = {
        name: np.empty(len(table), kind) for name, kind in zip("txyp", ("i8", "u2", "u2", "?"), strict=True)
    }
    apart(*(table[name] for name in "txyp"), tuple(found.values()))
    return found


def h5py(path: Path, _: Writer) -> Any:
    with library("h5py").File(path) as file:
        if "CD" in file:
            return file["CD/events"][:]
        return {name: file[f"events/{name}"][:] for name in "txyp"}


APART = "numba, columns apart"

LIBRARIES: dict[str, dict[str, Callable[[Path, Writer], Any]]] = {
    "evt2": {"faery": faery, "expelliarmus": expelliarmus},
    "evt3": {"faery": faery, "expelliarmus": expelliarmus},
    "evt3_single": {"faery": faery, "expelliarmus": expelliarmus},
    "dat": {"faery": faery, "expelliarmus": expelliarmus},
    "dat_first": {"faery": faery},
    "atis_bin": {"tonic": tonic},
    "npy_structured": {"numpy": numpy, APART: numba},
    "h5_group": {"h5py": h5py},
    "h5_compound": {"h5py": h5py},
    "es": {"faery": faery},
    "aedat4": {"faery": faery},
}
"""What reads the files of a writer, by the name of each."""


def right(found: Any, events: Stream) -> bool:
    """Return whether a library gives the events that were written, whatever its clock begins with."""
    if len(found["t"]) != len(events):
        return False
    polarity = "p" if isinstance(found, dict) or "p" in found.dtype.names else "on"
    times = found["t"].astype(np.int64)
    return np.array_equal(times - times[:1], events.t) and all(
        np.array_equal(found[theirs], events[ours])
        for theirs, ours in (("x", "x"), ("y", "y"), (polarity, "p"))
    )


def with_threads(many: int, call: Callable[[], object]) -> Callable[[], object]:
    """Return a call that may use so many threads, and leaves one behind."""

    def shared() -> object:
        torch.set_num_threads(many)
        try:
            return call()
        finally:
            torch.set_num_threads(1)

    return shared


def measured(
    writer: Writer, events: Stream, path: Path, given: argparse.Namespace, threads: int
) -> list[dict[str, Any]]:
    """Let all that read a file take turns; return a row for each."""
    writer.write(path, events)
    asked = writer.said(events.sensor)
    libraries = {
        name: call
        for name, call in LIBRARIES.get(str(writer), {}).items()
        if importlib.util.find_spec(name.partition(",")[0]) is not None
    }
    shape = (2, *events.sensor[::-1])
    turns: dict[str, Callable[[], object]] = {
        "snnprune, read": lambda: read(path, asked),
        f"snnprune, read with {threads} threads": with_threads(threads, lambda: read(path, asked)),
        "snnprune, read and frames": lambda: to_frames(read(path, asked), given.time_steps, shape),
    }
    turns |= {name: lambda call=call: call(path, writer) for name, call in libraries.items()}  # type: ignore[misc]
    notes = {
        name: "" if right(call(path, writer), events) else "wrong events" for name, call in libraries.items()
    }
    found = harness.take_turns(turns, given.rounds, warm_up=1)
    fastest = min(libraries.keys() - {APART}, key=lambda name: found[name].median, default="snnprune, read")
    return [
        {
            "format": str(writer),
            "reader": name,
            "million_events_per_second": len(events) / took.median / 1e6,
            "ratio": harness.ratio(found[fastest].times, took.times),
            "note": notes.get(name, ""),
        }
        for name, took in found.items()
    ]


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--json", type=Path, help="write the figures there too")
    options.add_argument("--rounds", type=int, default=9, help="times that each is measured")
    options.add_argument("--events", type=int, default=5_000_000, help="events of a file")
    options.add_argument("--time-steps", type=int, default=10, help="frames of a recording")
    options.add_argument("--only", nargs="*", default=[], help="names of writers; else all")
    given = options.parse_args()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for known in FORMATS:
            for writer in event_files.WRITERS[known.title]:
                if writer.suffix not in known.suffixes or (given.only and str(writer) not in given.only):
                    continue
                width, height = (min(sizes) for sizes in zip(CAMERA, writer.sensor, strict=True))
                events = event_files.drawn(given.events, (width, height), gap=TICK)
                path = Path(folder) / f"recording{writer.suffix}"
                rows += measured(writer, events, path, given, threads)
    packages = [name for name in ("faery", "expelliarmus") if importlib.util.find_spec(name)]
    about = {
        "events": given.events,
        "time_steps": given.time_steps,
        "rounds": given.rounds,
        **harness.machine("cpu", "numpy", "numba", "tonic", "snnprune", *packages),
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print()
    cells = (
        (
            row["format"], row["reader"], f"{row['million_events_per_second']:.1f}", f"{row['ratio']:.2f}x",
            row["note"],
        )
        for row in rows
    )  # fmt: skip
    print(markdown.table(":Format | :reader | million events/s | ratio | :note", cells))
    if given.json:
        given.json.write_text(json.dumps({"about": about, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
