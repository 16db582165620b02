"""Recurrent layers leave and come back: as a step with states, as edges of NIR, as connections, on a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import snnprune
from snnprune.export import nir_file
from snnprune.export.comparison import compare, spiking_run
from snnprune.network.synops import SpikeCounter
from snnprune.nn.models.integrator import LeakyIntegrator
from snnprune.nn.recurrent import Recurrent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FRAMES = torch.poisson(
    torch.full((8, 4, 1, 2, 6), 0.8, dtype=torch.float64), torch.Generator().manual_seed(0)
)


def lif() -> neuron.LIFNode:
    return neuron.LIFNode(2.0, False, v_threshold=0.6)


KINDS: dict[str, Callable[[int], nn.Module]] = {
    "Recurrent": lambda size: Recurrent(lif(), size),
    "Recurrent of PLIF": lambda size: Recurrent(neuron.ParametricLIFNode(2.0, v_threshold=0.3), size),
    "linear container": lambda size: layer.LinearRecurrentContainer(lif(), size, size, step_mode="m"),
    "elementwise container": lambda size: layer.ElementWiseRecurrentContainer(
        lif(), lambda y, x: x + y, step_mode="m"
    ),
}


def network(kind: str = "Recurrent", *, leaky: bool = False) -> nn.Sequential:
    """Two recurrent layers and a readout, all of which fire."""
    torch.manual_seed(1)
    readout = LeakyIntegrator(0.6) if leaky else neuron.IFNode(v_threshold=0.5, step_mode="m")
    model = nn.Sequential(
        layer.Flatten(step_mode="m"), layer.Linear(12, 8, step_mode="m"), KINDS[kind](8),
        layer.Linear(8, 6, step_mode="m"), KINDS[kind](6), layer.Linear(6, 3, step_mode="m"), readout,
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.data *= 2.0 if parameter.ndim == 2 else 1.0
    return model.double().eval()


def operations(model: nn.Module, imported: nn.Module | None = None) -> Any:
    """Return the operations of a network, or of what was made of it."""
    ran = model if imported is None else imported
    wrappers = [] if imported is None else nir_file.wrappers(imported)
    with SpikeCounter(ran, snnprune.discover(ran, FRAMES), wrappers) as counter:
        functional.reset_net(ran)
        ran(FRAMES)
    functional.reset_net(ran)
    return counter.operations(FRAMES.shape[1])


def numbers(counted: Any) -> dict[str, float]:
    return {name: getattr(counted, name) for name in ("synops", "synops_by_events", "macs")}


# --- NIR


@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_spike_comes_back_from_nir(kind: str, leaky: bool, tmp_path: Path) -> None:
    model = network(kind, leaky=leaky)
    nir_file.write(model, FRAMES, tmp_path / "net.nir", "a note")
    again, about = nir_file.read(tmp_path / "net.nir", torch.float64)
    assert about == "a note"
    found = compare(spiking_run(model), nir_file.spiking_run(again, model), [FRAMES, FRAMES[:, :1]])
    assert found.flipped == found.answers == 0
    assert found.difference < 1e-9
    assert len(found.layers) == 2 + (not leaky)
    assert all(flips.spikes > 0 for flips in found.layers.values())
