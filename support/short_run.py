"""A short run that is whole: recordings of N-MNIST's format, a cache, a network trained, pruned, cut, saved.

It may be started or resumed in a process of its own, forked from this one, which has everything imported; and
what it ends with can be compared with what another one ended with.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.training import run
from support.recordings import write_nmnist

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = ("model.safetensors", "model.json", "predictions.csv", "dynamics.safetensors", "example.safetensors")
"""Compared byte for byte; summary and metrics are, but for times."""

OF_PAGES = {"report.html", "figures", "curves.png"}

PATIENCE = 300
"""Seconds after which what hangs counts as lost."""


def recordings(folder: Path) -> Path:
    """Write what the run is trained on, and return its folder."""
    return write_nmnist(folder / "recordings", train=3, test=1, n=150)


def config(root: Path, frames: Path) -> RunConfig:
    """Return a run of a second or two on recordings in ``root``, with its cache in ``frames``."""
    return RunConfig(
        data=DataConfig(name="nmnist", root=str(root), cache=str(frames), time_steps=3),
        model=ModelConfig(name="conv-snn", hidden=16),
        method=MethodConfig(name="dpap", target=0.5),
        train=TrainConfig(epochs=4, batch_size=10, device="cpu", threads=1, twin=False),
    )


def frames_of(out: Path) -> Path:
    """Return where the cache of the run in ``out`` is."""
    return out.with_name(f"{out.name}-frames")


def go_on(out: Path, asked: RunConfig, *, page: bool = False) -> int:
    """Start a run, or resume what there is of it; a page takes longer than all the rest."""
    if (out / "config.yaml").exists():
        run.resume(out, page=page)
    else:
        run.train(asked, out, page=page)
    return 0


def forked(program: Callable[[], int], log: Path) -> int:
    """Run ``program`` in a process of its own, which writes to ``log``; return its exit code."""
    child = os.fork()
    if child == 0:
        alone(program, log)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def alone(program: Callable[[], int], log: Path) -> None:
    """Run in a process that was forked, and ends here."""
    code = 1
    try:
        signal.alarm(PATIENCE)
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        # pytest's own streams write to where it captures
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        code = program()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # whatever it is: nothing may go on in the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def result(out: Path) -> dict[str, Any]:
    """Return all that a run ends with and that repeats bit for bit."""
    found: dict[str, Any] = {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest() if (out / name).exists() else None
        for name in FILES
    }
    summary = json.loads((out / "summary.json").read_text())
    found["summary.json"] = {
        k: v for k, v in summary.items() if k not in {"seconds", "machine", "git_commit"}
    }
    with (out / "metrics.csv").open() as file:
        found["metrics.csv"] = [
            {k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)
        ]
    if (out / "report.html").exists():
        found["report.html"] = (out / "report.html").read_text().rstrip().endswith("</html>")
        found["figures"] = sorted(path.name for path in (out / "figures").iterdir())
        found["curves.png"] = (out / "curves.png").read_bytes().endswith(b"IEND\xaeB`\x82")
    found["left over"] = sorted(path.name for path in out.rglob("*.part"))
    return found


def differences(wanted: dict[str, Any], got: dict[str, Any], *, page: bool = False) -> list[str]:
    """Return the names of what differs."""
    names = [name for name in wanted if page or name not in OF_PAGES]
    return [name for name in names if wanted[name] != got.get(name)]
