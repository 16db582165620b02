"""Targets that are met locally or globally, and the rule that takes the least important."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional
from torch import nn

from snnprune.methods import Magnitude
from snnprune.network import discover
from snnprune.pruning import Candidates, Clock, Pruner, Target
from snnprune.pruning.lowest import Lowest
from snnprune.pruning.masks import Masks
from support.networks import conv_ann, conv_snn

if TYPE_CHECKING:
    from snnprune.pruning.rule import UnitKind


def candidates(unit: UnitKind, name: str, score: torch.Tensor) -> Candidates:
    kind = "neurons" if unit == "neuron" else "synapses"
    alive = torch.ones_like(score, dtype=torch.bool)
    return Candidates(f"{kind}/{name}", unit, "linear", score, alive, score.abs())


def three_layers(*sizes: int) -> tuple[nn.Sequential, Masks]:
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(sizes):
        layers += [nn.Linear(i, o), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    return model, Masks(model, discover(model, torch.zeros(2, sizes[0])))


def test_a_global_target_cuts_synapses_by_one_threshold() -> None:
    # 4 x 10 and 10 x 10 weights may go, 10 x 2 stay: of 160, half are 80.
    _, masks = three_layers(4, 10, 10, 2)
    low, high = torch.arange(40.0).view(10, 4), 100 + torch.arange(100.0).view(10, 10)
    found = [candidates("synapse", "0", low), candidates("synapse", "2", high)]
    plan = Target(0.5, structured=0.0, scope="global").plan(masks.topology, neurons=False)
    as_they_are = plan.assign(found, masks, 1.0, {"synapse"})
    # The lower layer goes first, but for the 2 % that always stay; the rest comes from the other layer.
    assert [c.to_go for c in as_they_are] == [39, 41]
    local = Target(0.5, structured=0.0).plan(masks.topology, neurons=False).assign(found, masks, 1.0)
    assert [c.to_go for c in local] == [23, 57]  # 80 of 140, in proportion


def test_scores_on_different_scales_are_normalised_by_layer() -> None:
    # Over their Euclidean norms: 3, 4 are 0.6, 0.8, and 30, 50 are 0.51, 0.86. One unit of the second layer
    # costs 3 of 10 weights.
    _, masks = three_layers(2, 2, 2, 1)
    found = [
        candidates("neuron", "0", torch.tensor([3.0, 4.0])),
        candidates("neuron", "2", torch.tensor([50.0, 30.0])),
    ]
    plan = Target(0.3, structured=1.0, scope="global").plan(masks.topology, synapses=False)
    assert [c.to_go for c in plan.assign(found, masks, 1.0)] == [0, 1]
    assert [c.to_go for c in plan.assign(found, masks, 1.0, {"neuron"})] == [1, 0]


def test_what_is_due_is_a_part_of_what_is_to_go() -> None:
    _, masks = three_layers(4, 10, 10, 2)
    generator = torch.Generator().manual_seed(0)
    found = [
        candidates("synapse", name, torch.rand(shape, generator=generator))
        for name, shape in (("0", (10, 4)), ("2", (10, 10)))
    ]
    for scope in ("local", "global"):
        plan = Target(0.5, structured=0.0, scope=scope).plan(masks.topology, neurons=False)
        for due in (0.0, 0.25, 1.0):
            going = sum(c.to_go or 0 for c in plan.assign(found, masks, due, {"synapse"}))
            assert going == pytest.approx(80 * due, abs=1)


def test_layers_with_shares_of_their_own_keep_them_under_a_global_target() -> None:
    _, masks = three_layers(4, 10, 10, 2)
    found = [
        candidates("synapse", "0", torch.arange(40.0).view(10, 4)),
        candidates("synapse", "2", torch.arange(100.0).view(10, 10)),
    ]
    target = Target(0.5, structured=0.0, scope="global", layers={"0": 0.25})
    plan = target.plan(masks.topology, neurons=False)
    assert [c.to_go for c in plan.assign(found, masks, 1.0, {"synapse"})] == [10, 70]


@pytest.mark.parametrize("structured", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("method", ["dpap", "stdp", "magnitude", "random"])
def test_a_global_target_is_reached(method: str, structured: float) -> None:
    pruner = trained(conv_snn(), (3, 6, 2, 12, 12), method, target=0.5, structured=structured, scope="global")
    assert pruner.rates().synapses == pytest.approx(0.5, abs=0.04)  # a channel is up to 4 % of the network


@pytest.mark.parametrize("structured", [0.5, 1.0])
@pytest.mark.parametrize("method", ["dpap", "magnitude"])
def test_a_global_target_of_operations_is_reached(method: str, structured: float) -> None:
    pruner = trained(
        conv_ann(), (6, 2, 12, 12), method, target_macs=0.5, structured=structured, scope="global"
    )
    rates = pruner.rates()
    assert rates.macs_left / rates.macs_dense == pytest.approx(
        0.5, abs=0.1
    )  # a channel of five is up to 20 %


def trained(model: nn.Module, shape: tuple[int, ...], method: str, **options: Any) -> Pruner:
    """Return the pruner after 8 epochs of a step each, in which no layer was emptied."""
    epochs = 8
    x = torch.poisson(torch.ones(shape))
    if method in {"magnitude", "random"} and options["structured"] > 0:
        options["unit"] = "both"
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with Pruner(model, x, method, epochs=epochs, **options) as pruner:
        for _ in range(epochs):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            pruner.step(optimizer)
            functional.reset_net(model)
            pruner.end_epoch()
    rates = pruner.rates()
    assert all(alive >= 1 for alive, _ in rates.neurons_left.values())
    assert all(layer.left for layer in rates.layers.values())
    return pruner


def test_a_gradual_schedule_on_paper() -> None:
    # Decisions after epochs 1 to 4 of 8: s_t / s_f = 1 - (1 - t / 4)^3 = 37/64, 56/64, 63/64, 1.
    rule, pruned = Lowest(start=1), 0.0
    reached = []
    for epoch in range(8):
        pruned += (1 - pruned) * rule.due(Clock(8, epoch))
        reached.append(pruned)
    assert reached == pytest.approx([0, 37 / 64, 56 / 64, 63 / 64, 1, 1, 1, 1])


def test_one_shot_is_one_shot_at_its_epoch() -> None:
    assert [Lowest("one-shot").due(Clock(8, e)) for e in range(8)] == [0, 0, 0, 0, 1, 1, 1, 0]
    assert [Lowest("one-shot", finish=2).due(Clock(5, e)) for e in range(5)] == [0, 0, 1, 1, 0]
    # Never after the last epoch, where nothing is trained any more.
    assert [Lowest("one-shot", finish=9).due(Clock(4, e)) for e in range(4)] == [0, 0, 1, 0]
    assert Lowest().due(Clock(1, 0)) == 0


def test_the_lowest_die_ties_by_weight_then_in_order() -> None:
    score, weight = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 1.0, 1.0])
    found = Candidates("neurons/x", "neuron", "linear", score, torch.ones(4, dtype=torch.bool), weight, 1)
    assert Lowest().decide(found, Clock(4, 2)).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": "now"},
        {"start": -1},
        {"finish": -1},
        {"unit": "layers"},
        {"target": None},
        {"scope": "here"},
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"one of|from 0|needs a target"):
        Magnitude(**wrong)
