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


@pytest.mark.slow
def test_every_index_is_inside(tmp_path: Path) -> None:
    given = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LOOP], env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert done.stdout == "checked\n", done.stderr[-2000:]
