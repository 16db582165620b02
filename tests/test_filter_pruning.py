"""Methods of networks without time that prune filters, or gate units: what they do, on paper."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from snnprune.common.errors import UserError
from snnprune.methods import ArchLearning, AutoBalanced, L1Filters, MetaFilters
from snnprune.methods.auto_balanced import factors
from snnprune.methods.meta_filters import CRITERIA
from snnprune.pruning import Pruner

if TYPE_CHECKING:
    from snnprune.pruning import Method


def net(first: list[list[float]], last: list[list[float]]) -> nn.Sequential:
    """Return a network of one hidden layer with ReLU and without biases."""
    hidden, out = (
        nn.Linear(len(first[0]), len(first), bias=False),
        nn.Linear(len(first), len(last), bias=False),
    )
    model = nn.Sequential(hidden, nn.ReLU(), out).double()
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor(first, dtype=torch.float64))
        out.weight.copy_(torch.tensor(last, dtype=torch.float64))
    return model


def pruner_of(model: nn.Module, method: Method | str, epochs: int = 4, **options: Any) -> Pruner:
    shape = next(model.parameters()).shape
    return Pruner(model, torch.ones(2, *shape[1:]).double(), method, epochs=epochs, **options)


def epoch(pruner: Pruner, rate: float = 0.0) -> None:
    """Train for a batch whose loss says nothing, and decide."""
    optimizer = torch.optim.SGD(pruner.model.parameters(), rate)
    shape = next(pruner.model.parameters()).shape
    (0.0 * pruner.model(torch.ones(2, *shape[1:]).double())).sum().backward()
    optimizer.step()
    pruner.step(optimizer)
    optimizer.zero_grad()
    pruner.end_epoch()


def living(pruner: Pruner) -> list[bool]:
    return pruner.masks.units["0"].tolist()


THIRD = {"target": 1 / 3, "floor": 0.0}
"""One of three hidden units, of which each has a third of all weights."""


# --- filter pruning by L1


def test_the_filter_of_the_smallest_sum_goes_once_at_half_of_the_run() -> None:
    conv, out = nn.Conv2d(1, 3, 2, bias=False), nn.Linear(3, 1, bias=False)
    model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), out).double()
    with torch.no_grad():  # sums of |w| are 4, 3.5 and 10; the largest single weight is in the second
        conv.weight.view(3, 4).copy_(torch.tensor([[1.0, -1, 1, 1], [3.5, 0, 0, 0], [-2.5, 2.5, 2.5, 2.5]]))
    pruner = pruner_of(model, L1Filters(**THIRD), epochs=6)
    pruner.model(torch.ones(1, 1, 2, 2).double())
    alive = []
    for _ in range(6):
        pruner.step()
        pruner.end_epoch()
        alive.append(living(pruner))
    assert alive == [[True] * 3] * 3 + [[True, False, True]] * 3


# --- auto-balanced


def test_factors_on_paper_and_their_sum() -> None:
    # Weak is the first with M = 1 = theta; the strong have -1 - ln 2 and -1 - ln 7.
    importance, length = torch.tensor([[1.0, 2.0, 7.0], [1.0, 4.0, 25.0]], dtype=torch.float64)
    everybody = torch.ones(3, dtype=torch.bool)
    factor = factors(importance, length, everybody, 1, 0.5)
    tau = 0.5 / (4 * (1 + math.log(2)) + 25 * (1 + math.log(7)))
    assert factor.tolist() == pytest.approx([0.5, -tau * (1 + math.log(2)), -tau * (1 + math.log(7))])
    # Of the two weak, theta is 2: the first has 1 + ln 2.
    assert factors(importance, length, everybody, 2, 0.5)[:2].tolist() == pytest.approx(
        [0.5 * (1 + math.log(2)), 0.5]
    )
    for count in (1, 2):
        found = factors(importance, length, everybody, count, 0.5)
        assert float((found * length).sum()) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_is_pulled_where_there_are_no_weak_or_no_strong(count: int) -> None:
    importance = torch.tensor([1.0, 2.0, 7.0, 0.0])
    alive = torch.tensor([True, True, True, False])
    assert factors(importance, importance, alive, count, 0.5).tolist() == [0.0] * 4


def test_filters_of_zeros_and_dead_ones_have_finite_factors() -> None:
    importance = torch.tensor([0.0, 0.0, 2.0, 0.0])
    alive = torch.tensor([True, True, True, False])
    found = factors(importance, importance, alive, 2, 0.5)
    assert bool(found.isfinite().all())
    assert found[2:].tolist() == [0.0, 0.0]


def test_the_weak_shrink_and_the_strong_grow_until_the_weak_are_cut() -> None:
    model = net([[1.0, 0.0], [0.0, 2.0], [3.0, -4.0]], [[1.0, 1.0, 1.0]])
    pruner = pruner_of(model, AutoBalanced(alpha=0.5, **THIRD), epochs=6)
    before = model[0].weight.detach().clone()
    epoch(pruner, rate=0.1)
    # w - 0.1 x 2 factor w, with the factors of the test above
    tau = 0.5 / (4 * (1 + math.log(2)) + 25 * (1 + math.log(7)))
    factor = torch.tensor([0.5, -tau * (1 + math.log(2)), -tau * (1 + math.log(7))]).double()
    assert torch.allclose(model[0].weight, before * (1 - 0.2 * factor.unsqueeze(1)), rtol=1e-7)
    assert model[2].weight.tolist() == [[1.0, 1.0, 1.0]]
    for _ in range(3):
        epoch(pruner, rate=0.1)
    assert living(pruner) == [False, True, True]
    after = model[0].weight.detach().clone()
    epoch(pruner, rate=0.1)
    assert torch.equal(model[0].weight, after)


# --- meta filter pruning

FILTERS = torch.tensor([[3.0, 0.0], [3.0, 1.0], [0.0, 2.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("l1", [3.0, 4.0, 2.0]),
        ("l2", [3.0, math.sqrt(10), 2.0]),
        ("minkowski-1", [6.0, 5.0, 9.0]),  # 1 between the first two, 5 and 4 from them to the third
        ("minkowski-2", [1 + math.sqrt(13), 1 + math.sqrt(10), math.sqrt(13) + math.sqrt(10)]),
        ("cosine", [2 - 3 / math.sqrt(10), 2 - 4 / math.sqrt(10), 2 - 1 / math.sqrt(10)]),
    ],
)
def test_criteria_on_paper(name: str, score: list[float]) -> None:
    assert CRITERIA[name](FILTERS).tolist() == pytest.approx(score)


@pytest.mark.parametrize(
    ("readers", "chosen", "alive"),
    [
        # The mean of 9 is 15 / 9. Norms cut the third: 9 / 6. Distances cut the second: 10 / 6, no change.
        ([1.0, 1.0, 4.0], "minkowski-1", [True, False, True]),
        # Again 15 / 9. Norms: 12 / 6, a third more. Distances: 7 / 6, half less.
        ([1.0, 4.0, 1.0], "l1", [True, True, False]),
    ],
)
def test_the_criterion_decides_whose_cut_changes_the_mean_weight_least(
    readers: list[float], chosen: str, alive: list[bool]
) -> None:
    method = MetaFilters(schedule="one-shot", **THIRD)
    pruner = pruner_of(net(FILTERS.tolist(), [readers]), method)
    for _ in range(3):
        epoch(pruner)
    assert method.criterion.chosen == chosen
    assert living(pruner) == alive
    again = pruner_of(net(FILTERS.tolist(), [readers]), other := MetaFilters(schedule="one-shot", **THIRD))
    again.load_state_dict(pruner.state_dict())
    assert other.criterion.chosen == chosen


def test_a_filter_of_zeros_has_no_direction() -> None:
    assert CRITERIA["cosine"](torch.tensor([[0.0, 0.0], [1.0, 0.0]])).tolist() == [1.0, 1.0]


# --- learning the architecture


class Gated(nn.Module):
    """The same network with gates in its forward: what the method's products are held against."""

    def __init__(self, body: nn.Module, out: Any, units: int) -> None:
        super().__init__()
        self.body, self.out = body, out
        self.gate = nn.Parameter(torch.ones(units, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x)
        gate = self.gate.view(-1, *[1] * (2 if isinstance(self.out[0], nn.Flatten) else 0))
        result: Tensor = self.out(hidden * gate)
        return result


def bodies(kind: str) -> tuple[nn.Module, nn.Module, Tensor]:
    torch.manual_seed(0)
    if kind == "linear":
        return nn.Sequential(nn.Linear(5, 4), nn.ReLU()), nn.Sequential(nn.Linear(4, 3)), torch.rand(6, 5)
    if kind == "convolution":
        body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
        return body, nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), torch.rand(6, 1, 6, 6)
    body = nn.Sequential(layer.Linear(5, 4), neuron.IFNode(v_threshold=0.3))
    functional.set_step_mode(body, "m")
    return body, nn.Sequential(layer.Linear(4, 3, step_mode="m")), torch.rand(3, 6, 5)


@pytest.mark.parametrize("kind", ["linear", "convolution", "spiking"])
def test_products_learn_as_weights_and_gates_apart(kind: str) -> None:
    constants = {"lambda_1": 0.3, "lambda_2": 0.4, "rate": 0.05}
    body, out, x = bodies(kind)
    gated = Gated(*bodies(kind)[:2], 4).double()
    model, x = nn.Sequential(*body, *out).double(), x.double()
    method = ArchLearning(0.25, floor=0.0, start=0, finish=4, **constants)
    pruner = Pruner(model, x, method, epochs=6)
    ours = torch.optim.SGD(model.parameters(), 0.1)
    theirs = torch.optim.SGD([p for n, p in gated.named_parameters() if n != "gate"], 0.1)
    for _ in range(5):
        ours.zero_grad()
        model(x).square().mean().backward()
        ours.step()
        pruner.step(ours)
        functional.reset_net(model)
        gated.zero_grad()
        penalty = constants["lambda_1"] * (gated.gate * (1 - gated.gate)).sum()
        penalty = penalty + constants["lambda_2"] * gated.gate.sum()
        (gated(x).square().mean() + penalty).backward()
        theirs.step()
        with torch.no_grad():
            gated.gate.sub_(constants["rate"] * gated.gate.grad).clamp_(0.01, 1.0)
        functional.reset_net(gated)
        assert torch.allclose(method.criterion.state["0"]["gate"], gated.gate, rtol=1e-9)
        assert torch.allclose(model(x), gated(x), rtol=1e-9)
        functional.reset_net(model)
        functional.reset_net(gated)
    assert bool((gated.gate < 1).any())


def test_as_many_gates_are_pushed_down_as_are_to_go() -> None:
    # Without a gradient, all are held by lambda_1: none is weaker, and none moves.
    model = net([[1.0], [2.0], [3.0]], [[1.0, 1.0, 1.0]])
    method = ArchLearning(rate=0.5, lambda_1=0.2, start=0, **THIRD)
    pruner = pruner_of(model, method)
    epoch(pruner)
    assert method.criterion.state["0"]["gate"].tolist() == [1.0, 1.0, 1.0]
    # dE/dw = sum of V dE/dV, with E the mean of outputs: 1, 2 and 3 for gates of 1. They are held by
    # 0.2 - dE/dw: -0.8, -1.8 and -2.8; lambda_2 is -2.3, and the third moves by 0.5 (-2.8 + 2.3).
    pruner.model(torch.ones(2, 1).double()).mean().backward()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    optimizer.step()
    pruner.step(optimizer)
    assert method.criterion.state["0"]["gate"].tolist() == pytest.approx([1.0, 1.0, 0.75])
    assert model[2].weight.flatten().tolist() == pytest.approx([1.0, 1.0, 0.75])
    assert model[0].weight.flatten().tolist() == [1.0, 2.0, 3.0]


def test_the_smallest_gates_are_cut_and_the_others_are_folded() -> None:
    model = net([[1.0], [2.0], [3.0]], [[1.0, 1.0, 1.0]])
    method = ArchLearning(rate=0.5, lambda_1=0.2, start=0, finish=2, **THIRD)
    pruner = pruner_of(model, method, epochs=5)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    for number in range(3):
        optimizer.zero_grad()
        pruner.model(torch.ones(2, 1).double()).mean().backward()
        optimizer.step()
        pruner.step(optimizer)
        held = method.criterion.state["0"]["gate"].clone()
        pruner.end_epoch()
        assert living(pruner) == [True, True, number < 2]
    # The third has a gate below all others, though its weights are the largest.
    assert held.argmin() == 2
    assert method.criterion.state == {}
    assert model[2].weight.flatten()[:2].tolist() == pytest.approx(held[:2].tolist())
    assert model[2].weight.flatten()[2] == 0.0
    epoch(pruner)
    assert method.criterion.state == {}


def test_the_rate_follows_from_the_steps_of_an_epoch() -> None:
    # Of 8 epochs, gates learn in 1 to 4, with one step in each: 6 / (0.05 x 4).
    model = net([[1.0], [2.0], [3.0]], [[1.0, 1.0, 1.0]])
    method = ArchLearning(**THIRD)
    pruner = pruner_of(model, method, epochs=8)
    assert method.rate_at(pruner.clock) == 0.0
    rates = []
    for _ in range(6):
        epoch(pruner)
        rates.append(method.rate_at(pruner.clock))
    assert rates == pytest.approx([30.0] * 4 + [0.0] * 2)


# --- what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "auto-balanced", "alpha": -1.0}, "alpha is at least 0, came -1.0"),
        ({"method": "arch-learning", "lambda_1": 0.0}, "lambda_1 has to be above 0, came 0.0"),
        ({"method": "arch-learning", "rate": -0.1}, "rate has to be above 0, came -0.1"),
    ],
)
def test_wrong_constants_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        pruner_of(net([[1.0], [2.0]], [[1.0, 1.0]]), **options)


@pytest.mark.parametrize("kind", [AutoBalanced, MetaFilters, ArchLearning])
def test_a_method_that_is_its_criterion_takes_no_other(kind: Any) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__} is made for the scores of its own"):
        kind(criterion=L1Filters().criterion)


# --- merging in a trained network


def test_twins_of_a_trained_network_merge_once_and_without_data() -> None:
    # The first two differ by 0.1; the first costs 4 x 0.01, the second 9 x 0.01: what read the first is
    # added to what reads the second.
    model = net([[1.0, 0.0], [1.1, 0.0], [0.0, 1.0]], [[2.0, 3.0, 5.0]])
    options = {"unit": "neurons", "schedule": "one-shot", "start": 0, "finish": 0}
    pruner = pruner_of(model, "twins", epochs=2, **options, **THIRD)
    pruner.step()  # nothing was learned
    pruner.end_epoch()
    assert living(pruner) == [False, True, True]
    assert model[2].weight.tolist() == [[0.0, 5.0, 5.0]]
    small = pruner.compact()
    assert small[0].weight.tolist() == [[1.1, 0.0], [0.0, 1.0]]
