"""A bench on a local Ray cluster of two workers."""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import ray

from snnprune.bench import run
from snnprune.bench.cluster import OnRay
from snnprune.bench.grid import Grid
from snnprune.common.errors import UserError
from support import tiny_cell, tiny_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = (sys.executable, tiny_cell.__file__)
BASE = tiny_run.config(epochs=2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    # "local": a cluster that was killed here leaves its address behind, and Ray would knock there.
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def test_without_a_cluster_it_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr(ray, "init", nowhere)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="ray start --head"):
        OnRay(None, BASE.train, tmp_path)


def test_a_cluster_that_does_not_answer_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray would wait for minutes"))
    with pytest.raises(UserError, match=f"no cluster at {address}, which RAY_ADDRESS names"):
        OnRay(None, BASE.train, tmp_path)


def test_without_ray_it_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="pip install"):
        OnRay(None, BASE.train, tmp_path)


@pytest.mark.slow
def test_cells_are_spread_and_a_failing_one_costs_itself_alone(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Ray's workers were started before: what a cell is to do stands on its command line.
    program = ("env", "BENCH_FAIL=dense-seed1", *PROGRAM)
    executor = OnRay(None, BASE.train, tmp_path / "logs", program)
    assert executor.slots == 2
    assert run.bench(BASE, Grid(("dense",), (None,), (0, 1)), tmp_path, executor, look=0.1) == 1
    assert json.loads((tmp_path / "dense-seed0" / "summary.json").read_text())["seed"] == 0
    assert "failed" in capsys.readouterr().out
    assert "the recordings are gone" in (tmp_path / "logs" / "dense-seed1.txt").read_text()


@pytest.mark.slow
def test_stop_ends_what_is_running(cluster: None, tmp_path: Path) -> None:
    # Ray holds the signal back in its workers and in whom they start; a cell asks for it, and so does this.
    # A shell lets what it runs in the background ignore it, and with the tests all that they start.
    listen = (
        "import signal, time; signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT}); "
        "signal.signal(signal.SIGINT, signal.default_int_handler)"
    )
    program = (sys.executable, "-c", f"{listen}; print('up', flush=True); time.sleep(600)")
    executor = OnRay(1, BASE.train, tmp_path, program)
    executor.start("sleeper", tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "sleeper.txt").exists() or not (tmp_path / "sleeper.txt").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    began = time.monotonic()
    executor.stop()
    assert executor.ended() == []
    assert "KeyboardInterrupt" in (tmp_path / "sleeper.txt").read_text()
    assert time.monotonic() - began < 15  # it was interrupted, and not waited for


@pytest.mark.slow
def test_a_cell_that_asks_for_more_than_there_is(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no cell fits on the cluster: each asks for 64 processors"):
        OnRay(None, tiny_run.config(threads=64).train, tmp_path)
