"""What a run survives: the tables of docs/reliability.md.

    python benchmarks/reliability.py kills [--count 100]     # SIGKILL at random moments of every stage
    python benchmarks/reliability.py damage [--count 200]    # bytes changed at random places
    python benchmarks/reliability.py disk [--count 12]       # full, read-only, lost (root: it mounts one)
    python benchmarks/reliability.py fuzz [--count 50000]    # malformed files of every kind
    python benchmarks/reliability.py memory [--count 2000]   # over training steps, as a picture
    python benchmarks/reliability.py wheel [--python P ...]  # built, installed where nothing is

Each prints its table. A count of a tenth shows the same in a tenth of the time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "memory.png"
COUNTS = {"kills": 100, "damage": 200, "disk": 12, "fuzz": 50_000, "memory": 2000, "wheel": 1}
SHARES = {"event files": (0.3, 0.2), "configurations": (0.2, 0.05), "run folders": (0.2, 0.05)}
"""Of all malformed inputs: drawn by hypothesis, and found by atheris."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


def kills(folder: Path, given: argparse.Namespace) -> int:
    """Kill, resume and compare."""
    from kills import kill

    tallies, _ = kill(folder, given.count, given.seed)
    rows = [(stage, t.tries, t.kills, t.same, len(t.losses)) for stage, t in tallies.items()]
    rows.append(("all", *(sum(row[column] for row in rows) for column in (1, 2, 3, 4))))
    table(("killed in", "runs", "kills", "resumed to the same result", "lost"), rows)
    for tally in tallies.values():
        for loss in tally.losses:
            print(f"LOST: {loss}")
    return rows[-1][-1]


def damage(folder: Path, given: argparse.Namespace) -> int:
    """Damage the files of a finished run."""
    from damage import HARMLESS, NOTICED, WRONG, Patient

    asked, out = whole_run(folder)
    found = Patient(out, asked).damage(given.count, given.seed)
    kinds = sorted({kind for kind, _ in found})
    outcomes = (NOTICED, HARMLESS, WRONG)
    table(("file", *outcomes), [(kind, *(found[kind, each] for each in outcomes)) for kind in kinds])
    return sum(found[kind, WRONG] for kind in kinds)


def disk(folder: Path, given: argparse.Namespace) -> int:
    """Fill disks, and take them away."""
    import disk as disks

    _, out = whole_run(folder)
    root, rows = folder / "recordings", []
    for number in range(given.count):
        share = 0.02 + 1.1 * number / given.count
        ended, wrong = disks.full(folder, root, out, share)
        print(f"{share:.0%}: {ended}", file=sys.stderr, flush=True)
        rows.append((f"full at {share:.0%}", hidden(ended, folder), ", ".join(wrong) or "the same result"))
    rows.append(("read-only", hidden(disks.read_only(folder, root), folder), "-"))
    ended, wrong = disks.lost_data(folder, root, out)
    rows.append(("data lost", hidden(ended, folder), ", ".join(wrong) or "the same result"))
    table(("disk", "what was said", "once there was room, or the data were back"), rows)
    return sum("WRONG" in row[1] or row[2] not in ("-", "the same result") for row in rows)


def hidden(sentence: str, folder: Path) -> str:
    """Return ``sentence`` without the name of the folder that this happened in."""
    return sentence.replace(str(folder), "...")


def fuzz(folder: Path, given: argparse.Namespace) -> int:
    """Feed malformed files to all readers."""
    import fuzz as fuzzing

    _, out = whole_run(folder)
    (folder / "fuzz").mkdir()
    readers, rows = fuzzing.Readers(folder / "fuzz", out), []
    for kind, (drawn, guided) in SHARES.items():
        counts, began = (int(given.count * drawn), int(given.count * guided)), time.perf_counter()
        rise = fuzzing.hunt(readers, kind, counts[0], given.seed)
        if rise > 1e6 * fuzzing.MEGABYTES:
            raise MemoryError(f"{kind} raised the peak by {rise / 1e6:.0f} MB")
        program = [sys.executable, str(Path(__file__).with_name("guided.py")), kind, str(out), str(counts[1])]
        ended = subprocess.run(program, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(ended.stdout[-3000:] + ended.stderr[-3000:])
        seconds = time.perf_counter() - began
        print(f"{kind}: {seconds:.0f} s, peak {rise / 1e6:+.0f} MB", file=sys.stderr, flush=True)
        rows.append((kind, f"{counts[0]:,}", f"{counts[1]:,}", 0, f"{rise / 1e6:.0f} MB", f"{seconds:.0f} s"))
    table(("malformed", "hypothesis", "atheris", "findings", "peak memory rose by", "took"), rows)
    return 0


def memory(folder: Path, given: argparse.Namespace) -> int:
    """Train for long, and watch."""
    import flat

    diary = flat.watch(folder / "run", given.count)
    flat.draw(diary, PICTURE if given.draw else folder / "memory.png")
    rows = [
        (
            diary.steps[-1],
            f"{diary.megabytes[-1]:.0f} MB",
            f"{diary.slope():+.2f} MB",
            f"{diary.spread():.1f} MB",
        )
    ]
    table(("steps", "resident at the end", "slope, 1,000 steps", "highest minus lowest"), rows)
    return 0


def wheel(folder: Path, given: argparse.Namespace) -> int:
    """Build, list, install, train."""
    import wheel as wheels

    built = wheels.build(folder)
    table(
        ("part", "files", "bytes"),
        [(room, files, f"{size:,}") for room, files, size in wheels.content(built)],
    )
    print(f"\nnot expected in it: {', '.join(wheels.strangers(built)) or 'nothing'}\n")
    for python in given.python:
        print(f"- {wheels.try_out(built, python, given.train)}", flush=True)
    return len(wheels.strangers(built))


def whole_run(folder: Path) -> tuple[object, Path]:
    """Return configuration and folder of a short run that nothing happened to."""
    from kills import Killer, config

    killer = Killer(folder)
    return config(killer.root, killer.frames(killer.whole)), killer.whole


COMMANDS = {"kills": kills, "damage": damage, "disk": disk, "fuzz": fuzz, "memory": memory, "wheel": wheel}


def given_in(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read a command and its options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draw", action="store_true", help="put the picture among the documents")
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="interpreters to install into")
    parser.add_argument(
        "--train", nargs=argparse.REMAINDER, default=[], help="the last: options of `snnprune train`"
    )
    given = parser.parse_args(arguments)
    given.count = COUNTS[given.command] if given.count is None else given.count
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 1 where something was lost."""
    given = given_in(arguments)
    with tempfile.TemporaryDirectory(prefix="snnprune-reliability-") as folder:
        return 1 if COMMANDS[given.command](Path(folder), given) else 0


if __name__ == "__main__":
    sys.exit(main())
