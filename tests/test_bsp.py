"""BSP: who is a candidate, who dies, and the schedules."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from snnprune.common.errors import UserError
from snnprune.methods.bsp import BSP, Progress, Reconstruction
from snnprune.pruning import Pruner
from support.networks import conv_snn

HALF = Progress(neurons=100, samples=1200, pruned=5000, left=5000)


def changed(**values: int) -> Progress:
    return Progress(**{**vars(HALF), **values})


def counts(pruner: Pruner) -> list[list[int]]:
    assert isinstance(pruner.method, BSP)
    counted: list[list[int]] = pruner.method.state["0"]["count"].tolist()
    return counted


def network(first: list[list[float]], second: list[list[float]]) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(first))
        model[2].weight.copy_(torch.tensor(second))
    return model


def test_two_epochs_on_paper() -> None:
    # Six weights, a third of them candidates: 0.1 and -0.2, whichever layer they are in.
    model = network([[0.1, 1.0], [2.0, 3.0]], [[4.0, -0.2]])
    bias = model[0].bias.clone()
    with Pruner(model, torch.zeros(1, 2), "bsp", epochs=9, p_r=0.34, p_c=1) as pruner:
        pruner.end_epoch()
        assert pruner.masks.rates().weights_left == 6
        pruner.end_epoch()  # named a second time, which exceeds 1
        assert model[0].weight.tolist() == [[0.0, 1.0], [2.0, 3.0]]
        assert model[2].weight.tolist() == [[4.0, 0.0]]
        assert torch.equal(model[0].bias, bias)
        pruner.end_epoch()  # a third of four, rounded down, is the weight of 1
        assert counts(pruner) == [[0, 1], [0, 0]]


def test_a_synapse_that_recovers_starts_from_zero() -> None:
    model = network([[0.1, 1.0], [2.0, 3.0]], [[4.0, 5.0]])
    with Pruner(model, torch.zeros(1, 2), "bsp", epochs=9, p_r=0.17, p_c=1) as pruner:
        pruner.end_epoch()
        with torch.no_grad():
            model[0].weight[0, 0] = 9.0
        pruner.end_epoch()
        with torch.no_grad():
            model[0].weight[0, 0] = 0.1
        pruner.end_epoch()
        assert pruner.masks.rates().weights_left == 6
        assert counts(pruner) == [[1, 0], [0, 0]]


def test_no_layer_loses_its_last_synapse() -> None:
    model = network([[5.0, 6.0], [7.0, 8.0]], [[0.1, -0.2]])
    with Pruner(model, torch.zeros(1, 2), "bsp", epochs=9, p_r=0.5, p_c=0) as pruner:
        pruner.end_epoch()
        assert model[2].weight.tolist() == [[0.0, pytest.approx(-0.2)]]
        assert pruner.masks.rates().weights_left == 4


def test_the_schedules_on_paper() -> None:
    ours = Reconstruction()
    at = Progress(neurons=10, samples=1200, pruned=0, left=7940)
    assert ours.rate(at) == pytest.approx(0.048 * (1 + math.log(10)) * (1 + 1244 / 1200))
    assert ours.patience(at) == pytest.approx(50 * math.sqrt(0.02) / (1 + 10 / 146))
    assert ours.patience(Progress(10, 1200, 100, 100)) == pytest.approx(ours.patience(at) * math.exp(0.8))
    assert ours.rate(Progress(5000, 10, 0, 1)) == 0.9
    assert math.isfinite(ours.patience(Progress(10, 1200, 10**9, 1)))


@pytest.mark.parametrize(
    ("schedule", "change", "rises"),
    [
        ("rate", {"neurons": 500}, True),
        ("rate", {"samples": 60000}, False),
        ("patience", {"neurons": 500}, False),
        ("patience", {"samples": 60000}, True),
        ("patience", {"pruned": 8000, "left": 2000}, True),
    ],
)
def test_what_the_paper_says_of_the_schedules(schedule: str, change: dict[str, int], rises: bool) -> None:
    function = getattr(Reconstruction(), schedule)
    assert (function(changed(**change)) > function(HALF)) is rises


def test_the_schedules_are_given_the_network_and_the_samples() -> None:
    seen = []
    method = BSP(p_r=lambda at: seen.append(at) or 0.5, p_c=0)  # type: ignore[func-returns-value]
    model = network([[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]])
    with Pruner(model, torch.zeros(1, 2), method, epochs=3, samples=1200) as pruner:
        pruner.end_epoch()
        pruner.end_epoch()
    assert seen == [Progress(2, 1200, 0, 6), Progress(2, 1200, 3, 3)]


def test_on_a_spiking_network_all_its_layers_are_ranked_together() -> None:
    model, x = conv_snn(), torch.rand(3, 2, 2, 12, 12)
    before = torch.cat([m.weight.abs().flatten() for m in model if hasattr(m, "weight")]).median()
    with Pruner(model, x, "bsp", epochs=4, schedule="constant", p_r=0.5, p_c=0) as pruner:
        pruner.end_epoch()
        projections = list(pruner.topology.projections.values())
        kept = [model.get_parameter(p.weight).abs()[pruner.masks.alive(p)] for p in projections]
        rates = pruner.rates()
    assert rates.synapses == pytest.approx(0.5, abs=0.001)
    assert len(kept) == 4
    assert all(bool((weight >= before).all()) for weight in kept)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schedule": "linear"}, "must be one of reconstruction, constant, and is 'linear'"),
        ({"p_r": 1.5}, r"p_r is a share in \[0, 1\), came 1.5"),
        ({"p_c": -1}, "p_c is a number of epochs from 0, came -1"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Pruner(network([[1.0] * 2] * 2, [[1.0] * 2]), torch.zeros(1, 2), "bsp", epochs=3, **options)
