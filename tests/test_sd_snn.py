"""SD-SNN: spines on paper, neurons of small spines, and synapses whose gradients stay large."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from snnprune.methods import SDSNN
from snnprune.methods.sd_snn import weakest_rows
from snnprune.pruning import Pruner

FIRST = torch.tensor([[0.4, -0.3, 0.2, -0.1], [0.8, -0.7, 0.6, -0.5]], dtype=torch.float64)


class Bench:
    """2 x 4 weights before a whole output; weights and gradients are set by hand, and nothing moves them."""

    def __init__(self, target: float = 0.2, epochs: int = 40, **options: object) -> None:
        self.model = nn.Sequential(
            nn.Linear(4, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)
        ).double()
        self.optimizer = torch.optim.SGD([self.weight], 0.0)
        method = SDSNN(target, scope="local", **options)  # type: ignore[arg-type]
        self.pruner = Pruner(self.model, torch.eye(4).double(), method, epochs=epochs)

    @property
    def weight(self) -> nn.Parameter:
        return self.model.get_parameter("0.weight")

    @property
    def alive(self) -> Tensor:
        return self.pruner.masks.alive(self.pruner.topology.projections["0"])

    def epoch(self, weight: Tensor, gradient: Tensor | float = 0.0) -> dict[str, Tensor]:
        with torch.no_grad():
            self.weight.copy_(weight)
        self.weight.grad = torch.zeros_like(self.weight) + gradient
        self.optimizer.step()
        self.pruner.step(self.optimizer)
        self.pruner.end_epoch()
        return self.pruner.method.state["0"]


def test_a_bound_widens_with_use_and_shrinks_without() -> None:
    bench = Bench(patience=2)
    assert (bench.epoch(FIRST)["bound"] == 0.8).all()
    high, low = FIRST.clone(), FIRST.clone()
    high[0, 0], low[0, 0], high[0, 1], low[0, 1] = 1.0, 0.9, -0.2, -0.1
    assert (bench.epoch(high)["bound"] == 0.8).all()  # one epoch is too few
    bound = bench.epoch(low)["bound"]  # beyond by 0.2 and 0.1, or smaller, in two epochs in a row
    assert bound[0, 0].item() == pytest.approx(0.8 + 0.15)
    assert bound[0, 1].item() == pytest.approx(0.8 * 0.75)
    # 0.8 itself is at its bound, and beyond it by nothing.
    assert bound[1, 0].item() == pytest.approx(0.8)
    assert torch.equal(bound[1, 1:], torch.full((3,), 0.8, dtype=torch.float64))
    bench.epoch(torch.full_like(FIRST, -2.0))
    assert torch.equal(bench.weight.detach(), -bound)  # clipped, since more than two epochs have passed


def test_a_count_that_is_interrupted_begins_anew() -> None:
    bench = Bench(patience=2)
    for size in (0.5, 0.4, 0.45, 0.4):
        state = bench.epoch(torch.full_like(FIRST, size))
    assert (state["bound"] == 0.5).all()
    assert (state["shrunk"] == 1).all()


def test_rows_of_small_spines_die_first_and_of_the_last_one_the_smallest() -> None:
    bound = torch.tensor([[3.0, 1.0, 9.0], [0.5, 0.4, 0.1], [2.0, 1.5, 1.0]])
    alive = torch.ones(3, 3, dtype=torch.bool)
    alive[0, 2] = False  # what is dead counts for nothing
    none = torch.zeros(3, dtype=torch.int64)
    assert weakest_rows(bound, alive, none, 4).tolist() == [[False, True, False], [True] * 3, [False] * 3]
    assert torch.equal(weakest_rows(bound, alive, none, 99), alive)
    assert not weakest_rows(bound, alive, none, 0).any()
    # The second row takes two with it, and the first, which would take five, keeps its best.
    price = torch.tensor([5, 2, 0])
    assert weakest_rows(bound, alive, price, 5).tolist() == [[False] * 3, [True] * 3, [False] * 3]
    assert weakest_rows(bound, alive, price, 7).tolist() == [
        [False, True, False],
        [True] * 3,
        [False, False, True],
    ]


def test_neurons_die_by_their_synapses_until_the_target_is_reached() -> None:
    # Half of 10 weights go, and the output's 2 stay, so long as either neuron lives: 3 of 8.
    bench = Bench(0.5, epochs=8, patience=1, last=0.5)
    counts = []
    for _ in range(8):
        bench.epoch(bench.weight.detach().clone() if counts else FIRST)
        counts.append(int(bench.alive.sum()))
    wanted = [4, 3]  # 3 + 5 (1 - q)^3 at q = 1/2 and 1, from the epoch 2 T + 1 = 3 on
    assert counts == [8, 8, 8, *wanted, 3, 3, 3]
    assert bench.pruner.rates().synapses == 0.5


def test_what_the_output_reads_of_a_neuron_dies_with_it_and_counts() -> None:
    # 20 inputs, 10 neurons, 10 outputs: 300 weights, of which 150 stay. Five neurons have 100 and 50.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 10, bias=False), nn.ReLU(), nn.Linear(10, 10, bias=False))
    optimizer, x = torch.optim.Adam(model.parameters(), 1e-3), torch.rand(4, 20)
    with Pruner(model, x, SDSNN(0.5), epochs=12) as pruner:
        for _ in range(12):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            pruner.step(optimizer)
            pruner.end_epoch()
    assert pruner.rates().neurons_left["0"][0] < 10
    assert pruner.rates().synapses == pytest.approx(0.5, abs=0.03)


def test_a_synapse_regrows_whose_gradient_was_large_for_long_enough() -> None:
    bench = Bench(0.5, epochs=20, patience=1, last=0.5)
    gradient = torch.zeros_like(FIRST)
    while int(bench.alive.sum()) == 8:
        bench.epoch(FIRST if bench.pruner.clock.epoch == 0 else bench.weight.detach().clone())
    dead = (~bench.alive).nonzero()[0].tolist()
    gradient[tuple(dead)] = -3.0
    before = int(bench.alive.sum())
    bench.epoch(bench.weight.detach().clone(), gradient)
    assert not bench.alive[tuple(dead)]
    bench.epoch(bench.weight.detach().clone(), gradient)
    assert bench.alive[tuple(dead)]
    assert bench.weight[tuple(dead)].item() == 0.0
    assert int(bench.alive.sum()) <= before
    state = bench.pruner.method.state["0"]
    assert state["bound"][tuple(dead)] == state["bound"].max()
    assert state["wished"][tuple(dead)] == 0


def test_constants_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="patience is a number of epochs from 1 on, or None, came 0"):
        SDSNN(patience=0)


def test_no_more_regrow_than_a_share_of_those_that_are_to_live() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 30, bias=False), nn.ReLU(), nn.Linear(30, 2, bias=False))
    optimizer, x = torch.optim.Adam(model.parameters(), 1e-2), torch.rand(8, 40)
    with Pruner(model, x, SDSNN(0.9), epochs=10) as pruner:
        for _ in range(10):
            optimizer.zero_grad()
            (model(x) - 1.0).square().sum().backward()
            optimizer.step()
            pruner.step(optimizer)
            pruner.end_epoch()
    assert pruner.rates().synapses == pytest.approx(0.9, abs=0.02)


def test_channels_that_regrow_count_for_the_layers_behind_them() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 12, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(192, 30), nn.ReLU(), nn.Linear(30, 3),
    )  # fmt: skip
    optimizer, x, y = torch.optim.Adam(model.parameters(), 1e-2), torch.rand(12, 1, 8, 8), torch.rand(12, 3)
    with Pruner(model, x, SDSNN(0.95), epochs=10) as pruner:
        for _ in range(10):
            for _ in range(3):
                optimizer.zero_grad()
                (model(x) - y).square().sum().backward()
                optimizer.step()
                pruner.step(optimizer)
            pruner.end_epoch()
    assert pruner.rates().synapses == pytest.approx(0.95, abs=0.02)
