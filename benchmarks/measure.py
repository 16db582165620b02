"""Measure one thing in this process, and print it as JSON; `speed.py` starts it with malloc set as it wants.

python benchmarks/measure.py turns mnist
python benchmarks/measure.py limit mnist
python benchmarks/measure.py peak mnist "fused, DPAP"
python benchmarks/measure.py growth steps
python benchmarks/measure.py bandwidth
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import bandwidth
import contest
import growth
import limit
import memory
import torch
from workloads import BARE, DPAP, FUSED_SURROGATES, PLAIN, REMOVED, WORKLOADS, Workload

COMPETING = (PLAIN, BARE, DPAP, REMOVED)


def _workload(given: argparse.Namespace) -> Workload:
    return WORKLOADS[given.of[0]].tiny() if given.quick else WORKLOADS[given.of[0]]


def turns(given: argparse.Namespace) -> dict[str, Any]:
    """Let all contenders of a workload take turns, and return their seconds."""
    workload = _workload(given)
    x, y = workload.inputs(given.device)
    names = (*COMPETING, *(FUSED_SURROGATES if given.device == "cuda" else ()))
    contenders = [workload.contender(name, x, y) for name in names]
    contest.compete(contenders, given.rounds * workload.rounds)
    return {"seconds": {c.name: c.seconds for c in contenders}, "machine": contest.machine(given.device)}


def floor(given: argparse.Namespace) -> dict[str, Any]:
    """Let SpikingJelly's network and its bare layers take turns, and return their seconds."""
    workload = _workload(given)
    x, y = workload.inputs(given.device)
    contenders = [workload.contender(PLAIN, x, y), limit.Limit(workload.network().to(given.device), x, y)]
    contest.compete(contenders, given.rounds * workload.rounds, (contest.TRAIN,))
    return {c.name: c.seconds[contest.TRAIN] for c in contenders}


def peak(given: argparse.Namespace) -> int | None:
    """Return the peak memory of one contender's training step above its model, in bytes."""
    workload = _workload(given)
    return memory.peak(workload.contender(given.of[1], *workload.inputs(given.device)))


MEASUREMENTS = {
    "turns": turns,
    "limit": floor,
    "peak": peak,
    "growth": lambda given: growth.sweep(given.of[0], given.rounds, given.device, quick=given.quick),
    "bandwidth": lambda given: bandwidth.measure(given.rounds, given.device, quick=given.quick),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("of", nargs="*", help="a workload, a contender of it, or an axis to grow along")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    print(json.dumps(MEASUREMENTS[given.what](given)))


if __name__ == "__main__":
    main()
