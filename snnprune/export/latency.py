"""How long a network takes to answer: median and 99th percentile, at batch sizes 1 and 64.

`per_recording` puts several networks side by side.
"""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.export.subject import Subject

BATCHES = (1, 64)

ROUNDS = 100
"""Number of timed answers: the smallest number with a 99th percentile."""

SECONDS = 20.0
"""No answer is begun after this time: a large network would take minutes."""

WARM_UP = 2

TURNS = 15
"""Timed answers of each network, in turns with the others."""


def latency(subject: Subject) -> dict[str, Any]:
    """Time whole recordings, from the encoded frames to the scores.

    Returns:
        ``median_ms`` and ``p99_ms`` of a batch by batch size (the slowest of fewer than `ROUNDS` rounds
        counts as their 99th percentile), with the number of rounds, the threads and the device.
    """
    taken = {f"batch_{size}": _timed(subject, size) for size in BATCHES}
    return {**taken, "threads": torch.get_num_threads(), "device": subject.device.type}


def per_recording(sides: Mapping[str, Subject]) -> dict[str, float]:
    """Time one recording at a time in several networks, in turns and on one thread.

    Args:
        sides: networks with the same data.

    Returns:
        The median in milliseconds of each.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        encoded = {name: subject.example(1) for name, subject in sides.items()}
        taken: dict[str, list[float]] = {name: [] for name in sides}
        ends = time.perf_counter() + SECONDS
        for turn in range(WARM_UP + TURNS):
            if turn > WARM_UP and time.perf_counter() > ends:
                break
            for name, subject in sides.items():
                taken[name].append(seconds(subject, encoded[name]))
    finally:
        torch.set_num_threads(threads)
    return {name: round(1000 * statistics.median(times[WARM_UP:]), 4) for name, times in taken.items()}


def _timed(subject: Subject, size: int) -> dict[str, float | int]:
    test = subject.splits.test
    frames, _ = test.__getitems__([i % len(test) for i in range(size)])
    times: list[float] = []
    encoded = subject.encode(frames, 0)
    ends = time.perf_counter() + SECONDS
    while len(times) < ROUNDS + WARM_UP and (len(times) <= WARM_UP or time.perf_counter() < ends):
        times.append(seconds(subject, encoded))
    ranked = sorted(times[WARM_UP:])
    return {
        "median_ms": round(1000 * ranked[(len(ranked) - 1) // 2], 4),
        "p99_ms": round(1000 * ranked[math.ceil(0.99 * len(ranked)) - 1], 4),
        "rounds": len(ranked),
    }


@torch.inference_mode()
def seconds(subject: Subject, encoded: Tensor) -> float:
    """Return the seconds from a batch of encoded frames to its scores, including the work of a GPU."""
    _wait(encoded)
    began = time.perf_counter()
    subject.scores(encoded)
    _wait(encoded)
    return time.perf_counter() - began


def _wait(tensor: Tensor) -> None:
    """Wait until a GPU has finished, so that the clock includes its work."""
    if tensor.device.type == "cuda":
        torch.cuda.synchronize()
