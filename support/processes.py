"""Several processes of a test: forked from a server that has everything imported, with gloo between them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import sys
import tempfile
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from snnprune.training.distributed.group import of_torchrun, store

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerContext

PATIENCE = 480.0
"""Seconds after which processes that wait for each other are taken for stuck."""

PRELOADED = ["support.loops", "support.families", "snnprune.training.run"]


def alone(work: Callable[..., Any], *args: Any) -> int:
    """Call ``work(*args)`` in a process of its own, and return its exit code: -9 of one that was killed.

    It has everything imported, which spares the seconds that a program of its own begins with.
    """
    process = _forkserver().Process(target=_on_the_path, args=(sys.path, work, args))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode is not None, "it did not end"
    return process.exitcode


def _on_the_path(path: list[str], work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    sys.path[:] = path
    torch.set_num_threads(1)
    work(*args)


def _forkserver() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def together(count: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """Call ``work(*args)`` in ``count`` processes of one group, and return what each returned.

    Raises:
        AssertionError: one of them failed or did not end; what it said is in the message.
    """
    return apart(count, _in_a_group, work, args)


def apart(count: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """Do the same where ``work`` finds the others by itself: the environment is as torchrun makes it.

    A process that kills itself has returned nothing, None.
    """
    context = _forkserver()
    with tempfile.TemporaryDirectory() as folder:
        found_at = store()
        started = [
            context.Process(
                target=_member, args=(of_torchrun(n, count, found_at), folder, sys.path, work, args)
            )
            for n in range(count)
        ]
        for process in started:
            process.start()
        deadline = time.monotonic() + PATIENCE
        for process in started:
            process.join(max(0.0, deadline - time.monotonic()))
        stuck = [n for n, process in enumerate(started) if process.is_alive()]
        for process in started:
            process.kill()
            process.join()
        said = [file.read_text() for file in sorted(Path(folder).glob("*.txt"))]
        assert not stuck, f"processes {stuck} did not end; {said}"
        assert not said, "\n".join(said)
        answers = [Path(folder) / f"{n}.pickle" for n in range(count)]
        return [pickle.loads(file.read_bytes()) if file.exists() else None for file in answers]


def _member(
    place: dict[str, str], folder: str, path: list[str], work: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    number = place["RANK"]
    sys.path[:] = path
    os.environ.update(place)
    torch.set_num_threads(1)
    try:
        answer = work(*args)
        (Path(folder) / f"{number}.pickle").write_bytes(pickle.dumps(answer))
    except BaseException:
        (Path(folder) / f"{number}.txt").write_text(f"process {number}: {traceback.format_exc()}")
        raise


def _in_a_group(work: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    distributed.init_process_group("gloo", timeout=timedelta(seconds=PATIENCE))
    answer = work(*args)
    distributed.destroy_process_group()
    return answer


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])
