"""Thresholds on weights, fixed, by spikes, or by firing: the arithmetic on paper."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import snnprune
from snnprune.methods import AdaptiveThreshold, SoftPruning, WeightThreshold
from snnprune.pruning import Pruner

WEIGHT = [[0.8, -0.1, 0.3], [0.05, 0.4, -0.2]]


def network() -> Any:
    """Two units that pass on what they get, 1 for each input of 1, and a readout."""
    net = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU(), nn.Linear(2, 2)).double()
    net[0].weight.data.copy_(torch.tensor(WEIGHT, dtype=torch.float64))
    return net


def shown(net: Any, x: Tensor, method: Any, epochs: int = 4, steps: int = 1) -> Pruner:
    """Show ``x`` once an epoch without learning anything; stop behind ``steps`` decisions."""
    pruner = Pruner(net, x, method, epochs=epochs)
    for _ in range(steps):
        net(x)
        pruner.step()
        pruner.end_epoch()
    return pruner


def test_what_is_below_a_share_of_the_largest_weight_is_removed_at_intervals() -> None:
    """0.25 of 0.8 is 0.2: 0.1 and 0.05 go, and 0.2 stays; nothing goes before, nor between two intervals."""
    x, net = torch.eye(3).double(), network()
    pruner = shown(net, x, WeightThreshold(threshold=0.25, start=1, every=2), epochs=8)
    assert pruner.rates().synapses == 0
    pruner.step()
    pruner.end_epoch()
    assert net[0].weight.tolist() == [[0.8, 0.0, 0.3], [0.0, 0.4, -0.2]]
    net[0].weight.data[0, 2] = 0.15
    pruner.step()
    pruner.end_epoch()
    assert net[0].weight[0, 2] == 0.15
    pruner.step()
    pruner.end_epoch()
    assert net[0].weight.tolist() == [[0.8, 0.0, 0.0], [0.0, 0.4, -0.2]]


def test_survivors_are_quantised_in_the_last_epoch_alone() -> None:
    """Two levels up to 0.8: 0.3 and 0.4 are nearest to 0.4, and 0.2 survives as the lowest; 0.1 is gone."""
    x, net = torch.eye(3).double(), network()
    pruner = shown(net, x, WeightThreshold(threshold=0.2, start=0, levels=2), epochs=2)
    assert net[0].weight.tolist() == [[0.8, 0.0, 0.3], [0.0, 0.4, -0.2]]
    net(x)
    pruner.step()
    assert net[0].weight.tolist() == [[0.8, 0.0, 0.4], [0.0, 0.4, -0.4]]


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_small_weights_of_a_neuron_that_fired_often_are_held_or_removed(mode: Any) -> None:
    """ReLU outputs of unit 0 over the rows of the unit matrix: 0.8 + 0 + 0.3 = 1.1; of unit 1: 0.45.

    With 1 spike as the limit unit 0 is due, unit 1 not. 0.25 of 0.8 is 0.2: of unit 0 the weight -0.1 goes,
    of unit 1 nothing does. The lowest living |w| is 0.05. After three epochs unit 1 has 1.35, and is due.
    """
    x, net = torch.eye(3).double(), network()
    pruner = shown(net, x, SoftPruning(threshold=0.25, spikes=1.0, mode=mode), epochs=9)
    low = -0.05 if mode == "soft" else 0.0
    assert net[0].weight.tolist() == [[0.8, low, 0.3], [0.05, 0.4, -0.2]]
    net[0].weight.data.add_(0.01 * (net[0].weight != 0))  # a step of learning
    net(x)
    pruner.step()
    assert net[0].weight[0].tolist() == pytest.approx([0.81, low, 0.31])
    pruner.end_epoch()
    assert net[0].weight[1].tolist() == pytest.approx([0.06, 0.41, -0.19])
    assert pruner.rates().weights_left == (10 if mode == "soft" else 9)
    for _ in range(2):
        net(x)
        pruner.step()
        pruner.end_epoch()
    expected = [0.05, 0.41, -0.05] if mode == "soft" else [0.0, 0.41, 0.0]
    assert net[0].weight[1].tolist() == pytest.approx(expected)


def test_a_threshold_follows_the_firing_of_its_neuron() -> None:
    """Unit 0 fires 1.1, unit 1 0.45; the mean is 0.775. With power 1 scores are |w| 0.775 / n.

    Unit 0: 0.564, 0.070, 0.211; unit 1: 0.086, 0.689, 0.344. By magnitude 0.05 would be the first to go.
    """
    x, net = torch.eye(3).double(), network()
    pruner = Pruner(net, x, AdaptiveThreshold(0.1, power=1.0), epochs=4)
    net(x)
    pruner.step()
    scores = pruner.importance()["synapses/0"]
    n = torch.tensor([[1.1], [0.45]], dtype=torch.float64) / 0.775
    assert torch.allclose(scores, torch.tensor(WEIGHT, dtype=torch.float64).abs() / n)
    assert scores.argmin() == 1
    flat = Pruner(network(), x, AdaptiveThreshold(0.1, power=0.0), epochs=4)
    flat.model(x)
    flat.step()
    assert flat.importance()["synapses/0"].argmin() == 3


@pytest.mark.parametrize(
    ("kind", "bad", "said"),
    [
        (WeightThreshold, {"threshold": 1.0}, "threshold is a share"),
        (WeightThreshold, {"levels": 0}, "levels are at least 1"),
        (SoftPruning, {"threshold": -0.1}, "threshold is a share"),
        (SoftPruning, {"mode": "none"}, "mode is one of"),
        (AdaptiveThreshold, {"power": -1.0}, "power is at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(kind: Any, bad: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        kind(**bad)


@pytest.mark.parametrize("method", ["weight-threshold", "soft-pruning", "adaptive-threshold"])
def test_they_prune_what_learns_without_gradients(method: str) -> None:
    from snnprune.config.schema import ModelConfig
    from snnprune.nn.models import build

    torch.manual_seed(0)
    net: Any = build(ModelConfig("wta-snn", hidden=8, membrane=3.0), (1, 1, 12), 3)
    options = {"spikes": 5, "mode": "hard"} if method == "soft-pruning" else {}
    x = (torch.rand(15, 6, 1, 1, 12) < 0.4).float()
    rule = net.rule()
    with snnprune.Pruner(net, x, method, epochs=6, **options) as pruner:
        for _ in range(6):
            with rule.watching() as seen:
                net(x)
            rule.step(seen, pruner.masks.alive(pruner.topology.projections["fc1"]))
            pruner.step()
            for module in net.modules():
                if hasattr(module, "reset"):
                    module.reset()
            pruner.end_epoch()
    assert 0 < pruner.rates().synapses < 1
