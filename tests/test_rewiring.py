"""Deep R, Grad R, STDS and ADMM: one step on paper each, targets reached, and what comes back to life."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional
from torch import nn

from snnprune.methods.admm import ADMM
from snnprune.methods.deep_r import TINY, DeepR, _draw
from snnprune.methods.grad_r import GradR, centre
from snnprune.methods.stds import STDS
from snnprune.pruning import Pruner
from support.networks import conv_ann, conv_snn

if TYPE_CHECKING:
    from snnprune.methods.hidden import HiddenMethod

X = torch.eye(4)
HIDDEN = ["deep-r", "grad-r", "stds", "admm"]
FIRST = torch.tensor([[0.4, -0.3, 0.2, -0.1], [0.8, -0.7, 0.6, -0.5]])


class Bench:
    """2 x 4 weights before a frozen output, with gradients set by hand; plain SGD at 0.1."""

    def __init__(self, method: HiddenMethod, epochs: int = 8) -> None:
        self.model = nn.Sequential(
            nn.Linear(4, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)
        ).double()
        with torch.no_grad():
            self.weight.copy_(FIRST)
        self.optimizer = torch.optim.SGD([self.weight], 0.1)
        self.pruner = Pruner(self.model, X.double(), method, epochs=epochs)

    @property
    def weight(self) -> nn.Parameter:
        return self.model.get_parameter("0.weight")

    def step(self, gradient: torch.Tensor | float = 0.0) -> None:
        self.weight.grad = torch.zeros_like(self.weight) + gradient
        self.optimizer.step()
        self.pruner.step(self.optimizer)


def test_deep_r_on_paper() -> None:
    # Half of 10 weights go, and the output's 2 stay: 3 of 8 live.
    bench = Bench(DeepR(0.5, alpha=0.5, temperature=0.0))
    bench.step()
    alive = bench.weight != 0
    assert int(alive.sum()) == 3
    assert torch.equal(bench.weight[alive], FIRST.double()[alive])
    before = bench.weight.detach().clone()
    bench.step(1.0)  # w - 0.1, and the strength |w| sinks by lr alpha = 0.05
    moved = before - 0.1 - 0.05 * before.sign()
    stay = alive & (moved * FIRST.sign() > 0)
    assert torch.allclose(bench.weight[stay], moved[stay], rtol=0, atol=1e-12)
    assert int((bench.weight != 0).sum()) == 3
    woken = (bench.weight != 0) & ~stay
    assert torch.equal(bench.weight[woken], TINY * FIRST.sign().double()[woken])


def test_deep_r_noise_has_the_temperature_asked_for() -> None:
    model = nn.Sequential(nn.Linear(300, 300, bias=False), nn.ReLU(), nn.Linear(300, 1, bias=False))
    weight = nn.init.constant_(model.get_parameter("0.weight"), 1.0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Pruner(model, torch.zeros(1, 300), DeepR(0.5, alpha=0.0, temperature=2e-4), epochs=2) as pruner:
        for _ in range(2):
            optimizer.step()  # without gradients: noise alone moves the weights
            pruner.step(optimizer)
    alive = pruner.masks.synapses["0"]
    assert weight[alive].std().item() == pytest.approx(math.sqrt(2 * 0.1 * 2e-4), rel=0.02)


def test_places_are_drawn_evenly_and_without_repetition() -> None:
    generator, among = torch.Generator().manual_seed(0), torch.arange(40) % 4 != 0
    counts = torch.zeros(40)
    for _ in range(3000):
        drawn = _draw(among, 10, generator)
        assert len(drawn.unique()) == 10
        counts[drawn] += 1
    assert counts[~among].sum() == 0
    assert (counts[among] / 1000 - 1).abs().max() < 0.1
    assert len(_draw(among, 99, generator)) == 30
    assert len(_draw(among, 0, generator)) == 0


def test_grad_r_on_paper() -> None:
    bench = Bench(GradR(0.5, alpha=0.5, steered=False))
    bench.step()  # th = |w|
    bench.step(
        2.0
    )  # th - lr s g - lr alpha = |w| - 0.2 s - 0.05; m = ln(2 * 3 / 8) / 0.5 = -0.58 is below all
    strength = FIRST.abs() - 0.2 * FIRST.sign() - 0.05
    assert torch.allclose(bench.weight, (FIRST.sign() * strength.clamp(min=0)).double(), atol=1e-7)
    # 0.2 - 0.25 < 0 is dormant. Its gradient goes on to count, and wakes it: -0.05 + 0.1 - 0.05 = 0.
    assert bench.weight[0, 2] == 0
    bench.step(-1.5)  # -0.05 + 0.15 - 0.05
    assert bench.weight[0, 2].item() == pytest.approx(0.05, abs=1e-7)


def test_the_prior_has_its_share_below_zero() -> None:
    for share in (0.3, 0.5, 0.6, 0.9):
        middle = centre(share, 2.0)  # of a Laplace distribution of rate 2
        below = 1 - 0.5 * math.exp(2 * middle) if middle < 0 else 0.5 * math.exp(-2 * middle)
        assert below == pytest.approx(share)
    assert centre(0.6, 0.0) == -math.inf


def test_stds_on_paper() -> None:
    bench = Bench(STDS(0.5, threshold=0.35, growth="linear"), epochs=8)
    bench.step()
    for _ in range(4):  # d = D at half of the run
        bench.pruner.end_epoch()
    filtered = (FIRST.sign() * (FIRST.abs() - 0.35).clamp(min=0)).double()
    assert torch.allclose(bench.weight, filtered, atol=1e-7)
    bench.step(-1.0)  # theta + 0.1 everywhere: -0.3 -> -0.2, 0.2 -> 0.3, 0.4 -> 0.5
    filtered = torch.tensor([[0.15, 0, 0, 0], [0.55, -0.25, 0.35, -0.05]], dtype=torch.float64)
    assert torch.allclose(bench.weight, filtered, atol=1e-7)
    bench.step(-1.0)  # 0.3 -> 0.4: it is back
    assert bench.weight[0, 2].item() == pytest.approx(0.05, abs=1e-7)


@pytest.mark.parametrize(
    ("growth", "shares"), [("linear", [0.25, 0.5, 0.75, 1, 1]), ("sine", [0.3827, 0.7071, 0.9239, 1, 1])]
)
def test_the_threshold_grows_to_half_of_the_run(growth: Any, shares: list[float]) -> None:
    bench = Bench(STDS(0.5, threshold=2.0, growth=growth), epochs=8)
    bench.step()
    for share in shares:
        bench.pruner.end_epoch()
        state = bench.pruner.method.state_dict()["0"]
        assert state["d"].item() == pytest.approx(2 * share, abs=1e-4)


def test_admm_on_paper() -> None:
    bench = Bench(ADMM(0.5, rho=0.5, every=2), epochs=4)
    bench.step()  # Z = W, U = 0
    bench.step()  # Z = the three largest of W + U, U = W - Z
    assert torch.equal(bench.weight, FIRST.double())
    bench.step()  # w - lr rho (W - Z + U): nothing for those of Z, 2 w for the others
    kept = FIRST.abs() >= 0.6
    expected = torch.where(kept, FIRST, FIRST - 0.1 * 0.5 * 2 * FIRST).double()
    assert torch.allclose(bench.weight, expected, atol=1e-7)
    assert not bench.pruner.masks.synapses
    for _ in range(3):  # the cut comes at the end of the third epoch, half of the run of four
        bench.pruner.end_epoch()
    assert torch.equal(bench.weight != 0, kept)
    before = bench.weight.detach().clone()
    bench.step()
    assert torch.equal(bench.weight, before)  # no penalty any more


@pytest.mark.parametrize("method", HIDDEN)
@pytest.mark.parametrize(("spiking", "optimizer"), [(True, torch.optim.Adam), (False, torch.optim.SGD)])
def test_a_target_is_reached(*, spiking: bool, method: str, optimizer: Any) -> None:
    model = conv_snn() if spiking else conv_ann()
    shape = (3, 6, 2, 12, 12) if spiking else (6, 2, 12, 12)
    generator = torch.Generator().manual_seed(0)
    trains = optimizer(model.parameters(), 1e-3)
    with Pruner(model, torch.ones(shape), method, epochs=10, target=0.6) as pruner:
        for _ in range(10):
            for _ in range(3):
                trains.zero_grad()
                out = model(torch.poisson(torch.ones(shape), generator))
                (out.mean(0) if spiking else out).square().sum().backward()
                trains.step()
                pruner.step(trains)
                functional.reset_net(model)
            pruner.end_epoch()
    assert pruner.rates().synapses == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("method", HIDDEN)
def test_state_is_tensors_and_follows_the_last_cut(method: str) -> None:
    model, x = conv_ann(), torch.ones(6, 2, 12, 12)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Pruner(model, x, method, epochs=3) as pruner:
        if not pruner.method.permanent:
            pruner.clock.epoch = 2  # such methods are cut after the last decision
        for _ in range(2):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            pruner.step(optimizer)
        torch.load(_saved(pruner.state_dict()), weights_only=True)
        alive = torch.arange(20) >= 7
        pruner.masks.keep_units(pruner.topology.populations["8"], alive)
        pruner.masks.refresh()
        pruner.masks.apply(optimizer)
        pruner.compact(optimizer)
        shapes = {t.shape for t in pruner.method.state_dict()["8"].values() if t.ndim}
        assert shapes == {(13, 54)}
        assert model.get_parameter("8.weight").shape == (13, 54)


def _saved(state: dict[str, Any]) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (DeepR, {"alpha": -1.0}), (DeepR, {"temperature": -1.0}), (GradR, {"alpha": -1.0}),
        (STDS, {"growth": "cubic"}), (STDS, {"threshold": -0.1}), (ADMM, {"every": 0}),
        (ADMM, {"rho": -1.0}), (DeepR, {"target": None}),
    ],
)  # fmt: skip
def test_constants_that_cannot_be_are_refused(method: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least 0|one of|needs a target"):
        method(**wrong)
