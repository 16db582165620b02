"""SET, RigL and NDSNN: an update on paper, densities over the run, and what is sparse from the first step."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from snnprune.methods import NDSNN, SET, RigL
from snnprune.methods.growing import cosine
from snnprune.methods.set import weakest
from snnprune.pruning import Pruner
from support.networks import conv_ann

if TYPE_CHECKING:
    from snnprune.methods.growing import GrowingMethod

X = torch.eye(4, dtype=torch.float64)
FIRST = torch.tensor([[0.4, -0.3, 0.2, -0.1], [0.8, -0.7, 0.6, -0.5]], dtype=torch.float64)
KINDS = [SET, RigL, NDSNN]


class Bench:
    """2 x 4 weights before a whole output, six of which live, with gradients set by hand; SGD at 0.1."""

    def __init__(self, method: GrowingMethod, epochs: int = 8) -> None:
        self.model = nn.Sequential(
            nn.Linear(4, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)
        ).double()
        self.optimizer = torch.optim.SGD([self.weight], 0.1, momentum=0.5)
        self.pruner = Pruner(self.model, X, method, epochs=epochs)
        self.model(X)  # the network is sparse from here on
        alive = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0]], dtype=torch.bool)
        self.pruner.masks.synapses["0"] = alive
        self.pruner.masks.refresh()
        with torch.no_grad():
            self.weight.copy_(FIRST * alive)

    @property
    def weight(self) -> nn.Parameter:
        return self.model.get_parameter("0.weight")

    def step(self, gradient: torch.Tensor | float = 0.0) -> None:
        self.weight.grad = torch.zeros_like(self.weight) + gradient
        self.optimizer.step()
        self.pruner.step(self.optimizer)


def test_set_on_paper() -> None:
    # 2 of 10 weights go, and the output's 2 stay: 6 of 8 live, 4 positive and 2 negative. A half: 2 and 1.
    bench = Bench(SET(0.2, zeta=0.5, first_weight="zero"))
    bench.step()
    bench.pruner.end_epoch()
    alive = bench.pruner.masks.synapses["0"]
    assert int(alive.sum()) == 6
    left = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.8, -0.7, 0.6, 0.0]], dtype=torch.float64)
    assert torch.equal(bench.weight.detach(), left)
    grown = alive & (left == 0)  # 0.2, 0.4 and -0.3 died, and three grew at 0
    assert int(grown.sum()) == 3
    bench.step(-1.0)
    assert torch.allclose(bench.weight[grown], torch.full((3,), 0.1, dtype=torch.float64))


def test_set_takes_its_share_of_either_sign() -> None:
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0, -0.1, -0.9, -1.0])
    alive = torch.tensor([1, 1, 1, 1, 0, 1, 1, 1], dtype=torch.bool)
    assert weakest(weight, alive, 2).nonzero().flatten().tolist() == [0, 5]
    assert weakest(weight, alive, 7).equal(alive)
    assert weakest(weight.abs(), alive, 3).nonzero().flatten().tolist() == [0, 1, 5]


def test_rigl_on_paper() -> None:
    # alpha = 1 / 2: of 6 living k = 3 (1 + cos(pi q)) / 2, at q = 1 / 6 of the way: 2.8, so 3.
    bench = Bench(RigL(0.2, alpha=0.5, last=0.75))
    bench.step()
    bench.pruner.end_epoch()
    gradient = torch.tensor([[0.0, 0.0, 0.0, 3.0], [0.0, 0.0, 0.0, -2.0]], dtype=torch.float64)
    gradient[0, 1] = 1.0  # that of the second weakest, which dies and grows at once
    bench.step(gradient)
    moved = -0.3 - 0.1  # its weight after the step of the optimiser, which it keeps
    left = torch.tensor([[0.0, moved, 0.0, 0.0], [0.8, -0.7, 0.6, 0.0]], dtype=torch.float64)
    # The weakest after the step are 0.2, 0.4 and 0.4: of equal ones the first.
    assert torch.allclose(bench.weight.detach(), left, atol=1e-12)
    alive = bench.pruner.masks.synapses["0"]
    assert alive.tolist() == [[False, True, False, True], [True, True, True, True]]
    momentum = bench.optimizer.state[bench.weight]["momentum_buffer"]
    assert momentum[0].tolist() == [0.0, 1.0, 0.0, 0.0]
    bench.step(1.0)  # the grown ones move from 0 by 0.1, as with no momentum
    assert bench.weight[:, 3].tolist() == pytest.approx([-0.1, -0.1])
    assert bench.weight[0, 2].item() == 0.0


def test_gradients_of_the_dead_are_read_once_an_epoch_and_reach_no_optimiser() -> None:
    bench = Bench(RigL(0.2))
    method, dead = bench.pruner.method, ~bench.pruner.masks.synapses["0"]
    asked = []
    for _ in range(3):
        for _ in range(2):
            asked.append(method.learns_dead(bench.pruner.clock))
            bench.weight.grad = torch.ones_like(bench.weight)
            bench.optimizer.step()
            if asked[-1]:
                assert not bench.weight.grad[dead].any()
            bench.pruner.step(bench.optimizer)
            dead = ~bench.pruner.masks.synapses["0"]
        bench.pruner.end_epoch()
    assert asked == [False, False, True, False, True, False]


def test_updates_may_come_every_few_steps() -> None:
    bench = Bench(RigL(0.2, every=3))
    asked = []
    for _ in range(9):
        asked.append(bench.pruner.method.learns_dead(bench.pruner.clock))
        bench.step()
    assert asked == [False, False, True] * 3


def test_ndsnn_on_paper() -> None:
    method = NDSNN(0.5, initial_density=0.9, alpha=0.6, alpha_min=0.2, scope="local", last=0.5)
    model = nn.Sequential(nn.Linear(10, 100, bias=False), nn.ReLU(), nn.Linear(100, 1, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Pruner(model, torch.rand(2, 10), method, epochs=8) as pruner:
        # 1100 weights, of which 550 stay: 450 of the layer's 1000; from 900 by (1 - q)^3, q = 1/4 ... 1.
        wanted = [900, *(round(450 + 450 * (1 - q / 4) ** 3) for q in (1, 2, 3, 4)), 450, 450, 450]
        found, deaths = [int(pruner.masks.alive(pruner.topology.projections["0"]).sum())], []
        for epoch in range(8):
            before = pruner.masks.alive(pruner.topology.projections["0"])
            model(torch.rand(2, 10)).sum().backward()
            optimizer.step()
            pruner.step(optimizer)
            after = pruner.masks.alive(pruner.topology.projections["0"])
            if epoch:
                found.append(int(after.sum()))
                deaths.append(int((before & ~after).sum()) / int(before.sum()))
            pruner.end_epoch()
    assert found == wanted
    assert max(deaths) <= 0.6
    assert deaths[-3:] == [0, 0, 0]
    assert method.dropped(0.5) == pytest.approx(0.4)


def test_the_cosine_falls_from_its_first_value_to_nothing() -> None:
    assert [cosine(0.3, q) for q in (0.0, 0.5, 1.0)] == pytest.approx([0.3, 0.15, 0.0])


@pytest.mark.parametrize("scope", ["erk", "local"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_sparse_from_its_first_forward(kind: Any, scope: Any) -> None:
    model = conv_ann()
    dense = copy.deepcopy(model)
    x = torch.ones(2, 2, 12, 12)
    method = kind(0.9, scope=scope, initial_density=None)
    with Pruner(model, x, method, epochs=4) as pruner:
        assert pruner.rates().synapses == pytest.approx(0.9, abs=0.002)
        model(x)
        shares = {}
        for name, p in pruner.topology.projections.items():
            weight, alive = model.get_parameter(p.weight), pruner.masks.alive(p)
            whole = dense.get_parameter(p.weight)
            shares[name] = share = float(alive.float().mean())
            assert torch.allclose(weight[alive], whole[alive] / math.sqrt(share))
            assert not weight[~alive].any()
        free = [s for n, s in shares.items() if not pruner.topology.projections[n].output]
        assert (max(free) - min(free) < 0.05) is (scope == "local")


def test_rescaling_can_be_left_out() -> None:
    model = conv_ann()
    dense = copy.deepcopy(model)
    with Pruner(model, torch.ones(2, 2, 12, 12), RigL(0.9, rescale=False), epochs=4) as pruner:
        model(torch.ones(2, 2, 12, 12))
        alive = pruner.masks.alive(pruner.topology.projections["0"])
        assert torch.equal(model.get_parameter("0.weight")[alive], dense.get_parameter("0.weight")[alive])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_one_epoch_rewires_nothing(kind: Any) -> None:
    bench = Bench(kind(0.2, initial_density=None), epochs=1)
    before = bench.pruner.masks.synapses["0"].clone()
    bench.step(1.0)
    bench.pruner.end_epoch()
    assert torch.equal(bench.pruner.masks.synapses["0"], before)


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (SET, {"zeta": 0.0}, r"zeta is a share in \(0, 1\], came 0.0"),
        (RigL, {"alpha": 1.5}, r"alpha is a share in \(0, 1\], came 1.5"),
        (RigL, {"every": 0}, "every is a number of steps from 1 on, or None for once an epoch, came 0"),
        (NDSNN, {"alpha_min": -0.1}, "alpha_min is a share"),
        (NDSNN, {"initial_density": 2.0}, "initial_density is a share"),
        (SET, {"scope": "even"}, r"scope of this method is one of \['local', 'erk'\], came 'even'"),
        (SET, {"first_weight": "one"}, "a woken weight starts at one of"),
        (SET, {"last": 0.0}, "last is a share"),
        (SET, {"target": None}, "needs a target"),
    ],
)
def test_constants_that_cannot_be_are_refused(kind: Any, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        kind(**wrong)
