"""The floor of every layer, and what a loop is told of layers that hold too little, or never fire."""

from __future__ import annotations

import copy
import itertools
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from snnprune.common.errors import UserError
from snnprune.config.names import METHODS, options_of
from snnprune.network import discover, firing
from snnprune.pruning import Candidates, Decision, Masks, Method, Pruner, Target
from snnprune.pruning.keeping import keep_fewest

if TYPE_CHECKING:
    from collections.abc import Iterator

AIMED = [name for name in METHODS if "target" in options_of(METHODS, "method", name)]


def mlp(*sizes: int) -> nn.Sequential:
    layers = [part for pair in itertools.pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def said() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield heard


def sentences(said: list[warnings.WarningMessage]) -> list[str]:
    return [str(each.message) for each in said]


def train(pruner: Pruner, x: torch.Tensor, epochs: int) -> None:
    for _ in range(epochs):
        pruner.model(x).square().mean().backward()
        pruner.step()
        pruner.end_epoch()


# --- what is solved


@pytest.mark.parametrize("method", AIMED)
def test_every_method_takes_a_floor_and_no_layer_falls_below_it(method: str) -> None:
    # The layers differ in size by fifteen, and 85 % is all but the most that a floor of 8 % allows.
    model, x = mlp(30, 40, 4, 40, 2), torch.rand(16, 30)
    both = {"unit": "both"} if "unit" in options_of(METHODS, "method", method) else {}  # units alone: 73 %
    pruner = Pruner(model, x, method, epochs=8, target=0.85, floor=0.08, **both)
    assert pruner.method.target is not None
    assert pruner.method.target.floor == 0.08
    plan = pruner.method.plan(pruner._view({}))
    assert plan is not None
    for p in pruner.topology.projections.values():
        left = plan.solver.left(p, plan.units, plan.synapses.get(p.name))
        assert left >= 0.08 * p.shape[0] * p.shape[1] - 1e-6
    assert plan.solver.cost(plan.units, plan.synapses) == pytest.approx(plan.solver.wanted, rel=0.01)


def test_what_a_layer_with_its_fewest_does_not_give_the_others_give() -> None:
    # 100 x 10 and 10 x 10 weights may go, 10 x 1 stay: of 1,110, half are 555, 545 of the 1,100.
    topology = discover(mlp(100, 10, 10, 1), torch.zeros(2, 100))
    plan = Target(0.5, structured=0.0).plan(topology, neurons=False)
    assert plan.synapses == {"0": pytest.approx(545 / 1100), "2": pytest.approx(545 / 1100)}
    # At least 49.5 % of 100 are 50, so 495 are left of the 1,000.
    plan = Target(0.5, structured=0.0, floor=0.495).plan(topology, neurons=False)
    assert plan.synapses == {"0": pytest.approx(0.495), "2": pytest.approx(0.5)}
    # A layer with a share of its own is asked for that alone.
    plan = Target(0.6, structured=0.0, floor=0.3, layers={"2": 0.9}).plan(topology, neurons=False)
    assert plan.synapses == {"0": pytest.approx((444 - 10 - 10) / 1000), "2": pytest.approx(0.1)}


def test_a_wide_layer_gives_for_a_narrow_one() -> None:
    # Units alone, 2 x 3, 3 x 50 and 50 x 2 weights: half of 256 are left by 1.9 and 31.8 units. The root of
    # the floor is 55 %, which is 2 of 3: 4 + (100 + 100) x are 128 with x = 62 % of 50 units.
    topology = discover(mlp(2, 3, 50, 2), torch.zeros(2, 2))
    plan = Target(0.5, structured=1.0, floor=0.3).plan(topology, synapses=False)
    assert plan.solver.fewest_units == {"0": 2, "2": 28, "4": 2}
    assert plan.units == {"0": 2, "2": 31, "4": 2}
    assert Target(0.5, structured=1.0).plan(topology, synapses=False).units["2"] == 32


@pytest.mark.parametrize("wrong", [-0.1, 1.0])
def test_a_floor_outside_its_range_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="floor is a share in"):
        Target(0.5, floor=wrong)


# --- what is decided


def decided(alive: torch.Tensor, units: list[bool], fewest: int) -> tuple[Decision, Masks]:
    """Return a decision that leaves ``units`` of the four of "0", and of the layer behind them ``alive``."""
    model = mlp(3, 4, 5, 2)
    masks = Masks(model, discover(model, torch.zeros(2, 3)))
    before = torch.ones(5, 4, dtype=torch.bool)
    score = torch.arange(20.0).view(5, 4)
    candidates = [
        Candidates("synapses/2", "synapse", "linear", score, before, score),
        Candidates("neurons/0", "neuron", "linear", torch.arange(4.0), before[0], torch.ones(4)),
    ]
    decision = Decision(units={"0": torch.tensor(units)}, synapses={"2": alive.clone()})
    keep_fewest(decision, candidates, {"synapses/2": fewest, "neurons/0": 1}, masks)
    return decision, masks


def test_the_best_synapses_come_back_between_units_that_stay() -> None:
    decision, _ = decided(torch.zeros(5, 4, dtype=torch.bool), [True, True, False, False], fewest=3)
    # Scores count row by row; of the columns 0 and 1 the highest are 17, 16 and 13.
    assert decision.synapses["2"].nonzero().tolist() == [[3, 1], [4, 0], [4, 1]]
    assert decision.units["0"].tolist() == [True, True, False, False]


def test_units_come_back_where_those_that_stay_have_too_few_synapses() -> None:
    decision, _ = decided(torch.ones(5, 4, dtype=torch.bool), [True, False, False, False], fewest=8)
    assert decision.units["0"].tolist() in ([True, True, False, False], [True, False, False, True])
    assert bool(decision.synapses["2"].all())


def test_an_emptied_population_keeps_its_best_unit() -> None:
    decision, _ = decided(torch.ones(5, 4, dtype=torch.bool), [False] * 4, fewest=1)
    assert decision.units["0"].tolist() == [False, False, False, True]


# --- what is said


class Leaves(Method):
    """Leaves so many synapses of a layer, and so many units of a population."""

    def __init__(self, synapses: int, units: int) -> None:
        self.synapses, self.units = synapses, units

    def end_epoch(self, view: Any, metrics: Any) -> Decision:
        shape = view.topology.projections["0"].shape
        alive = (torch.arange(shape[0] * shape[1]) < self.synapses).view(shape)
        units = torch.arange(view.topology.populations["2"].size) < self.units
        return Decision(units={"2": units}, synapses={"0": alive})


@pytest.mark.parametrize(
    ("synapses", "units", "expected"),
    [
        (19, 400, "only 19 of 4,000 weights of layer '0' are left, less than 0.5%"),
        (20, 400, None),
        (
            4000,
            1,
            "only 100 of 40,000 weights of layer '2', 100 of 40,000 weights of layer '4', 1 of 400 units of "
            "population '2' are left, less than 0.5%",
        ),
    ],
)
def test_a_layer_below_the_floor_is_named_once(
    synapses: int, units: int, expected: str | None, said: list[warnings.WarningMessage]
) -> None:
    x = torch.rand(4, 40)
    train(Pruner(mlp(40, 100, 400, 100), x, Leaves(synapses, units), epochs=3), x, 3)
    found = [each.partition(":")[0] for each in sentences(said) if "are left" in each]
    assert found == ([] if expected is None else [expected])


class Mute(nn.Module):
    """Passes nothing on if ``mute``."""

    def __init__(self, *, mute: bool) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 2)
        self.relu = nn.ReLU()
        if mute:
            nn.init.constant_(self.fc1.bias, -100.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.relu(self.fc1(x)))


@pytest.mark.parametrize("mute", [True, False])
def test_dead_relus_are_named_in_the_words_of_a_run(mute: bool, said: list[warnings.WarningMessage]) -> None:
    model, x = Mute(mute=mute), torch.rand(8, 4)
    train(Pruner(model, x, "dpap", epochs=20, target=0.2), x, 3)
    expected = [str(each) for each in firing.check(model, x) if each.state == "silent"]
    assert len(expected) == mute
    assert [each for each in sentences(said) if "is silent" in each] == expected


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (1e6, "layer 4 is silent (0.00% of its outputs are active)"),
        (-1e6, "layer 4 is saturated (100.0% of its outputs are active)"),
        (1.0, None),
    ],
)
@pytest.mark.parametrize("method", ["dpap", "stdp", "magnitude", "deep-r", "bsp"])
def test_spiking_neurons_that_never_or_always_fire_are_named_once(
    method: str, threshold: float, expected: str | None, said: list[warnings.WarningMessage]
) -> None:
    model = nn.Sequential(
        layer.Conv2d(1, 4, 3, step_mode="m"),
        neuron.LIFNode(step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.Linear(64, 5, step_mode="m"),
        neuron.IFNode(step_mode="m", v_threshold=threshold, v_reset=None),
        layer.Linear(5, 2, step_mode="m"),
    )
    model[0].weight.data.fill_(1.0)
    model[3].weight.data.fill_(0.05)
    x = torch.ones(3, 2, 1, 6, 6)
    x[0] = 0.0
    pruner = Pruner(model, x, method, epochs=20)
    for _ in range(3):
        model(x).mean().backward()
        functional.reset_net(model)
        pruner.step()
        pruner.end_epoch()
    found = [each.partition(",")[0] for each in sentences(said) if each.startswith("layer 4 is")]
    assert found == ([] if expected is None else [expected])


@pytest.mark.parametrize("pruned", [True, False])
def test_a_layer_that_falls_silent_after_pruning_is_named_again(
    pruned: bool, said: list[warnings.WarningMessage]
) -> None:
    """It is silent at first, learns to fire, and is silenced; the advice is then another one."""
    model, x = Mute(mute=True), torch.rand(8, 4)
    pruner = Pruner(model, x, "magnitude", epochs=20, target=0.5, start=2 if pruned else 15, finish=16)
    for bias in (-100.0, 1.0, 1.0, 1.0, -100.0, -100.0):
        model.fc1.bias.data.fill_(bias)
        model(x).mean().backward()
        pruner.step()
        pruner.end_epoch()
    told = [each.partition(":")[2] for each in sentences(said) if "is silent" in each]
    assert ["initial weights" in told[0], len(told)] == [True, 1 + pruned]
    assert all("prune less" in each for each in told[1:])


def test_what_is_pruned_does_not_count_as_silent(said: list[warnings.WarningMessage]) -> None:
    # One of 2,000 units is alive, and fires in half of its outputs: 0.025 % of all.
    model, x = mlp(2, 2000, 2000, 2), torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    model[0].weight.data.fill_(1.0)
    model[0].bias.data.fill_(0.0)
    pruner = Pruner(model, x, Leaves(4000, 2000), epochs=5)
    pruner.masks.keep_units(pruner.topology.populations["0"], torch.arange(2000) < 1)
    pruner.masks.refresh()
    pruner.masks.apply()
    train(pruner, x, 1)
    assert not [each for each in sentences(said) if each.startswith("layer 1 is")]


# --- a loop that is longer than it said, and two pruners


def test_an_epoch_beyond_the_last_is_said_once(said: list[warnings.WarningMessage]) -> None:
    x = torch.rand(8, 4)
    pruner = Pruner(mlp(4, 30, 2), x, "magnitude", epochs=5, target=0.5)
    train(pruner, x, 5)
    assert not said
    train(pruner, x, 2)
    (found,) = sentences(said)
    assert found.startswith("an epoch ended beyond the 5 that the pruner was made for")


def test_two_pruners_of_one_network_are_refused_at_the_first_step_of_the_second() -> None:
    model, x = mlp(4, 30, 2), torch.rand(8, 4)
    first, second = (Pruner(model, x, name, epochs=5) for name in ("magnitude", "random"))
    first.step()
    with pytest.raises(
        UserError, match=r"another open Pruner \('magnitude'\) prunes weights of this Sequential"
    ):
        second.step()
    first.close()
    second.step()
    second.close()


def test_a_part_of_a_network_is_the_network_too_and_a_copy_is_not() -> None:
    model, x = mlp(4, 30, 30, 2), torch.rand(8, 4)
    whole = Pruner(model, x, epochs=5)
    whole.step()
    with pytest.raises(UserError, match="another open Pruner"):
        Pruner(model[2:], torch.rand(8, 30), "magnitude", epochs=5).step()
    copy.deepcopy(whole).step()
    Pruner(copy.deepcopy(model), x, epochs=5).step()


def test_a_pruner_that_is_no_more_or_that_failed_claims_nothing() -> None:
    model, x = mlp(4, 30, 2), torch.rand(8, 4)
    Pruner(model, x, epochs=5).step()  # and nobody keeps it

    def broken() -> None:
        with Pruner(model, x, epochs=5) as pruner:
            pruner.step()
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    Pruner(model, x, "magnitude", epochs=5).step()


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("magnitude", {}, "prunes only synapses; unit='both' prunes both"),
        ("weight-trace", {"unit": "neurons"}, "prunes only units; unit='both' prunes both"),
        ("dpap", {"synapses": False}, "prunes only units"),
        ("magnitude", {"unit": "both"}, None),
        ("dpap", {}, None),
    ],
)
def test_a_share_of_units_without_effect_is_named(
    method: str, options: dict[str, Any], expected: str | None, said: list[warnings.WarningMessage]
) -> None:
    x = torch.rand(4, 40)
    with Pruner(mlp(40, 100, 100), x, method, epochs=3, target=0.2, structured=0.9, **options):
        pass
    found = [each for each in sentences(said) if "structured=0.9 has no effect" in each]
    assert found == [] if expected is None else [each.endswith(expected) for each in found] == [True]
