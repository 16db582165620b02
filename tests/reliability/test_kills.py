"""Runs that are killed at random moments of each of their stages, and what they end with once resumed.

A run is short but whole: recordings of N-MNIST's format are binned into a cache, a network is trained,
pruned, cut and saved, and its page is drawn. Each run is a process of its own, forked from this one, which
has everything imported and has trained nothing. It tells through a pipe when a stage begins; SIGKILL follows
after a random share of the time that the stage took in the run that nobody interrupts. Then the run is
resumed, and every fourth time killed again on the way.

A page takes longer than all the rest, so only the runs that are killed over it have one: these begin where
the uninterrupted run had all but its pictures.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch

from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.data import cache
from snnprune.pruning import Pruner
from snnprune.runs.checkpoint import AtomicCheckpoints
from snnprune.training import run

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.recordings import write_nmnist

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES: dict[str, tuple[Any, str]] = {
    "cache": (cache, "_write"),
    "training": (lightning.Trainer, "fit"),
    "checkpoint": (AtomicCheckpoints, "save_checkpoint"),
    "compaction": (Pruner, "compact"),
    "report": (run, "_page"),
}
"""Which function a stage is."""

PAGE = "report"

AGAIN = 4
"""One in so many resumed runs is killed too."""

FILES = ("model.safetensors", "model.json", "predictions.csv", "dynamics.safetensors", "example.safetensors")
"""Compared byte for byte; summary and metrics are, but for times."""

PATIENCE = 300


def config(root: Path, frames: Path) -> RunConfig:
    """Return a run of a second or two on recordings in ``root``, with its cache in ``frames``."""
    return RunConfig(
        data=DataConfig(name="nmnist", root=str(root), cache=str(frames), time_steps=3),
        model=ModelConfig(name="conv-snn", hidden=16),
        method=MethodConfig(name="dpap", target=0.5),
        train=TrainConfig(epochs=4, batch_size=10, device="cpu", threads=1, twin=False),
    )


@dataclass
class Tally:
    """What became of the runs of a stage."""

    tries: int = 0
    kills: int = 0
    same: int = 0
    losses: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after a stage begins for the n-th time, from 0."""

    stage: str
    number: int
    delay: float


class Killer:
    """Starts runs, kills them, and looks at what is left.

    Args:
        folder: to work in.
        seed: of the moments.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.root = write_nmnist(folder / "recordings", train=3, test=1, n=150)
        self.whole = folder / "whole"
        self.spans: dict[tuple[str, int], float] = {}
        torch.set_num_threads(1)
        began = time.perf_counter()
        events, code = self._run(self.whole, None)
        self.seconds = time.perf_counter() - began
        if code:
            raise RuntimeError((self.whole.parent / "whole.log").read_text())
        begun: dict[tuple[str, int], float] = {}
        for what, stage, number, moment in events:
            if what == "begin":
                begun[stage, number] = moment
            else:
                self.spans[stage, number] = moment - begun[stage, number]
        self.wanted = result(self.whole)

    def attempt(self, stage: str, number: int, tally: Tally) -> None:
        """Kill a run in ``stage``, resume it until it ends, and add what became of it to ``tally``."""
        out = self.folder / f"{stage}-{number}"
        if stage == PAGE:
            shutil.copytree(self.whole, out, ignore=shutil.ignore_patterns("report.html", "figures", "*.png"))
        if not self._killed(out, self._moment(stage), tally):
            self._clear(out)
            return  # it was quicker than the moment: no try
        tally.tries += 1
        while self.random.randrange(AGAIN) == 0:
            self._killed(out, self._moment(self.random.choice(list(STAGES))), tally)
        _, code = self._run(out, None)
        if code:
            tally.losses.append(f"{out.name}: ended with {code}")
            return
        wrong = differences(self.wanted, result(out), page=stage == PAGE)
        if wrong:
            tally.losses.append(f"{out.name}: {', '.join(wrong)}")
            return
        tally.same += 1
        self._clear(out)

    def _clear(self, out: Path) -> None:
        for folder in (out, self.frames(out)):
            shutil.rmtree(folder, ignore_errors=True)

    def _moment(self, stage: str) -> Moment:
        calls = [number for name, number in self.spans if name == stage]
        number = self.random.choice(calls)
        return Moment(stage, number, self.random.random() * self.spans[stage, number])

    def _killed(self, out: Path, moment: Moment, tally: Tally) -> bool:
        _, code = self._run(out, moment)
        if code == -signal.SIGKILL:
            tally.kills += 1
        elif code:
            tally.losses.append(f"{out.name}: ended with {code} before it was killed")
        return code == -signal.SIGKILL

    def frames(self, out: Path) -> Path:
        """Return where the cache of the run in ``out`` is."""
        return out.with_name(f"{out.name}-frames")

    def _run(self, out: Path, moment: Moment | None) -> tuple[list[tuple[str, str, int, float]], int]:
        """Start or resume a run; return what it told of its stages, and its exit code."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            page = out == self.whole or out.name.startswith(PAGE)
            asked = config(self.root, self.frames(out))
            _alone(lambda: _trained(out, asked, writing, page=page), Path(f"{out}.log"))
        os.close(writing)
        events = []
        with os.fdopen(reading) as lines:
            for line in lines:
                what, stage, number, then = line.split()
                events.append((what, stage, int(number), float(then)))
                if moment and (what, stage, int(number)) == ("begin", moment.stage, moment.number):
                    time.sleep(moment.delay)
                    os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        return events, os.waitstatus_to_exitcode(status)


def forked(program: Callable[[], int], log: Path) -> int:
    """Run ``program`` in a process of its own, which writes to ``log``; return its exit code."""
    child = os.fork()
    if child == 0:
        _alone(program, log)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _alone(program: Callable[[], int], log: Path) -> None:
    """Run in a process that was forked, and ends here."""
    code = 1
    try:
        signal.alarm(PATIENCE)  # what hangs is a loss
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = program()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # whatever it is: nothing may go on in the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _trained(out: Path, asked: RunConfig, pipe: int, *, page: bool) -> int:
    """Start or resume a run that tells of its stages."""
    for stage, (owner, name) in STAGES.items():
        setattr(owner, name, _told(getattr(owner, name), stage, pipe))
    if not page:
        run._picture = run._page = lambda *_: None  # type: ignore[assignment]
    if (out / "config.yaml").exists():
        run.resume(out)
    else:
        run.train(asked, out)
    return 0


def _told(function: Callable[..., Any], stage: str, pipe: int) -> Callable[..., Any]:
    """Return ``function``, which says when it begins and ends."""
    count = iter(range(1_000_000))

    @functools.wraps(function)
    def told(*given: Any, **named: Any) -> Any:
        number = next(count)
        os.write(pipe, f"begin {stage} {number} {time.perf_counter()}\n".encode())
        answer = function(*given, **named)
        os.write(pipe, f"end {stage} {number} {time.perf_counter()}\n".encode())
        return answer

    return told


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


def differences(wanted: dict[str, Any], got: dict[str, Any], *, page: bool) -> list[str]:
    """Return the names of what differs."""
    names = [name for name in wanted if page or name not in {"report.html", "figures", "curves.png"}]
    return [name for name in names if wanted[name] != got.get(name)]


def kill(folder: Path, count: int, seed: int = 0) -> tuple[dict[str, Tally], Killer]:
    """Kill ``count`` runs, stage by stage in turn, and return what became of them."""
    killer = Killer(folder, seed)
    tallies = {stage: Tally() for stage in STAGES}
    number = 0
    while sum(tally.tries for tally in tallies.values()) < count:
        stage = min(tallies, key=lambda name: tallies[name].tries)
        killer.attempt(stage, number, tallies[stage])
        number += 1
    return tallies, killer
