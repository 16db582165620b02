"""What other tools make of the files that `snnprune export` writes: the table of docs/export.md.

    python -m benchmarks.elsewhere.table [--run RUN] [--only TOOL] [--envs FOLDER]

Each tool is installed, in a pinned version, into an environment of its own. It reads the files, and is shown
real recordings, in two batches. Spikes are compared layer by layer with those of `snnprune eval` on the same
file, and answers alike. The lines that read a file are printed, and are those that ran.

Without --run, conv-snn is trained on the small part of N-MNIST first, as docs/export.md says.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.elsewhere.environments import AbsentError, python_of
from benchmarks.elsewhere.ways import WAYS
from benchmarks.harness import parser
from snnprune import cli
from snnprune.export import nir_file, onnx_file
from snnprune.export.comparison import RoundTrip, spiking_run
from snnprune.export.finding import find
from support.markdown import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.elsewhere.ways import Way
    from snnprune.export.subject import Subject

READERS = Path(__file__).with_name("readers")

TRAINING = (
    "train --data.name nmnist --train.epochs 3 --train.lr 1e-3 --method.target 0.5 --method.structured 0.5 "
    "--train.twin false --train.threads 1"
)
"""The network of the table."""

LONGEST = 600
"""Seconds that a tool may take."""


@dataclass
class Shown:
    """The recordings that all tools are shown, and the answers that are right.

    Attributes:
        run: the folder of the run.
        subject: its compact network, with its data.
        folder: for files.
        samples: number of recordings.
    """

    run: Path
    subject: Subject
    folder: Path
    samples: int

    def __post_init__(self) -> None:
        frames, _ = self.subject.splits.test.__getitems__(range(self.samples))
        self.frames = self.subject.encode(frames, 0)
        self.file_of_frames = self.folder / "frames.npy"
        np.save(self.file_of_frames, self.frames.numpy())
        self._exported: dict[str, tuple[Path, Any]] = {}

    def exported(self, options: str) -> tuple[Path, Any]:
        """Return the file that `snnprune export` writes, and what the network in it answers."""
        if options not in self._exported:
            to = options.split()[1]
            file = self.folder / f"{len(self._exported)}.{to}"
            words = ["export", str(self.run), *options.split(), "--samples", "1", "--out", str(file)]
            if _quietly(words):
                raise SystemExit(f"snnprune {' '.join(words)} failed")
            model: Any = self.subject.model
            if to == "nir":
                again = nir_file.spiking_run(nir_file.read(file)[0], model)
            else:
                again = spiking_run(model)
                _with_spikes(file)
            with torch.inference_mode():
                self._exported[options] = file, again(self.frames)
        return self._exported[options]


def _quietly(words: list[str]) -> int:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        return cli.main(words)


def _with_spikes(file: Path) -> None:
    """Make the comparisons with thresholds outputs of an ONNX file, as `snnprune eval` does."""
    import onnx

    proto = onnx.load(str(file))
    proto.metadata_props.add(key="fired", value=json.dumps(onnx_file.add_spikes(proto, onnx)))
    onnx.save(proto, str(file))


def asked(way: Way, shown: Shown, envs: Path) -> RoundTrip | str:
    """Let a tool read a file and answer. Return how it compares, or why there is nothing to compare."""
    file, (outputs, fired) = shown.exported(way.options)
    try:
        python = python_of(envs, way.tool.requirements, torch=way.tool.torch)
    except AbsentError as error:
        return f"cannot be installed: {error}"
    with tempfile.TemporaryDirectory() as place:
        job = {
            "file": str(file), "frames": str(shown.file_of_frames), "layers": list(fired),
            "code": way.code, "between": way.between,
        }  # fmt: skip
        (Path(place) / "job.json").write_text(json.dumps(job))
        plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [str(python), str(READERS / f"{way.tool.reader}.py"), place],
            capture_output=True, text=True, timeout=LONGEST, cwd=place, env=plain, check=False,
        )  # fmt: skip
        if done.returncode:
            return f"fails: {_said(done.stderr)}"
        if not (Path(place) / "answers.npz").exists():
            return "reads it"
        with np.load(Path(place) / "answers.npz") as answers:
            theirs = {name: torch.from_numpy(answers[name]) for name in answers.files}
    found = RoundTrip(shown.subject.config.train.over_time)
    seen = {name: spikes for name, spikes in fired.items() if name in theirs}
    found.add((outputs, seen), (theirs.pop("outputs"), theirs))
    return found


def _said(stderr: str) -> str:
    """Return the error at the end of a traceback: its last line that is one."""
    lines = [line for line in stderr.splitlines() if line[:1].isalpha() and ": " in line]
    return " ".join((lines or stderr.splitlines() or ["no word"])[-1].split())[:120].replace("|", "/")


def row(way: Way, number: str, found: RoundTrip | str, layers: list[str]) -> tuple[str, ...]:
    options = way.options.removeprefix("--to ")
    if isinstance(found, str):
        return way.tool.name, options, number, found, ""
    flips = [f"{found.layers[name].flipped:,}" if name in found.layers else "not seen" for name in layers]
    said = "agree" if set(flips) == {"0"} else " / ".join(flips)
    return way.tool.name, options, number, said, f"{found.answers} of {found.samples}"


def rows(ways: list[Way], shown: Shown, envs: Path) -> Iterator[tuple[str, ...]]:
    layers = list(shown.exported("--to nir")[1][1])
    lines = list(dict.fromkeys((way.code, way.between) for way in ways))
    for way in ways:
        found = asked(way, shown, envs)
        made = row(way, f"{lines.index((way.code, way.between)) + 1}", found, layers)
        print(*made, sep=" | ", file=sys.stderr)
        yield made


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--run", type=Path, help="folder of a finished run of conv-snn")
    options.add_argument("--only", help="tools whose name begins like this")
    options.add_argument("--samples", type=int, default=100, help="test recordings")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "snnprune-elsewhere"
    options.add_argument("--envs", type=Path, default=cache, help=f"environments (default: {cache})")
    given = options.parse_args()
    ways = [way for way in WAYS if given.only is None or way.tool.name.startswith(given.only)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run" if given.run is None else given.run
        if given.run is None and cli.main([*TRAINING.split(), "--out", str(run)]):
            raise SystemExit("the network cannot be trained")
        shown = Shown(run, find(run, {}, "cpu", compact=True), folder, given.samples)
        spikes = [
            f"{name} {int(fired.count_nonzero()):,}"
            for name, fired in shown.exported("--to nir")[1][1].items()
        ]
        print(
            table(
                ":tool | :--to | :lines | :spikes that differ, layer by layer | :answers that differ",
                rows(ways, shown, given.envs),
            )
        )
    print(f"\nSpikes of {given.samples} recordings: {', '.join(spikes)}.\n")
    for number, (code, between) in enumerate(dict.fromkeys((way.code, way.between) for way in ways), 1):
        after = f"\n# between recordings\n{between}" if between else ""
        print(f"```python\n# {number}\n{code}{after}\n```\n")


if __name__ == "__main__":
    main()
