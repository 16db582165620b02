"""Methods are classes with keyword arguments, and a name is the same thing as its class."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.config import signature
from snnprune.config.names import METHODS
from snnprune.methods.dpap import BCM, DPAP
from snnprune.methods.hebb import HebbCriterion
from snnprune.methods.magnitude import MagnitudeCriterion
from snnprune.pruning import Method, Pruner
from support.families import FAMILIES
from support.loops import Loop

if TYPE_CHECKING:
    from collections.abc import Callable

OLD = Path(__file__).parent / "fixtures/v0.1/methods"


def pruner_of(method: str | Method, **options: Any) -> Pruner:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
    return Pruner(model, torch.rand(2, 8), method, epochs=10, **options)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_name_stands_for_a_class(name: str) -> None:
    method = METHODS[name].load()
    assert issubclass(method, Method)
    assert method is Method or getattr(snnprune.methods, method.__name__) is method


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_constant_has_a_name_a_type_and_a_default_and_is_explained(name: str) -> None:
    method = METHODS[name].load()
    for place, option in enumerate(inspect.signature(method).parameters.values()):
        kinds = (option.KEYWORD_ONLY, option.VAR_KEYWORD)
        assert option.kind in kinds or (place == 0 and option.name in {"target", "share"})
    for option in signature.options(method).values():
        assert not option.is_needed
        assert option.meaning, f"{method.__name__} does not explain {option.name}"
        if option.kind is None:  # else the command line reads text as this type has it
            assert option.name in {"layers", "criterion", "p_r", "p_c"}, option.name


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_name_with_options_is_its_class_with_arguments(name: str) -> None:
    method = METHODS[name].load()
    options = {"target": 0.3} if "target" in inspect.signature(method).parameters else {}
    named, made = pruner_of(name, **options), pruner_of(method(**options))
    assert type(named.method) is type(made.method)
    assert named.state_dict()["identity"] == made.state_dict()["identity"]


@pytest.mark.parametrize("name", sorted(path.stem for path in OLD.glob("*.pt")))
def test_a_state_of_version_0_1_is_that_of_its_method(name: str) -> None:
    saved = torch.load(OLD / f"{name}.pt", weights_only=True)
    loop = Loop(FAMILIES["four layers"], "m", name, epochs=7, **saved["options"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop.pruner.load_state_dict(saved["at"]["pruner"])
    other = "magnitude" if name != "magnitude" else "dpap"
    stranger = Loop(FAMILIES["four layers"], "m", other, epochs=7)
    with pytest.raises(UserError, match="the state is of another method"):
        stranger.pruner.load_state_dict(saved["at"]["pruner"])


@pytest.mark.parametrize(("method", "said"), [("magnitude", False), ("dpap", True)])
def test_a_share_of_units_that_divides_nothing_tells_no_methods_apart(method: str, said: bool) -> None:
    """Runs of earlier versions gave it to every method."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = pruner_of(method, structured=0.5).state_dict()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pruner_of(method).load_state_dict(saved)
    assert any("structured 0.5 (here 0.25)" in str(each.message) for each in told) is said


def scored_by_weight(tau: float) -> MagnitudeCriterion:
    return MagnitudeCriterion()


@pytest.mark.parametrize(
    ("criterion", "kind", "tau"),
    [
        (None, BCM, 0.25),
        (HebbCriterion, HebbCriterion, 0.25),
        (HebbCriterion(0.75), HebbCriterion, 0.75),
        (scored_by_weight, MagnitudeCriterion, 0.5),
    ],
)
def test_a_criterion_is_swapped_by_its_class_an_object_or_a_function(
    criterion: Any, kind: type, tau: float
) -> None:
    method = DPAP(criterion=criterion, tau=0.25)
    assert type(method.criterion) is kind
    assert method.tau == tau


@pytest.mark.parametrize("criterion", [snnprune.methods.Hebb, lambda tau: tau, "hebb"])
def test_what_makes_no_criterion_is_refused(criterion: Callable[[float], Any]) -> None:
    with pytest.raises(TypeError, match=r"makes one from tau, came (<snnprune.*Hebb|0\.5|'hebb')"):
        DPAP(criterion=criterion)
    with pytest.raises(
        UserError, match="criterion must be a Criterion, or a class or function that makes one from tau"
    ):
        pruner_of("dpap", criterion=criterion)


def test_lamp_keeps_the_weights_with_the_largest_scores_of_all_layers() -> None:
    """score = w^2 / sum of w'^2 over the weights of its layer that are not smaller; the output is whole."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 2)
    ).double()
    model[0].weight.data.mul_(5)  # another scale changes nothing
    layers, scores = (model[0], model[2]), []
    for each in layers:
        squares = each.weight.detach().flatten().square()
        order = squares.argsort()
        tail = squares[order].flip(0).cumsum(0).flip(0)
        scores.append(torch.empty_like(squares).scatter_(0, order, squares[order] / tail))
    x = torch.rand(4, 9, dtype=torch.float64)
    with Pruner(model, x, "lamp", epochs=4, target=0.6, schedule="one-shot", finish=1, floor=0.0) as pruner:
        model(x).sum().backward()
        pruner.step()
        pruner.end_epoch()
        model(x).sum().backward()
        pruner.step()
        pruner.end_epoch()
    left = [each.weight.detach().flatten() != 0 for each in layers]
    gone = sum(int((~each).sum()) for each in left)
    assert gone == round(0.6 * (9 * 12 + 12 * 10 + 10 * 2))
    cut = torch.cat(scores).sort().values[gone]
    assert all(torch.equal(kept, score >= cut) for kept, score in zip(left, scores, strict=True))
    assert left[0].float().mean() != left[1].float().mean()
