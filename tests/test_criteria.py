"""Criteria that join activity, gradients and weights: their scores on paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from snnprune.config.names import METHODS
from snnprune.methods.by_score import ByScore
from snnprune.methods.second_order import SecondOrderCriterion, block_costs, change
from snnprune.methods.sf_imp import SpikeFlipCriterion, density
from snnprune.methods.taylor import TaylorCriterion
from snnprune.methods.twins import costs, distances
from snnprune.methods.variance import VarianceCriterion
from snnprune.methods.weight_trace import WeightTraceCriterion
from snnprune.pruning import Criterion, CriterionMethod, Decision, Pruner, Target
from snnprune.pruning.lowest import Lowest
from support.families import FAMILIES
from support.loops import Loop, difference, equal

FIRST = torch.tensor([[1.0, 2.0], [-3.0, 0.0]], dtype=torch.float64)
LAST = torch.tensor([[4.0, -1.0]], dtype=torch.float64)
X = torch.tensor([[1.0, 0.5], [2.0, 0.0]], dtype=torch.float64)
"""Two samples; of the hidden units the second is silent. Outputs are 8 and 8."""


class Paper:
    """Two inputs, two hidden units (ReLU) and one output; SGD with a rate of 0, so that weights stay."""

    def __init__(self, criterion: Criterion) -> None:
        first, last = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)
        self.model = nn.Sequential(first, nn.ReLU(), last).double()
        with torch.no_grad():
            first.weight.copy_(FIRST)
            last.weight.copy_(LAST)
        method = CriterionMethod(criterion, Lowest(), target=Target(0.2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.0)
        self.pruner = Pruner(self.model, X, method, epochs=4)

    def step(self, factor: float = 1.0) -> None:
        self.optimizer.zero_grad()
        (factor * self.model(X).sum()).backward()
        self.optimizer.step()
        self.pruner.step(self.optimizer)

    def scores(self) -> tuple[Tensor, Tensor]:
        found = self.pruner.importance()
        return found["synapses/0"], found["neurons/0"]


def test_weight_times_trace() -> None:
    paper = Paper(WeightTraceCriterion())
    paper.step()
    paper.step()
    # Inputs sum to 3 and 0.5 in a batch; there are two.
    synapses, neurons = paper.scores()
    assert synapses.tolist() == [[6.0, 2.0], [18.0, 0.0]]
    assert neurons.tolist() == [8.0, 18.0]
    paper.pruner.end_epoch()
    assert not paper.pruner.method.criterion.state["0"]["pre"].any()


def test_weight_times_both_traces() -> None:
    paper = Paper(WeightTraceCriterion(post=True))
    paper.step()
    # Hidden: 2 and 0 (of -3); 2 and 0 (of -6). They sum to 4 and 0.
    synapses, neurons = paper.scores()
    assert synapses.tolist() == [[12.0, 4.0], [0.0, 0.0]]
    assert neurons.tolist() == [16.0, 0.0]


def test_taylor() -> None:
    paper = Paper(TaylorCriterion())
    paper.step()
    paper.step(-0.5)
    # dL/dw of the first unit: 4 times the inputs' sums, 12 and 2; w dL/dw is 12 and 4. The second is silent.
    # The unit sends 4 (2 + 2) = 16, with a gradient of 1. The second batch adds half of the absolute value.
    synapses, neurons = paper.scores()
    assert synapses.tolist() == [[18.0, 6.0], [0.0, 0.0]]
    assert neurons.tolist() == [24.0, 0.0]


def test_taylor_of_a_unit_behind_a_norm_is_more_than_rounding() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).double()
    pruner = Pruner(model, torch.rand(8, 4).double(), "taylor", epochs=4, unit="neurons", target=0.2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(torch.rand(8, 4).double()).square().sum().backward()
    optimizer.step()
    pruner.step(optimizer)
    assert pruner.importance()["neurons/0"].max() > 1e-3


def test_twins_merge_in_turn() -> None:
    # s_01 = 1 x 1 is the least: 0 into 1, which is read by 3 then. 2 into 1: 0.25 x 16;
    # 1 into 2 would cost 9 x 16.
    made = torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64)
    read = torch.tensor([[1.0], [2.0], [0.5]], dtype=torch.float64)
    assert costs(distances(made), read).tolist() == [1.0, 5.0, 5.0]


def test_equal_units_are_equal_in_spite_of_rounding() -> None:
    row = torch.rand(1, 50, dtype=torch.float64)
    assert distances(row.repeat(3, 1), row).tolist() == [[0.0]] * 3


def test_merged_twins_leave_the_outputs_as_they_are() -> None:
    torch.manual_seed(0)
    model = (
        nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))
        .double()
        .eval()
    )
    state = model.state_dict()
    for key, value in state.items():
        if key != "4.weight" and value.ndim and len(value) == 6:
            value[3:] = value[:3]  # three pairs of twins
    x = torch.rand(5, 1, 4, 4, dtype=torch.float64)
    whole = model(x).detach()
    pruner = Pruner(model, x, "twins", epochs=3, unit="neurons", target=0.5, start=0, finish=0)
    pruner.step()
    pruner.end_epoch()
    assert pruner.rates().neurons_left["0"] == (3, 6)
    assert (model(x).detach() - whole).abs().max() < 1e-12
    pruner.compact(unread=False)
    assert (model(x).detach() - whole).abs().max() < 1e-12


@pytest.mark.parametrize("name", [n for n in METHODS if issubclass(METHODS[n].load(), ByScore)])
def test_units_and_synapses_by_any_score_are_cut_as_they_are_masked(name: str) -> None:
    masked, cut = (
        Loop(FAMILIES["four layers"], "m", name, epochs=5, unit="both", scope="global", compact_every=every)
        for every in (None, 2)
    )
    for run in (masked, cut):
        run.epochs(0, 5, 2)
    assert all(map(equal, masked.masks, cut.masks))
    assert difference(masked, cut) < 1e-9
    assert cut.sizes[-1] < cut.sizes[0]


class Potential(nn.Module):
    """Fires at 1 and above, and holds what it was given as its potential."""

    v: Tensor | float = 0.0
    v_threshold = 1.0

    def forward(self, x: Tensor) -> Tensor:
        self.v = x
        return torch.relu(x)


def test_the_chance_to_change_a_spike() -> None:
    norm = nn.BatchNorm1d(2, eps=0.0)
    first, last = nn.Linear(2, 2, bias=False), nn.Linear(2, 1)
    model = nn.Sequential(first, norm, Potential(), last).double().eval()
    with torch.no_grad():
        first.weight.copy_(FIRST)
        norm.weight.copy_(torch.tensor([-2.0, 1.0]))
        norm.running_var.copy_(torch.tensor([4.0, 1.0]))
    method = CriterionMethod(SpikeFlipCriterion(), Lowest(), target=Target(0.1))
    pruner = Pruner(model, X, method, epochs=4, neurons=[Potential])
    model(X)
    pruner.step()
    # The norm halves the first unit and turns it: currents (2, 2) give potentials -2 and -2, and the second
    # unit's are -3 and -6. From 1 they are -3 and -3, with no variance: it will never change a spike. Of the
    # second, -4 and -7: mean -5.5, variance 2.25.
    chance = density(torch.tensor(-5.5), torch.tensor(2.25)).item()
    synapses, neurons = (pruner.importance()[key] for key in ("synapses/0", "neurons/0"))
    assert synapses[0].tolist() == [0.0, 0.0]
    assert synapses[1].tolist() == pytest.approx([3.0 * chance, 0.0])
    assert neurons.tolist() == pytest.approx([0.0, 1.5 * chance])


def test_a_network_without_potentials_is_told() -> None:
    paper = Paper(SpikeFlipCriterion())
    with pytest.warns(UserWarning, match="holds no membrane potential"):
        paper.step()
    synapses, _ = paper.scores()
    assert synapses.equal(FIRST.abs())


def test_second_order() -> None:
    paper = Paper(SecondOrderCriterion(damping=0.1, refit=False))
    paper.step()
    # S of the inputs: (1, 0.5) and (2, 0). H = [[2.5, 0.25], [0.25, 0.125]], with 0.1 x 1.3125 added.
    a, b, d = 2.5 + 0.13125, 0.25, 0.125 + 0.13125
    inverse = [d / (a * d - b * b), a / (a * d - b * b)]
    synapses, neurons = paper.scores()
    assert synapses[0].tolist() == pytest.approx([0.5 / inverse[0], 2.0 / inverse[1]])
    assert synapses[1].tolist() == pytest.approx([4.5 / inverse[0], 0.0])
    # Hidden traces are (2, 0) twice: H = [[4, 0], [0, 0]] + 0.2, and the readers' weights are 4 and -1.
    assert neurons.tolist() == pytest.approx([8.0 * 4.2, 0.5 * 0.2])


def test_a_block_is_its_only_entry_and_a_pair_is_both() -> None:
    moment = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    weights = torch.tensor([[[4.0], [2.0]]], dtype=torch.float64)
    both = block_costs(weights, moment.inverse(), torch.tensor([[0, 1]]))
    assert both.tolist() == pytest.approx([(4 * 10 + 2 * 8) / 2])  # w^T H w / 2: all of the current
    one = block_costs(weights[:, :1], moment.inverse(), torch.tensor([[0]]))
    assert one.tolist() == pytest.approx([16 / (2 * 2 / 3)])


def test_a_fit_is_that_of_least_squares() -> None:
    torch.manual_seed(0)
    inputs, weights = torch.rand(40, 12).double(), torch.randn(7, 12).double()
    stays = torch.rand(7, 12) < 0.6
    found = weights * stays + change(inputs.T @ inputs, weights * ~stays, stays)
    for row, keeps, fitted in zip(weights, stays, found, strict=True):
        best = torch.linalg.lstsq(inputs[:, keeps], inputs @ row).solution
        assert (fitted[keeps] - best).abs().max() < 1e-8
        assert not fitted[~keeps].any()


def test_readers_are_fitted_when_a_unit_dies() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        for key in ("0.weight", "0.bias"):
            model.get_parameter(key)[3:] = 2 * model.get_parameter(key)[:3]  # three units are twice others
    x = torch.rand(20, 3, dtype=torch.float64)
    whole = model(x).detach()
    options = {"unit": "neurons", "target": 0.4, "start": 0, "finish": 0, "damping": 1e-9}
    pruner = Pruner(model, x, "second-order", epochs=3, **options)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    model(x).sum().backward()
    optimizer.step()
    pruner.step(optimizer)
    pruner.end_epoch()
    assert pruner.rates().neurons_left["0"][0] < 6
    assert (model(x).detach() - whole).abs().max() < 1e-6


def test_a_layer_that_is_too_wide_keeps_the_diagonal() -> None:
    paper = Paper(SecondOrderCriterion(damping=0.1, largest=1))
    with pytest.warns(UserWarning, match="has 2 inputs, more than 1"):
        paper.step()
    synapses, _ = paper.scores()
    assert synapses[0].tolist() == pytest.approx([0.5 * 2.63125, 2.0 * 0.25625])
    assert paper.pruner.method.criterion.make_up(Decision(), paper.pruner._view({})) == {}


def test_variance() -> None:
    paper = Paper(VarianceCriterion())
    paper.step()
    # Inputs are 1 and 2, of variance 0.25, and 0.5 and 0, of variance 0.0625. Hidden units are constant.
    synapses, neurons = paper.scores()
    assert synapses.tolist() == [[0.25, 0.25], [2.25, 0.0]]
    assert neurons.tolist() == [0.0, 0.0]


def test_what_is_constant_becomes_a_bias() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        model.get_parameter("0.weight")[2:] = 0.0
        model.get_parameter("0.bias")[:] = torch.tensor([0.1, 0.2, 3.0, 4.0])
    x = torch.rand(20, 3, dtype=torch.float64)
    whole = model(x).detach()
    pruner = Pruner(model, x, "variance", epochs=3, unit="neurons", target=0.5, start=0, finish=0)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    model(x).sum().backward()
    optimizer.step()
    pruner.step(optimizer)
    pruner.end_epoch()
    assert pruner.masks.units["0"].tolist() == [True, True, False, False]
    with torch.no_grad():
        assert (model(x) - whole).abs().max() < 1e-12
        pruner.compact(unread=False)
        assert (model(x) - whole).abs().max() < 1e-12
