"""Where a target goes: densities by shape or by sensitivity, one ranking of all layers, and how scores are
scaled."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from snnprune.common.errors import UserError
from snnprune.config.names import METHODS, options_of
from snnprune.methods import DPAP, Magnitude
from snnprune.network import discover
from snnprune.pruning import Candidates, Pruner, Target
from snnprune.pruning.distribution import SCOPES, Proportional, Sensitive
from snnprune.pruning.masks import Masks
from snnprune.pruning.normalisation import NORMALISATIONS, in_unit_range, lamp

AIMED = [name for name in METHODS if "target" in options_of(METHODS, "method", name)]
EVERYBODY = torch.ones(4, dtype=torch.bool)


def mlp(*sizes: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [part for pair in itertools.pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def spiking(*sizes: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [
        part
        for pair in itertools.pairwise(sizes)
        for part in (nn.Linear(*pair), neuron.IFNode(step_mode="m"))
    ]
    for linear in layers[::2]:
        nn.init.uniform_(linear.weight, -0.5, 1.0)  # so that every layer fires
    return nn.Sequential(*layers)


def held_out(model: nn.Module) -> float:
    return float(model(torch.linspace(-1, 1, 3 * 8).view(3, 8)).square().mean())


def trained(method: str, x: torch.Tensor, model: nn.Module, **options: Any) -> Pruner:
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    with warnings.catch_warnings(), Pruner(model, x, method, epochs=8, **options) as pruner:
        warnings.simplefilter("ignore")
        for _ in range(8):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
            pruner.step(optimizer)
            functional.reset_net(model)
            pruner.end_epoch()
    return pruner


# --- densities on paper


def test_erk_fills_small_layers_and_gives_the_rest_to_large_ones() -> None:
    # Of 100 x 10, 10 x 10 and an output of 10 x 1 that stays, 30 % of 1,110 are 333, and 323 of the two. ERK:
    # eps (100 + 10) and eps (10 + 10) synapses; eps = 323 / 130 = 2.48, which leaves 273.3 and 49.7 of 100.
    topology = discover(mlp(100, 10, 10, 1), torch.zeros(2, 100))
    plan = Target(0.7, structured=0.0, scope="erk", floor=0.0).plan(topology, neurons=False)
    assert plan.synapses == {"0": pytest.approx(323 / 130 * 0.11), "2": pytest.approx(323 / 130 * 0.2)}
    # 60 % of 1,110 are 666: 656 / 130 x 20 are more than the 100 of the small layer, which is full; 556 of
    # 1,000 are left to the other.
    plan = Target(0.4, structured=0.0, scope="erk", floor=0.0).plan(topology, neurons=False)
    assert plan.synapses == {"0": pytest.approx(0.556), "2": 1.0}


def test_kernels_count_in_the_density_of_a_convolution() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)
    )
    plan = Target(0.5, structured=0.0, scope="erk", floor=0.0).plan(
        discover(model, torch.zeros(1, 2, 3, 3)), neurons=False, convolutions=True
    )
    # (2 + 8 + 3 + 3) of 144 and (8 + 16) of 128 synapses.
    assert plan.synapses["0"] / plan.synapses["3"] == pytest.approx((16 / 144) / (24 / 128))


def test_units_and_synapses_have_the_density_of_erk_together() -> None:
    topology = discover(mlp(40, 20, 10, 2), torch.zeros(2, 40))
    plan = Target(0.5, structured=0.5, scope="erk", floor=0.0).plan(topology)
    assert plan.rate == pytest.approx(0.5, abs=0.02)
    # (20 + 40) / 800 against (10 + 20) / 200: the second layer keeps twice as much, the root of it by units.
    assert plan.units["2"] / 10 > plan.units["0"] / 20
    assert plan.synapses["2"] / plan.synapses["0"] == pytest.approx(2**0.5, rel=0.01)


def test_levels_leave_everything_at_0_and_nothing_at_1() -> None:
    own = Sensitive([0.5, 0.8], {"synapses/a": [0.1, 0.4], "synapses/b": [0.0, -0.1]})
    for distribution in (own, Proportional({"synapses/a": 3.0, "synapses/b": 1.0})):
        for key in ("synapses/a", "synapses/b", "synapses/c"):
            left = [distribution.left(key, level / 100) for level in range(101)]
            assert (left[0], left[-1]) == (1.0, 0.0)
            assert left == sorted(left, reverse=True)


def test_layers_give_until_their_loss_has_risen_by_the_same_amount() -> None:
    # At half of their synapses the losses have risen by 2 and by 1: where the first layer is at a half, so
    # that its rise is 2, the second is where its rise is 2, at a quarter. The slopes are smoothed by a
    # tenth of their mean.
    own = Sensitive([0.5, 0.75], {"synapses/a": [2.0, 4.0], "synapses/b": [1.0, 2.0]})
    level = next(n / 10_000 for n in range(10_000) if own.left("synapses/a", n / 10_000) <= 0.5)
    slope = 0.1 * (2.0 + 1.0) / 2
    assert own.left("synapses/b", level) == pytest.approx(0.5 ** ((2 + slope) / (1 + slope)), abs=1e-3)


def test_a_loss_that_falls_is_taken_for_one_that_does_not_rise() -> None:
    noisy = Sensitive([0.5, 0.75], {"a": [1.0, 0.2], "b": [3.0, 3.0]})
    steady = Sensitive([0.5, 0.75], {"a": [1.0, 1.0], "b": [3.0, 3.0]})
    assert noisy.left("a", 0.1) == pytest.approx(steady.left("a", 0.1))


# --- what a layer alone is worth, measured


def test_the_loss_is_measured_once_before_the_first_decision_and_changes_nothing() -> None:
    model, x = mlp(8, 12, 10, 2), torch.rand(16, 8)
    weights: list[torch.Tensor] = []
    looks: list[bool] = []

    def loss(network: nn.Module) -> float:
        assert not network.training
        looks.append(all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True)))
        return held_out(network)

    with Pruner(
        model, x, "magnitude", epochs=8, target=0.5, scope="sensitivity", held_out_loss=loss
    ) as pruner:
        for _ in range(3):
            model(x).square().mean().backward()
            pruner.step()
            weights = [p.detach().clone() for p in model.parameters()]
            seen = pruner.masks.all_alive()
            pruner.end_epoch()
            for p, before in zip(model.parameters(), weights, strict=True):
                assert not (p != before).any() or bool((p[p != before] == 0).all())
            assert all(bool((~seen[n] | seen[n]).all()) for n in seen)
    # The whole network, then two layers with three shares each, all in one epoch; the output is not pruned.
    assert looks == [True] + [False] * 6
    state = pruner.method.state_dict()["own"]["_extra_state"]["sensitivity"]
    assert {key: len(rises) for key, rises in state["rises"].items()} == {"synapses/0": 3, "synapses/2": 3}


def test_a_pruner_without_samples_that_are_held_out_says_so() -> None:
    with pytest.raises(UserError, match=r"scope 'sensitivity' .* held_out_loss="):
        Pruner(mlp(8, 12, 2), torch.rand(4, 8), epochs=8, scope="sensitivity")


def test_what_was_measured_survives_a_checkpoint() -> None:
    x = torch.rand(16, 8)
    options = {"scope": "sensitivity", "target": 0.5, "held_out_loss": held_out}
    one = trained("magnitude", x, mlp(8, 12, 10, 2), **options)
    other = Pruner(mlp(8, 12, 10, 2), x, "magnitude", epochs=8, **options)
    other.load_state_dict(one.state_dict())
    assert other.method.state_dict()["own"] == one.method.state_dict()["own"]
    plans = [pruner.method.plan(pruner._view({})) for pruner in (one, other)]
    assert plans[0] is not None
    assert plans[1] is not None
    assert plans[0].synapses == plans[1].synapses != {}


# --- every method


@pytest.mark.parametrize(
    ("method", "scope"), [(m, s) for m in AIMED for s in METHODS[m].load().scopes if s != "local"]
)
def test_a_target_is_reached_in_every_scope(method: str, scope: str) -> None:
    pairs = METHODS[method].load()(0.6).reads == "series"  # of spikes, which take time steps
    x = torch.poisson(torch.full((4, 16, 8), 0.7)) if pairs else torch.rand(16, 8)
    model = (spiking if pairs else mlp)(8, 30, 20, 2)
    held = held_out if scope == "sensitivity" else None
    pruner = trained(method, x, model, target=0.6, scope=scope, held_out_loss=held)
    # Where units die that are left without synapses, they come on top.
    assert 0.56 < pruner.rates().synapses < 0.75
    assert all(layer.left >= 0.02 * layer.dense for layer in pruner.rates().layers.values())


@pytest.mark.parametrize("method", AIMED)
def test_a_scope_that_a_method_does_not_take_is_refused(method: str) -> None:
    kind = METHODS[method].load()
    for scope in {*SCOPES, "here"} - {*kind.scopes}:
        with pytest.raises(ValueError, match="scope"):
            kind(scope=scope)


# --- scales


def test_lamp_on_paper() -> None:
    # Ascending 1, 2, 2, 3 squared: 1, 4, 4, 9; from each on 18, 17, 13, 9. Equal ones go in order.
    score = torch.tensor([2.0, 3.0, 1.0, 2.0])
    assert lamp(score, EVERYBODY).tolist() == pytest.approx([4 / 17, 1.0, 1 / 18, 4 / 13])
    assert lamp(score, torch.tensor([True, False, True, True])).tolist() == pytest.approx(
        [4 / 8, 0, 1 / 9, 1]
    )
    assert lamp(-score, EVERYBODY).tolist() == [0.0] * 4


def test_lamp_ranks_layers_of_different_widths() -> None:
    # 4 and 2 synapses of equal weights: LAMP scores 1/4, 1/3, 1/2, 1 and 1/2, 1. Three are to go: 1/4, 1/3
    # and the first of the two halves, that of the first layer. One of each layer always stays.
    masks = Masks(model := mlp(2, 2, 1, 1), discover(model, torch.zeros(2, 2)))
    found = [
        Candidates(
            f"synapses/{name}",
            "synapse",
            "linear",
            torch.ones(shape),
            torch.ones(shape).bool(),
            torch.ones(shape),
        )
        for name, shape in (("0", (2, 2)), ("2", (1, 2)))
    ]
    plan = Target(3 / 7, structured=0.0, scope="lamp", floor=0.0).plan(masks.topology, neurons=False)
    assert [c.to_go for c in plan.assign(found, masks, 1.0)] == [3, 0]


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_a_scale_keeps_the_order_of_scores(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    score, alive = torch.randn(50, generator=generator), torch.rand(50, generator=generator) < 0.8
    scaled = NORMALISATIONS[name](score, alive)  # type: ignore[index]
    assert scaled is not None
    ordered = scaled[alive][score[alive].argsort()]
    assert bool((ordered.diff() >= 0).all())
    u = in_unit_range(name, score, alive)  # type: ignore[arg-type]
    assert u is not None
    assert bool((u >= 0).all() and (u <= 1).all() and (u[~alive] == 0).all())


def test_scales_on_paper() -> None:
    score = torch.tensor([3.0, -4.0, 0.0, 9.0])
    alive = torch.tensor([True, True, True, False])
    for name, over in (("none", 1.0), ("norm", 5.0), ("mean", 7 / 3), ("sum", 7.0), ("max", 4.0)):
        scaled = NORMALISATIONS[name](score, alive)  # type: ignore[index]
        assert scaled is not None
        assert scaled[:3].tolist() == pytest.approx([3 / over, -4 / over, 0.0])


def test_one_argument_says_how_scores_are_scaled() -> None:
    method = DPAP(0.6, scope="global", normalisation="rank")
    assert method.rule.normalisation == method.target.normalisation == "rank"  # type: ignore[attr-defined, union-attr]
    target = Magnitude(0.6, scope="global", normalisation="mean").target
    assert target is not None
    assert target.scale("synapse", {"synapse"}) == "mean"
    assert Target(0.6).scale("synapse", {"synapse"}) == "none"
    assert Target(0.6).scale("neuron", {"synapse"}) == "norm"
    assert Target(0.6, scope="lamp").scale("neuron", {}) == "lamp"


@pytest.mark.parametrize("wrong", [{"normalisation": "median"}, {"normalisation": "rank", "scope": "lamp"}])
def test_a_scale_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="normalisation"):
        DPAP(**wrong)
