"""What is measured of a trained network: operations before and after a cut, answers, memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from snnprune.export.measure import undone
from snnprune.network import discover
from snnprune.network.synops import SpikeCounter
from snnprune.pruning import Masks, compact
from snnprune.runs.predictions import Predictions
from snnprune.training.memory import PeakMemory
from support.networks import conv_ann, conv_snn

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.network.synops import Operations
    from snnprune.network.topology import Topology


def operations(model: nn.Module, topology: Topology, x: Tensor) -> Operations:
    with torch.no_grad(), SpikeCounter(model.eval(), topology) as counter:
        model(x)
    functional.reset_net(model)
    return counter.operations(3)


@pytest.mark.parametrize("spiking", [True, False])
def test_a_cut_network_says_what_its_spikes_would_do_in_the_whole_one(spiking: bool) -> None:
    x = torch.poisson(torch.ones(4, 3, 2, 12, 12)) if spiking else torch.rand(3, 2, 12, 12)
    model = conv_snn() if spiking else conv_ann()
    topology = discover(model, x)
    masks = Masks(model, topology)
    for population, dead in zip(topology.free(), (2, 1, 5), strict=False):
        masks.keep_units(population, torch.arange(population.size) >= dead)
    masks.refresh()
    masks.apply()
    whole = operations(model, topology, x)
    small = compact(model, masks)
    now = discover(small, x)
    assert [p.shape for p in now.projections.values()] != [p.shape for p in topology.projections.values()]
    left = operations(small, now, x)
    assert (left.synops + left.macs) < 0.9 * (whole.synops + whole.macs)
    again = undone(left, now, topology)
    for name, layer in whole.layers.items():
        assert again.layers[name].synops == pytest.approx(layer.synops)
        assert again.layers[name].synops_by_events == pytest.approx(layer.synops_by_events)
        assert again.layers[name].macs == pytest.approx(layer.macs)
    assert (whole.synops_by_events > whole.synops) == spiking
    assert (whole.synops > 0) == spiking
    assert (whole.macs > 0) != spiking


def test_answers_are_a_table() -> None:
    assert Predictions(np.array([2, 0]), np.array([2, 1])).csv() == "label,answer\n2,2\n0,1\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the count cannot be started anew")
def test_peak_memory_is_of_the_most_at_once() -> None:
    before = PeakMemory("cpu").megabytes()
    memory = PeakMemory("cpu")
    held = torch.ones(50_000_000)  # 200 MB
    del held
    assert memory.megabytes() - before > 150
