"""The costs of this machine: measured once, in about a second, and kept in the user's cache folder.

A file that is damaged, from another machine, of other versions or of other code is measured anew.
One that cannot be written is measured anew by the next process.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import platform
import time
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numba
import numpy as np

from snnprune.common import atomic, document
from snnprune.common.errors import UserError
from snnprune.common.version import __version__
from snnprune.data.folders import cache_folder
from snnprune.engine import machine
from snnprune.engine.costs import Costs
from snnprune.engine.lanes import LANES
from snnprune.engine.plan import INPUT, Convolution, Layer, Linear, Plan, Source
from snnprune.engine.program import compose

UNITS = 256
"""Inputs and units of the layers that are measured."""

REPEATS = 30
"""The fastest of so many runs counts: other processes only slow them down."""


def costs_of_this_machine(dtype: np.dtype[Any]) -> Costs:
    """Return the costs of floats of a kind, from the file if it is of this machine."""
    return _kept(str(np.dtype(dtype)))


@functools.cache
def _kept(dtype: str) -> Costs:
    versions = f"snnprune {__version__} {_kernels()} numba {numba.__version__}"
    key = " ".join((_processor(), versions, dtype))
    try:
        path = cache_folder(None) / "engine-costs.json"
    except UserError:
        return measured(np.dtype(dtype))
    known = _read(path)
    costs = _valid(known.get(key))
    if costs is None:
        costs = measured(np.dtype(dtype))
        with suppress(UserError, OSError):
            atomic.write_text(path, json.dumps(known | {key: asdict(costs)}, indent=1))
    return costs


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = document.parse_json(path.read_bytes()[: 2**20].decode())
        if isinstance(found, dict):
            return found
    return {}


def _valid(found: Any) -> Costs | None:
    names = [field.name for field in fields(Costs)]
    if not isinstance(found, dict) or sorted(found) != sorted(names):
        return None
    if not all(isinstance(n, float) and math.isfinite(n) and n > 0 for n in found.values()):
        return None
    return Costs(**found)


def _kernels() -> str:
    """Return a digest of the engine's code: what it costs changes with it, between releases, too."""
    found = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measured(dtype: np.dtype[Any]) -> Costs:
    """Measure the costs of floats of a kind."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(UNITS, UNITS)).astype(dtype)
    few = np.where(rng.random(weights.shape) < 0.1, weights, 0).astype(dtype)
    events = UNITS // 4
    at = tuple(np.sort(rng.permutation(UNITS)[:events]))
    linear = Linear(name="one", sources=(Source(INPUT),), shape=(UNITS, 1, 1), weights=weights)
    thin = Linear(name="one", sources=(Source(INPUT),), shape=(UNITS, 1, 1), weights=few)
    pixel = (UNITS, UNITS, 1, 1)
    scattered = Convolution(
        name="one", sources=(Source(INPUT),), shape=(UNITS, 1, 1), weights=few.reshape(pixel)
    )
    reached, alive = np.count_nonzero(few[:, at]), np.count_nonzero(few)
    steps = 2 * LANES
    row = _nanoseconds(linear, "rows", at, steps) / (steps * events)
    synapse = _nanoseconds(scattered, "synapses", at, steps) / (steps * reached)
    shared = _nanoseconds(thin, "synapses", tuple(range(UNITS)), steps) / alive
    multiply = _nanoseconds(linear, "product", at, steps) / (steps * UNITS * UNITS / LANES)
    vector = row / (UNITS / LANES)
    return Costs(event=8 * vector, vector=vector, synapse=synapse, shared=shared, multiply=multiply)


def _nanoseconds(layer: Layer, way: str, at: tuple[int, ...], steps: int) -> float:
    """Return what the synapses of a layer take for events ``at`` in each of some steps."""
    program = compose(Plan((UNITS, 1, 1), (layer,), 0, layer.weights.dtype), {layer.name: way})
    x, e, b, n = program.arrays()
    source = program.source[0]
    for step in range(steps):
        for i, place in enumerate(at):
            e[source["to_addresses"] + step * source["size"] + i] = place
            x[source["to_values"] + step * source["size"] + i] = 1
        begin = source["to_starts"] + step * source["to_starts_step"]
        e[begin : begin + 5] = (1, 0, 0, 1, len(at))
    table = program.table
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter_ns()
        machine.run(table, steps, program.numbers, program.whole, x, e, b, n)
        taken.append(time.perf_counter_ns() - begun)
    return float(min(taken[1:]))
