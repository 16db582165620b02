"""Several processes of a test: forked from a server that has everything imported, with gloo between them."""

from __future__ import annotations

import multiprocessing
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

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 240.0
"""Seconds after which processes that wait for each other are taken for stuck."""

PRELOADED = ["torch", "lightning", "spikingjelly.activation_based", "loops", "families", "snnprune.pruning"]


def together(count: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """Call ``work(*args)`` in ``count`` processes of one group, and return what each returned.

    Raises:
        AssertionError: one of them failed or did not end; what it said is in the message.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        started = [
            context.Process(target=_member, args=(f"{n} {count} {port}", folder, sys.path, work, args))
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
        return [pickle.loads((Path(folder) / f"{n}.pickle").read_bytes()) for n in range(count)]


def _member(
    place: str, folder: str, path: list[str], work: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    number, count, port = map(int, place.split())
    sys.path[:] = path
    torch.set_num_threads(1)
    try:
        distributed.init_process_group(
            "gloo",
            init_method=f"tcp://127.0.0.1:{port}",
            rank=number,
            world_size=count,
            timeout=timedelta(seconds=PATIENCE),
        )
        answer = work(*args)
        distributed.destroy_process_group()
        (Path(folder) / f"{number}.pickle").write_bytes(pickle.dumps(answer))
    except BaseException:
        (Path(folder) / f"{number}.txt").write_text(f"process {number}: {traceback.format_exc()}")
        raise


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])
