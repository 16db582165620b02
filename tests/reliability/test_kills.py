"""Runs that are killed at random moments of each of their stages, and what they end with once resumed.

Each run is a process of its own, which tells through a pipe when a stage begins; SIGKILL follows after a
random share of the time that the stage took in the run that nobody interrupts. Then the run is resumed, and
every fourth time killed again on the way.

A page takes longer than all the rest, so only the runs that are killed over it have one: these begin where
the uninterrupted run had all but its pictures.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import pytest
import torch

from snnprune.data import cache
from snnprune.pruning import pruned
from snnprune.report import report as pages
from snnprune.runs.checkpoint import AtomicCheckpoints
from support.short_run import alone, config, differences, frames_of, go_on, recordings, result

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Count, Printed

STAGES: dict[str, tuple[Any, str]] = {
    "cache": (cache, "_write"),
    "training": (lightning.Trainer, "fit"),
    "checkpoint": (AtomicCheckpoints, "save_checkpoint"),
    "compaction": (pruned, "carry_out"),
    "report": (pages, "report"),
}
"""Which function a stage is."""

PAGE = "report"

AGAIN = 4
"""One in so many resumed runs is killed too."""


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
        self.root = recordings(folder)
        self.whole = folder / "whole"
        self.spans: dict[tuple[str, int], float] = {}
        torch.set_num_threads(1)
        events, code = self._run(self.whole, None)
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
        for folder in (out, frames_of(out)):
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

    def _run(self, out: Path, moment: Moment | None) -> tuple[list[tuple[str, str, int, float]], int]:
        """Start or resume a run; return what it told of its stages, and its exit code."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            page = out == self.whole or out.name.startswith(PAGE)
            asked = config(self.root, frames_of(out))
            alone(lambda: _trained(out, asked, writing, page=page), Path(f"{out}.log"))
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


def _trained(out: Path, asked: Any, pipe: int, *, page: bool) -> int:
    """Start or resume a run that tells of its stages; the process that does so ends with it."""
    for stage, (owner, name) in STAGES.items():
        setattr(owner, name, _told(getattr(owner, name), stage, pipe))
    return go_on(out, asked, page=page)


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


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path: Path, count: Count, printed: Printed) -> None:
    killer, tallies, number = Killer(tmp_path), {stage: Tally() for stage in STAGES}, 0
    while sum(tally.tries for tally in tallies.values()) < count(len(STAGES)):
        stage = min(tallies, key=lambda name: tallies[name].tries)
        killer.attempt(stage, number, tallies[stage])
        number += 1
    rows = [(stage, t.tries, t.kills, t.same, len(t.losses)) for stage, t in tallies.items()]
    rows.append(("all", *(sum(row[column] for row in rows) for column in (1, 2, 3, 4))))
    printed(":killed in | runs | kills | resumed to the same result | lost", rows)
    assert [loss for tally in tallies.values() for loss in tally.losses] == []
