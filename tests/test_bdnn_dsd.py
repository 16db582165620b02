"""BDNN-dsd: bounds that grow, shrink and clip, on one weight."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.methods.bdnn_dsd import BDNNdsd
from snnprune.pruning import Pruner

X = torch.zeros(1, 1)


def follow(method: BDNNdsd, weights: list[float], first: float = 0.0) -> list[tuple[float, float]]:
    """Return the bound and the weight after each step, of one weight that descent puts at ``weights``."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False)).double()
    seen = []
    with torch.no_grad():
        model[0].weight.fill_(first)
        with Pruner(model, X.double(), method, epochs=1) as pruner:
            for weight in weights:
                model[0].weight.fill_(weight)
                pruner.step()
                seen.append((method.state["0"]["bound"].item(), model[0].weight.item()))
    return [(round(bound, 9), round(weight, 9)) for bound, weight in seen]


def test_a_bound_grows_after_steps_beyond_it_in_a_row() -> None:
    method = BDNNdsd(R_i=1.0, R_d=0.5, T_num=2)
    assert follow(method, [3.0, 3.0, 3.0, 3.0]) == [(1.0, 1.0), (1.5, 1.5), (1.5, 1.5), (2.0, 2.0)]


def test_a_bound_falls_after_steps_towards_zero_in_a_row_and_stays_at_zero() -> None:
    method = BDNNdsd(R_i=0.5, R_d=0.5, T_num=2)
    steps = follow(method, [0.4, 0.3, 0.2, 0.2, 0.2], first=0.45)
    assert steps == [(0.5, 0.4), (0.0, 0.0), (0.0, 0.0), (0.5, 0.2), (0.5, 0.2)]


@pytest.mark.parametrize(("consecutive", "bounds"), [(True, [1.0, 1.0, 1.0]), (False, [1.0, 1.0, 1.5])])
def test_only_steps_in_a_row_count_unless_asked_otherwise(consecutive: bool, bounds: list[float]) -> None:
    method = BDNNdsd(R_i=1.0, R_d=0.5, T_num=2, consecutive=consecutive)
    assert [bound for bound, _ in follow(method, [2.0, 1.0, 2.0])] == bounds


def test_initial_weights_are_clipped_by_the_first_step_only() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    nn.init.constant_(model[0].weight, 2.0)
    with Pruner(model, X, "bdnn-dsd", epochs=1) as pruner:
        assert model[0].weight.item() == 2.0
        pruner.step()
        assert model[0].weight.item() == pytest.approx(0.45)
        assert pruner.rates().synapses == 0.0


def test_weights_of_all_layers_have_bounds_and_biases_have_none() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid(), nn.Linear(2, 1))
    nn.init.constant_(model[0].bias, 9.0)
    with Pruner(model, torch.zeros(1, 3), "bdnn-dsd", epochs=1, R_i=0.01) as pruner:
        pruner.step()
    assert max(model[i].weight.abs().max() for i in (0, 2)) <= 0.01
    assert model[0].bias.tolist() == [9.0, 9.0]


def test_bounds_follow_a_cut() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    method = BDNNdsd()
    with Pruner(model, torch.zeros(1, 2), method, epochs=2) as pruner:
        method.state["0"]["bound"].copy_(torch.arange(6.0).view(3, 2))
        pruner.masks.keep_units(pruner.topology.populations["0"], torch.tensor([True, False, True]))
        pruner.masks.refresh()
        pruner.compact()
        assert method.state["0"]["bound"].tolist() == [[0.0, 1.0], [4.0, 5.0]]
        assert method.state["2"]["plus"].shape == (1, 2)
        pruner.step()


@pytest.mark.parametrize("options", [{"R_i": -1.0}, {"T_num": 0}])
def test_options_that_cannot_work(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"from 0|at least 1"):
        snnprune.Pruner(nn.Sequential(nn.Linear(1, 1)), X, "bdnn-dsd", epochs=1, **options)
