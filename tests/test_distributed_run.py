"""`snnprune train` in several processes: the files of a run, its death and its second life."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from test_resume import numbers, same
from torch import distributed

from snnprune.common.errors import UserError
from snnprune.training import run
from snnprune.training.distributed import group
from snnprune.training.distributed.launch import launch
from snnprune.training.sampler import EpochSampler, SharedBatches
from support import tiny_member, tiny_run
from support.processes import apart, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


def member(out: Path, death: str = "") -> str | None:
    """Be one of two processes of a run; return what it says when it cannot go on."""
    tiny_member.prepare(death)
    try:
        run.train(tiny_run.config(devices=2), out, page=False)
    except UserError as error:
        return str(error)
    return None


def checkpoint(out: Path) -> dict[str, Any]:
    return torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of two processes."""
    out = tmp_path_factory.mktemp("pair") / "run"
    assert apart(2, member, out) == [None, None]
    return out


def test_two_processes_end_as_one_does(pair: Path, tmp_path: Path) -> None:
    """51 samples in batches of 12: the last one has 3, which two processes share as 1 and 2."""
    alone = tmp_path / "run"
    run.train(tiny_run.config(), alone, page=False)
    (a, first), (b, second) = numbers(alone), numbers(pair)
    assert {row["epoch"] for row in second} == {"1", "2", "3", "4", "5"}
    assert a["pruning_rate"] == pytest.approx(b["pruning_rate"], abs=0.02)
    assert b["weights_left"] < b["weights_dense"]
    for early, late in zip(first[:1], second[:1], strict=True):  # before sums rounded otherwise flip a spike
        for name in ("train_loss", "synops", "synops_by_events", "val_accuracy", "test_accuracy"):
            assert float(late[name]) == pytest.approx(float(early[name]), rel=1e-3), name


def test_the_files_are_those_of_any_run(pair: Path) -> None:
    names = {"config.yaml", "metrics.csv", "summary.json", "model.safetensors", "dynamics.safetensors"}
    assert names <= {path.name for path in pair.iterdir()}
    assert not list(pair.glob("**/*.txt"))
    predictions = (pair / "predictions.csv").read_text().splitlines()
    assert len(predictions) == 1 + 21
    assert json.loads((pair / "summary.json").read_text())["epochs"] == 5


def test_one_that_is_killed_stops_the_others_and_the_run_goes_on_later(pair: Path, tmp_path: Path) -> None:
    """The network is cut at the start of epoch 2, and process 1 dies in epoch 3."""
    out = tmp_path / "run"
    said, nothing = apart(2, member, out, "kill 1 3 2")
    assert nothing is None
    assert "another process of this run has ended or cannot be reached" in said
    assert f"snnprune train --resume {out}" in said
    assert not (out / "summary.json").exists()
    assert checkpoint(out)["epoch"] == 2
    assert apart(2, member, out) == [None, None]
    assert numbers(out) == numbers(pair)
    same(checkpoint(out), checkpoint(pair))


@pytest.mark.slow
@pytest.mark.parametrize(("how", "number"), [("kill", 1), ("fail", 0)])
def test_who_starts_them_says_which_one_died_and_of_what(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, number: int
) -> None:
    out = tmp_path / "run"
    monkeypatch.setattr(run, "launch", functools.partial(launch, program=tiny_member.PROGRAM))
    monkeypatch.setenv("TINY_DEATH", f"{how} {number} 3 2")
    with pytest.raises(UserError) as why:
        run.train(tiny_run.config(devices=2), out, page=False)
    said = {"kill": "was ended by SIGKILL", "fail": "failed (this process has had enough)"}[how]
    assert f"the process with rank {number} of 2 {said}" in str(why.value)
    assert f"snnprune train --resume {out}" in str(why.value)
    monkeypatch.delenv("TINY_DEATH")
    run.resume(out, page=False)
    assert numbers(out) == numbers(pair)


@pytest.mark.slow
def test_torchrun_on_two_nodes(tmp_path: Path) -> None:
    """Two agents, as on two machines, each with one process."""
    out, port = tmp_path / "run", free_port()
    program = [
        *("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=static"),
        *("--master-addr=127.0.0.1", f"--master-port={port}"),
    ]
    options = [
        *("-m", "snnprune", "train", "--train.nodes=2", "--train.devices=1", "--train.device=cpu"),
        *("--train.epochs=2", "--data.samples=100", "--train.twin=false", "--train.threads=1"),
    ]
    agents = [
        subprocess.Popen(
            [sys.executable, *program, f"--node-rank={node}", *options, f"--out={out}"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for node in range(2)
    ]
    said = [agent.communicate(timeout=300)[0].decode() for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert json.loads((out / "summary.json").read_text())["epochs"] == 2
    assert "files in" in said[0]
    assert "files in" not in said[1]


class Vanishing(tuple[str, ...]):
    """The command of a process that waits; from the second start on it is not there."""

    started = False

    def __iter__(self) -> Iterator[str]:
        yield from ("/nowhere/to/be/found",) if self.started else self.__getitem__(slice(None))
        self.started = True


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_start_that_fails_midway_leaves_no_process_behind(tmp_path: Path) -> None:
    program = Vanishing((sys.executable, "-c", "import time; time.sleep(600)"))
    with pytest.raises(UserError, match=r"process with rank 1 of 2 could not be started .* others were st"):
        launch(tmp_path / "run", 2, program)
    words = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    assert not [word for word in words if str(tmp_path).encode() in word]


def group_after(error: type[BaseException], out: Path) -> bool:
    """Tell whether a group is still there when something was raised in it."""
    with contextlib.suppress(error), group.joined(tiny_run.config(devices=2), out):
        assert distributed.is_initialized()
        raise error
    return distributed.is_initialized()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, UserError])
def test_a_group_ends_with_an_exception_in_it(tmp_path: Path, error: type[BaseException]) -> None:
    assert apart(2, group_after, error, tmp_path) == [False, False]


def test_each_group_meets_at_a_port_of_its_own() -> None:
    stores = [group.store() for _ in range(3)]
    places = [group.of_torchrun(1, 2, store) for store in stores]
    assert len({place["MASTER_PORT"] for place in places}) == 3
    assert {(place["RANK"], place["WORLD_SIZE"]) for place in places} == {("1", "2")}


# --- which samples a process has


def test_shares_of_a_batch_are_the_batch() -> None:
    """11 samples in batches of 4 over 3 processes: shares of 1, 1 and 2, and in the last one of 1 each."""
    shares = [SharedBatches(EpochSampler(11, 0), 4, number, 3) for number in range(3)]
    order = list(EpochSampler(11, 0))
    assert [len(batches) for batches in shares] == [3, 3, 3]
    for batch, parts in enumerate(zip(*shares, strict=True)):
        assert list(itertools.chain(*parts)) == order[4 * batch : 4 * batch + 4]
        assert [len(part) for part in parts] == ([1, 1, 2] if batch < 2 else [1, 1, 1])
    assert [own.weight(0) for own in shares] == [0.75, 0.75, 1.5]
    assert [own.weight(2) for own in shares] == [1.0, 1.0, 1.0]


def test_a_last_batch_of_too_few_is_left_out() -> None:
    shares = [SharedBatches(EpochSampler(10, 0), 4, number, 3) for number in range(3)]
    assert [len(list(own)) for own in shares] == [2, 2, 2]
    assert len(SharedBatches(EpochSampler(9, 0), 4, 0, 1)) == 2  # a lone sample has no variance


# --- what cannot be


def test_more_processes_than_the_run_has_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "mine")
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(UserError, match=r"8 processes were started .* is 2 x 1"):
        run.train(tiny_run.config(devices=2), tmp_path / "run", page=False)
    with pytest.raises(UserError, match=r"8 processes were started .* is 1 x 1"):
        run.train(tiny_run.config(), tmp_path / "run", page=False)


def test_machines_need_somebody_to_start_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="with torchrun or srun"):
        run.train(tiny_run.config(devices=2, nodes=2), tmp_path / "run", page=False)


def test_each_process_needs_a_sample(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be at least 4, a sample for each process .* and is 3"):
        run.train(tiny_run.config(devices=2, nodes=2, batch_size=3), tmp_path / "run", page=False)
