"""The share of the memory's bandwidth that a layer of fused LIF neurons reaches, forward and backward.

Whoever computes the layer must read the input and write the spikes, then read the gradient and the input (or
what was kept of it) and write the gradient: five passes over [T, N]. What a kernel moves beyond that counts
as lost. The bandwidth is that of a copy of the same tensor, in turns with the layer.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import torch
from contest import WARM_UP, wait

from snnprune.nn.fused import accelerate
from snnprune.nn.models.lif import lif

if TYPE_CHECKING:
    from collections.abc import Callable

PASSES = 5
SHAPE = (10, 50, 15, 34, 34)  # first layer of conv-snn on N-MNIST


def measure(rounds: int, device: str, *, quick: bool = False) -> dict[str, Any]:
    """Return bytes a second of the copy and of the layer, and the layer's share of the copy's."""
    shape = (2, 2, *SHAPE[2:]) if quick else SHAPE
    node = accelerate(lif()).to(device)
    x = torch.rand(shape, device=device, requires_grad=True)
    gradient, target = torch.rand(shape, device=device), torch.empty(shape, device=device)

    def layer() -> None:
        node.reset()
        node(x).backward(gradient)
        x.grad = None

    def copy() -> None:
        target.copy_(gradient)

    seconds: dict[Callable[[], None], list[float]] = {layer: [], copy: []}
    for number in range(rounds + WARM_UP):
        for run, times in seconds.items():
            wait(x)
            begun = time.perf_counter()
            run()
            wait(x)
            if number >= WARM_UP:
                times.append(time.perf_counter() - begun)
    size = x.numel() * x.element_size()
    reached = PASSES * size / statistics.median(seconds[layer])
    possible = 2 * size / statistics.median(seconds[copy])
    return {"shape": shape, "copy": possible, "layer": reached, "share": reached / possible}
