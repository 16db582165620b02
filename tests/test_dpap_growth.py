"""DPAP with growth: what replaces what, with which survival, and that the target is reached all the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from snnprune.methods import DPAP, DPAPGrow
from snnprune.methods.dpap import SpineCriterion
from snnprune.pruning import Candidates, Clock, Pruner
from snnprune.pruning.lowest import Lowest
from support.networks import conv_snn

X = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))


class Told(SpineCriterion):
    """Scores the synapses of "0" as it is told."""

    def __init__(self, score: Tensor) -> None:
        super().__init__()
        self.score = score

    def plasticity(self, statistics: dict[str, Tensor], activity: Any, batches: int) -> None:
        statistics["sum"].copy_(self.score)


def grown(score: Tensor, **options: Any) -> tuple[Pruner, nn.Sequential, torch.optim.Optimizer]:
    """Return a pruner of 4 - 2 - 1 units, in whose first layer 0, 3 and 1, 3 are dead after an epoch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 1))
    method = DPAPGrow(None, criterion=Told(score), neurons=False, start=1, scale_to_epochs=False, **options)
    pruner = Pruner(model, X, method, epochs=10)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    epoch(pruner, model, optimizer)
    dead = torch.ones(2, 4, dtype=torch.bool)
    dead[:, 3] = False
    pruner.masks.keep_synapses(pruner.topology.projections["0"], dead)
    pruner.masks.refresh()
    return pruner, model, optimizer


def epoch(pruner: Pruner, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(X).square().sum().backward()
    optimizer.step()
    pruner.step(optimizer)
    pruner.end_epoch()


def test_the_dead_synapse_of_the_highest_score_replaces_the_living_one_of_the_lowest_survival() -> None:
    score = torch.tensor([[4.0, 3.0, 2.0, 5.0], [0.5, 1.0, 2.0, 3.0]])
    pruner, model, optimizer = grown(score, grow=1 / 6, eta=20.0)
    epoch(pruner, model, optimizer)  # the first decision: of six, 1 is replaced
    alive = pruner.masks.synapses["0"]
    assert alive.tolist() == [[True, True, True, True], [False, True, True, False]]
    assert model[0].weight[0, 3].item() == 0.0
    survival = pruner.method.rule.state["synapses/0"]["survival"]  # type: ignore[attr-defined]
    assert survival[0, 3].item() == 10.0
    state = optimizer.state[model[0].weight]
    assert not any(state[name][0, 3].item() for name in ("exp_avg", "exp_avg_sq"))
    epoch(pruner, model, optimizer)
    assert pruner.masks.synapses["0"].sum() == 6


def test_what_is_depressed_does_not_grow_and_nothing_dies_for_it() -> None:
    score = torch.tensor([[4.0, 3.0, 2.0, -5.0], [0.5, 1.0, 2.0, 0.0]])
    pruner, model, optimizer = grown(score, grow=0.5)
    before = pruner.masks.synapses["0"].clone()
    epoch(pruner, model, optimizer)
    assert torch.equal(pruner.masks.synapses["0"], before)


def test_growth_ends_before_the_run() -> None:
    score = torch.rand(2, 4, generator=torch.Generator().manual_seed(2)) + 0.1
    pruner, model, optimizer = grown(score, grow=0.5, last=0.5)
    changed = []
    while pruner.clock.epoch < 10:
        before = pruner.masks.synapses["0"].clone()
        epoch(pruner, model, optimizer)
        changed.append(bool((pruner.masks.synapses["0"] & ~before).any()))
    assert changed[0]
    assert not any(changed[5:])


def test_a_rule_prunes_as_many_more_as_others_replace() -> None:
    score, alive = torch.tensor([0.3, 0.1, 0.2, 0.4]), torch.ones(4, dtype=torch.bool)
    each = Candidates("synapses/fc", "synapse", "linear", score, alive, score, to_go=1, replaced=2)
    assert Lowest().decide(each, Clock(10)).tolist() == [False, False, False, True]


def train(method: Any, epochs: int = 8, **options: Any) -> Pruner:
    torch.manual_seed(0)
    model, shape = conv_snn(), (3, 6, 2, 12, 12)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Pruner(model, torch.ones(shape), method, epochs=epochs, **options) as pruner:
        for _ in range(epochs):
            for _ in range(3):
                optimizer.zero_grad()
                model(torch.poisson(2 * torch.ones(shape), generator)).mean(0).square().sum().backward()
                optimizer.step()
                pruner.step(optimizer)
                functional.reset_net(model)
            pruner.end_epoch()
    return pruner


@pytest.mark.parametrize("density", [None, 0.7])
def test_the_target_is_reached_with_growth(density: float | None) -> None:
    pruner = train(DPAPGrow(0.6, initial_density=density))
    assert pruner.rates().synapses == pytest.approx(0.6, abs=0.02)


def test_a_run_may_begin_sparse_where_single_synapses_are_pruned() -> None:
    torch.manual_seed(0)
    model = conv_snn()
    with Pruner(model, torch.ones(3, 6, 2, 12, 12), DPAPGrow(0.6, initial_density=0.5), epochs=4) as pruner:
        left = {name: count.left / count.dense for name, count in pruner.rates().layers.items()}
        linear = [p for p in pruner.topology.projections.values() if p.kind == "linear"]
        assert {p.output for p in linear} == {True, False}
        for p in pruner.topology.projections.values():
            sparse = p.kind == "linear" and not p.output
            assert left[p.name] == pytest.approx(0.5 if sparse else 1.0, abs=0.01)


def test_without_growth_it_is_dpap() -> None:
    scored = [train(kind(0.6, **options)).dense_masks() for kind, options in ((DPAP, {}), (DPAPGrow, NONE))]
    for kind in ("units", "synapses"):
        assert all(torch.equal(scored[0][kind][name], scored[1][kind][name]) for name in scored[0][kind])


NONE = {"grow": 1e-9}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"grow": 0.0}, "grow is a share"), ({"last": 1.1}, "last is a share"),
        ({"initial_density": 0.0}, "initial_density is a share"), ({"first_weight": "x"}, "starts at one of"),
    ],
)  # fmt: skip
def test_constants_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DPAPGrow(**wrong)
