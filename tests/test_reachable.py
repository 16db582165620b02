"""What share can be pruned at most, and what is said of a target beyond it."""

from __future__ import annotations

import copy
import itertools
import re
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from snnprune import cli
from snnprune.common.errors import UserError
from snnprune.config.names import METHODS, options_of
from snnprune.config.slips import meant
from snnprune.network import discover
from snnprune.pruning import Method, Pruner, Target
from snnprune.pruning.reach import most
from snnprune.pruning.solver import Solver

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.network import Topology

AIMED = [name for name in METHODS if "target" in options_of(METHODS, "method", name)]


def mlp(*sizes: int) -> nn.Sequential:
    layers = [part for pair in itertools.pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def solver(topology: Topology, **options: Any) -> Solver:
    known = {"rate": 0.0, "structured": 0.5, "measure": "weights", "layers": {}, "floor": 0.0}
    what = {"neurons": True, "synapses": True, "convolutions": False}
    return Solver(topology, **(known | what | options))


def whole_first() -> Topology:
    """59 % of the weights in a layer that is kept whole: 590 of 1,000; then 400 and 10 x 1."""
    topology = discover(mlp(59, 10, 40, 1), torch.zeros(2, 59))
    topology.protect(["0"])
    return topology


# --- arithmetic: 10 x 59 = 590 kept whole, 40 x 10 = 400, 1 x 40 = 40 of the output; 1,030 in all


@pytest.mark.parametrize(
    ("options", "left"),
    [
        # One unit of 40, with one synapse; the output keeps that unit's synapse.
        ({}, 590 + 1 + 1),
        # Only one side of "2" loses units: 10 % of 40 are 4, with 4 synapses onto the output; 40 of 400 stay.
        ({"floor": 0.1}, 590 + 40 + 4),
        # Synapses alone: the output loses none.
        ({"neurons": False, "floor": 0.1}, 590 + 40 + 40),
        # Units alone: 4 of 40 units keep 10 synapses each.
        ({"synapses": False, "floor": 0.1}, 590 + 40 + 4),
        # A layer with its own share keeps that: half of 400, and the square root of half of its units.
        ({"layers": {"2": 0.5}, "floor": 0.1}, 590 + 28 * 10 * 0.5**0.5 + 28),
        ({"neurons": False, "layers": {"2": 0.5}}, 590 + 200 + 40),
    ],
)
def test_the_most_that_can_be_pruned_fits_on_paper(options: dict[str, Any], left: float) -> None:
    assert most(solver(whole_first(), **options)) == pytest.approx(1 - left / 1030)


def test_two_sides_that_lose_units_keep_the_root_of_the_floor() -> None:
    # "2" lies between 20 and 30 units that may go: a quarter of its synapses, half of the units of each side.
    topology = discover(mlp(8, 20, 30, 2), torch.zeros(2, 8))
    assert most(solver(topology, floor=0.25, synapses=False)) == pytest.approx(
        1 - (8 * 10 + 10 * 15 + 15 * 2) / (160 + 600 + 60)
    )
    assert solver(topology, floor=0.25).fewest_units == {"0": 10, "2": 15, "4": 2}
    # A quarter of "0" would be 40, and of "2" 150: now they may be any of those between the units.
    assert most(solver(topology, floor=0.25)) == pytest.approx(1 - (40 + 150 + 30) / 820)


def test_operations_are_counted_by_position() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
    )
    topology = discover(model, torch.zeros(1, 1, 4, 4))
    # 4 x 9 weights at 16 places, 2 x 4 x 9 at 4, 2 x 8 at 1; one channel of each layer stays, of 4 places.
    dense, least = 4 * 9 * 16 + 2 * 4 * 9 * 4 + 16, 9 * 16 + 9 * 4 + 2 * 4
    found = most(solver(topology, measure="macs", synapses=False))
    assert found == pytest.approx(1 - least / dense)
    with pytest.raises(
        UserError, match=r"target 0.99 of all multiply-accumulates cannot be reached: at most 0\.78"
    ):
        Target(0.99, measure="macs", floor=0).plan(topology)


# --- at the start, for every method


@pytest.mark.parametrize("scope", ["local", "global", "erk", "lamp"])
@pytest.mark.parametrize("method", AIMED)
def test_a_target_beyond_reach_is_refused_at_the_start(method: str, scope: str) -> None:
    model, x = mlp(59, 10, 40, 1), torch.rand(4, 59)
    if scope not in METHODS[method].load().scopes:
        return
    with pytest.raises(UserError) as said:
        Pruner(model, x, method, epochs=8, target=0.6, exclude="0", scope=scope)
    assert re.fullmatch(
        r"target 0\.6 of all weights cannot be reached: at most 0\.\d+ can be pruned, because layer '0' "
        r"\(57\.3% of the weights\) is kept whole \(it is excluded by '0'\); "
        r".*: lower the target, or free a layer",
        str(said.value),
    )
    assert not hooks(model)
    assert not any(weight.grad is not None for weight in model.parameters())


def test_what_is_named_as_the_most_is_allowed_and_a_thousandth_more_is_not() -> None:
    model, x = mlp(59, 10, 40, 1), torch.rand(4, 59)
    with pytest.raises(UserError) as said:
        Pruner(model, x, epochs=8, target=0.9, exclude="0")
    named = float(re.findall(r"at most (0\.\d+)", str(said.value))[0])
    Pruner(model, x, epochs=8, target=named, exclude="0").close()
    with pytest.raises(UserError, match="cannot be reached"):
        Pruner(model, x, epochs=8, target=named + 0.001, exclude="0")


def test_a_floor_that_alone_holds_a_target_back_is_said() -> None:
    topology = discover(mlp(50, 60, 60), torch.zeros(2, 50))
    topology.projections["2"].output = False  # as of a network whose last layer is followed by another one
    with pytest.raises(
        UserError, match=r"because every layer keeps at least 10.0% \(floor=0.1\): .*, or the floor"
    ):
        Target(0.95, floor=0.1).plan(topology, neurons=False)


@pytest.mark.parametrize("structured", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("method", ["dpap", "magnitude", "random"])
def test_the_most_is_reached_and_no_layer_falls_below_its_floor(
    method: str, scope: str, structured: float
) -> None:
    torch.manual_seed(0)
    model, x = mlp(20, 30, 20, 3), torch.rand(16, 20)
    target = most(solver(discover(model, x[:2]), floor=0.05))
    options = {"unit": "both"} if method != "dpap" else {}
    pruner = trained(
        model, x, method, target=target, floor=0.05, structured=structured, scope=scope, **options
    )
    # Units that hold the last synapses of a layer stay, and other synapses with them.
    assert pruner.rates().synapses == pytest.approx(target, abs=0.02)
    assert all(layer.left >= 0.05 * layer.dense for layer in pruner.rates().layers.values())


@pytest.mark.parametrize("method", ["deep-r", "admm"])
def test_methods_of_synapses_reach_their_most_too(method: str) -> None:
    torch.manual_seed(0)
    model, x = mlp(20, 30, 20, 3), torch.rand(16, 20)
    target = most(solver(discover(model, x[:2]), floor=0.02, neurons=False))
    assert trained(model, x, method, target=target).rates().synapses == pytest.approx(target)


def trained(model: nn.Module, x: torch.Tensor, method: str, **options: Any) -> Pruner:
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with warnings.catch_warnings(), Pruner(model, x, method, epochs=10, **options) as pruner:
        warnings.filterwarnings("error", message=".* are left, less than")
        for _ in range(10):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
            pruner.step(optimizer)
            pruner.end_epoch()
    return pruner


# --- shares of single layers


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ({"4": 0.5}, r"layer '4' cannot lose 0.5 .* \(it is the output of the network\)"),
        ({"0": 0.5}, r"layer '0' cannot lose 0.5 .* \(it is excluded by '0'\)"),
        ({"2": 0.9}, r"target 0.1 of all weights does not fit .* alone prune 0\.\d+ of the network: raise"),
        (
            {"2": 0.01},
            r"target 0.1 of all weights cannot be reached: .* layer '2' .* \(layers sets its share\)",
        ),
    ],
)
def test_shares_of_layers_that_cannot_be_given_are_refused(layers: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Target(0.1, layers=layers).plan(whole_first())


def test_the_share_of_a_layer_whose_units_stay_comes_from_its_synapses_alone() -> None:
    topology = discover(mlp(8, 20, 30, 2), torch.zeros(2, 8))
    topology.populations["2"].frozen = "for this test"
    assert Target(0.5, layers={"2": 0.5}).plan(topology).synapses["2"] == pytest.approx(0.5)


# --- a network that was cut before is asked when its state is there


def test_a_cut_network_goes_on_to_a_target_of_the_dense_one() -> None:
    torch.manual_seed(0)
    model, x = mlp(59, 10, 40, 1), torch.rand(16, 59)
    options: dict[str, Any] = {"epochs": 10, "target": 0.38, "exclude": "0", "structured": 1.0}
    first = Pruner(model, x, **options)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(8):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        first.step(optimizer)
        first.end_epoch()
    first.compact()
    state, small = first.state_dict(), copy.deepcopy(model)
    first.close()
    again = Pruner(small, x, **options)  # 38 % of what is left is more than can be pruned of it
    again.load_state_dict(state)
    small(x).square().mean().backward()
    again.step()
    again.end_epoch()
    assert again.rates().synapses == pytest.approx(0.38, abs=0.02)
    fresh = Pruner(copy.deepcopy(model), x, **options)  # without a state, the small network is the whole one
    fresh.model(x).square().mean().backward()
    with pytest.raises(UserError, match="cannot be reached"):
        fresh.step()


# --- hooks, folders, options


class Refusing(Method):
    def begin(self, view: Any) -> None:
        raise UserError("never")


def test_a_method_that_refuses_its_network_leaves_no_hook() -> None:
    model = mlp(4, 5, 2)
    with pytest.raises(UserError, match="never"):
        Pruner(model, torch.rand(2, 4), Refusing(), epochs=2)
    assert not hooks(model)


REFUSED = {
    "train --method.target 0.999 --train.epochs 6": "target 0.999 of all weights cannot be reached",
    "train --method.name bdnn-sp --method.options.train_epochs 5 --train.epochs 4": "at least 7 epochs",
    "train --method.options.tau 2": "cannot be made with method.options.tau 2: tau has to be above 0",
    "train --method.options.floor 1": "cannot be made with method.options.floor 1: floor is a share",
    "bench --methods dense,dpap,random --targets 0.5,0.999 --seeds 1": "dpap-0.999: target 0.999 of all",
}


@pytest.mark.parametrize(
    "words", [pytest.param(words, marks=pytest.mark.slow) if "bench" in words else words for words in REFUSED]
)
def test_a_refused_run_leaves_nothing_behind(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main([*words.split(), "--out", str(out)]) == cli.WRONG_INPUT
    assert REFUSED[words] in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_that_was_there_keeps_what_it_held(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert cli.main(["train", "--method.target", "0.999", "--out", str(out)]) == cli.WRONG_INPUT
    assert out.exists()


@pytest.mark.parametrize(
    ("word", "known", "name"),
    [
        ("tua", ["tau", "eta"], "tau"),
        ("theta", ["tau", "eta"], None),
        ("sparsity", ["start", "scope"], None),
        ("growth", ["growth_conv", "gamma"], "growth_conv"),
        ("epochs", ["train_epochs"], "train_epochs"),
        ("--method.rate", ["--method.name"], None),
        ("--train.epoch", ["--train.epochs"], "--train.epochs"),
        ("--epochs", ["--train.epochs"], "--train.epochs"),
        ("dpab", ["dpap", "bsp"], "dpap"),
    ],
)
def test_a_slip_is_told_from_another_word(word: str, known: list[str], name: str | None) -> None:
    assert meant(word, known) == name


def test_without_a_target_the_usual_one_is_taken_of_what_can_be_pruned() -> None:
    """Half of the weights lie in a layer that is kept whole: 60 % of the rest, not 60 % of all."""
    model = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 2))
    x = torch.rand(4, 40)
    with pytest.warns(UserWarning, match="no target was given, and target 0.6 .* is taken, 60% of what can"):
        pruner = Pruner(model, x, "dpap", epochs=6, exclude="0")
    pruner.close()
    assert pruner.method.target is not None
    assert 0.29 < pruner.method.target.rate < 0.31  # of at most a little more than one half
    with pytest.raises(UserError, match="cannot be reached"):
        Pruner(model, x, "dpap", epochs=6, exclude="0", target=0.6)


def test_the_old_name_of_the_survivors_says_the_new_one() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    pruner = Pruner(model, torch.rand(4, 4), "magnitude", epochs=6)
    with pytest.warns(DeprecationWarning, match=r"Pruner\.survivors"):
        assert pruner.kept is pruner.survivors
    pruner.close()
