"""How fast training is beside SpikingJelly, unpruned and half removed; how much memory it takes.

    python benchmarks/speed.py [--only mnist ...] [--rounds 9] [--whole 40] [--grow] [--out speed.json]

Every figure is a ratio to the same network of SpikingJelly's own neurons, multi-step and unpruned, in the
same process: contenders take turns, a round has one turn of each, and the median is over the rounds. Each
network is measured in a process of its own, once with malloc as it comes, once with malloc told to keep what
it has; all contenders of a process share that setting. Memory is measured in a process per contender.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import growth
import rows
import whole
from workloads import DPAP, PLAIN, REMOVED, WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable

ALLOCATORS = {
    "default": {},
    # Tensors above 32 MB otherwise go back to the system at every step, and come back page by page.
    "tuned": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)},
}
CHILD = Path(__file__).with_name("measure.py")
PICTURES = Path(__file__).parents[1] / "docs" / "images"
PEAKED, PEAKS = (PLAIN, DPAP, REMOVED), 3  # malloc does not fill its holes alike in every process


def environment(allocator: str) -> dict[str, str]:
    """Return this process's environment with the allocator's setting, and no other."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return clean | ALLOCATORS[allocator]


def child(given: argparse.Namespace, allocator: str, *words: str) -> Any:
    """Let a process with the allocator's setting measure, and return its answer."""
    print(f"{', '.join(words)}; {allocator} allocator ...", file=sys.stderr)
    command = [sys.executable, str(CHILD), *words, "--device", given.device, "--rounds", str(given.rounds)]
    command += ["--threads", str(given.threads)] * (given.threads is not None) + ["--quick"] * given.quick
    done = subprocess.run(command, env=environment(allocator), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def peak(given: argparse.Namespace, allocator: str, name: str, contender: str) -> float | None:
    """Return the median peak memory over a few processes, None where it cannot be measured."""
    times = 1 if given.quick or given.device == "cuda" else PEAKS
    found = [child(given, allocator, "peak", name, contender) for _ in range(times)]
    return None if None in found else statistics.median(found)


class Figures:
    """What has been measured, by allocator and name; with a file it is kept there, and not measured again."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        there = path is not None and path.exists()
        self.found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if there else {}

    def once(self, allocator: str, name: str, measure: Callable[[], Any]) -> Any:
        """Return the figure of ``name``, measured now unless it is known."""
        known = self.found.setdefault(allocator, {})
        if name not in known:
            known[name] = measure()
            if self.path is not None:
                self.path.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
        return known[name]


def collect(given: argparse.Namespace, allocator: str, figures: Figures) -> None:
    """Measure all that is asked for under one allocator's setting."""
    for name in given.only:
        figures.once(allocator, name, lambda name=name: network(given, allocator, name))
        figures.once(allocator, f"limit {name}", lambda name=name: child(given, allocator, "limit", name))
    if given.whole is not None:
        print(f"whole training; {allocator} allocator ...", file=sys.stderr)
        own = environment(allocator)
        figures.once(allocator, "whole", lambda: whole.compete(given.whole, given.repeats, own))
    if given.grow is not None:
        axes = growth.SWEEPS
        sweeps = figures.once(
            allocator, "growth", lambda: {axis: child(given, allocator, "growth", axis) for axis in axes}
        )
        growth.draw(given.grow / f"growth-{given.device}-{allocator}.png", sweeps)
    figures.once(allocator, "bandwidth", lambda: child(given, allocator, "bandwidth"))


def network(given: argparse.Namespace, allocator: str, name: str) -> dict[str, Any]:
    """Return seconds and peak memory of the contenders on one network."""
    measured: dict[str, Any] = child(given, allocator, "turns", name)
    return measured | {"peak": {one: peak(given, allocator, name, one) for one in PEAKED}}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument(
        "--allocators", nargs="+", choices=ALLOCATORS, help="default: both; on a GPU the first"
    )
    parser.add_argument("--rounds", type=int, default=9, help="small networks take three times as many")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--whole", type=int, metavar="EPOCHS", help="also train N-MNIST to the end: minutes")
    parser.add_argument("--repeats", type=int, default=1, help="of the whole training")
    parser.add_argument(
        "--grow",
        type=Path,
        nargs="?",
        const=PICTURES,
        metavar="FOLDER",
        help="draw how the step grows with T, batch and width (default folder: docs/images)",
    )
    parser.add_argument(
        "--out", type=Path, help="keep all that is measured there, as JSON, and go on from it"
    )
    parser.add_argument("--quick", action="store_true", help="tiny shapes: does it run at all?")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    # malloc is the CPU's: the tensors of a GPU never meet it.
    settings = given.allocators or (list(ALLOCATORS) if given.device == "cpu" else ["default"])
    figures = Figures(given.out)
    for allocator in settings:
        collect(given, allocator, figures)
    print(rows.report(figures.found))


if __name__ == "__main__":
    main()
