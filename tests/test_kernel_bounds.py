"""Kernels for the CPU stay within their arrays: compiled once more, with every index checked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOOP = """
import itertools, torch
from spikingjelly.activation_based import layer, neuron
from snnprune import accelerate
torch.manual_seed(0)
shapes = (3, 5), (1, 1), (2, 9000), (2, 3, 4, 4)
for steps, shape, held in itertools.product((1, 2, 5), shapes, (False, True)):
    network = torch.nn.Sequential(neuron.LIFNode(step_mode="m", v_threshold=0.4))
    if len(shape) == 4:
        network.append(layer.AvgPool2d(2, step_mode="m"))
    accelerate(network)
    for _ in range(2 if held else 1):  # the second call begins with potentials, an array of them
        x = torch.rand(steps, *shape, requires_grad=True)
        y = network(x)
        (y.sum() + network[0].v.sum()).backward()
        network[0].v.detach_()
print("checked")
"""


PLANS = """
from snnprune.engine.costs import Costs
from snnprune.engine.engine import WAYS, Engine
from snnprune.engine.plan import Layer
from support.random_plans import Drawn
for seed in range(40):
    for bits in (None, 8):
        drawn = Drawn(seed, bits)
        plan, frames = drawn.plan(), drawn.frames(18, 1)
        for way in WAYS:
            names = [node.name for node in plan.nodes if isinstance(node, Layer)]
            engine = Engine(plan, ways=dict.fromkeys(names, way), costs=Costs())
            engine(frames)
            engine.spikes(frames)
            for frame in frames[:, 0]:
                places = frame.reshape(-1).nonzero()[0]
                engine.step_events(places, frame.reshape(-1)[places])
print("checked")
"""


@pytest.mark.slow
@pytest.mark.parametrize("loop", [LOOP, PLANS], ids=["fused", "engine"])
def test_every_index_is_inside(loop: str, tmp_path: Path) -> None:
    given = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", loop], env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert done.stdout == "checked\n", done.stderr[-2000:]


BEYOND = """
import numpy as np
from snnprune.engine.compiling import kernel
from snnprune.engine.pointers import pointer

@kernel
def beyond(numbers):
    return pointer(numbers)[len(numbers)]

try:
    beyond(np.zeros(3))
except IndexError:
    print("refused")
"""


def test_the_engine_s_pointers_are_arrays_where_indices_are_checked(tmp_path: Path) -> None:
    given = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", BEYOND], env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert done.stdout == "refused\n", done.stderr[-2000:]
