"""A cut happens whole or not at all, whatever holds a tensor of the network and whoever asks for the cut."""

from __future__ import annotations

import copy
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import snnprune
from snnprune.common.errors import CompactionError, UserError
from snnprune.network.axes import tensors_in
from snnprune.pruning import Decision, Method, Pruner, View
from snnprune.pruning.compaction.shapes import conform
from snnprune.pruning.compaction.survivors import survivors_of
from support.families import FAMILIES
from support.loops import Loop, through_a_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

REFUSED = "cannot change its shape, since .* still refers to it: evaluate under torch.no_grad"
STOP, END = 8, 10
OPTIONS: dict[str, Any] = {"epochs": 16, "target": 0.7}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def loop(**options: Any) -> Loop:
    torch.manual_seed(0)
    return Loop(FAMILIES["four layers"], "m", "dpap", **{**OPTIONS, **options})


def resumed(state: dict[str, Any], **options: Any) -> Loop:
    return loop(**options).load(copy.deepcopy(state))  # optimisers take the tensors of a state for their own


@pytest.fixture(scope="module")
def masked() -> dict[str, Any]:
    """Return the state of a run with dead units, none of which is cut out yet."""
    return loop().epochs(0, STOP, 2).state()


@pytest.fixture(scope="module")
def small(masked: dict[str, Any]) -> dict[str, Any]:
    """Return the state of the same run, cut."""
    run = resumed(masked)
    run.pruner.compact(run.optimizer)
    return run.state()


# --- who holds a tensor


def scores(run: Loop) -> Tensor:
    """Return what the network answers, with its graph, which the states of its neurons hold as well."""
    run.model.eval()
    out = tensors_in(run.forward(run.x))[0]
    run.model.train()
    return out


HOLDERS: dict[str, Callable[[Loop], object]] = {
    "scores of an evaluation without no_grad": scores,
    "the graph of a loss": lambda run: scores(run).square().sum(),
    "a weak reference to a weight": lambda run: weakref.ref(run.model.get_parameter("9.weight")),
    "a weak reference to a buffer": lambda run: weakref.ref(run.model.get_buffer("5.running_mean")),
    "a view": lambda run: run.model.get_parameter("4.weight")[:1],
}


# --- who asks


def by_hand(run: Loop, small: dict[str, Any]) -> None:
    with pytest.raises(CompactionError, match=REFUSED):
        run.pruner.compact(run.optimizer)


def without_a_pruner(run: Loop, small: dict[str, Any]) -> None:
    with pytest.raises(CompactionError, match=REFUSED):
        snnprune.compact(run.model, run.pruner.masks, inplace=True, optimizer=run.optimizer)


def inheriting(run: Loop, small: dict[str, Any]) -> None:
    with pytest.raises(CompactionError, match=REFUSED):
        run.pruner.inherit(small["pruner"])


def loading(run: Loop, small: dict[str, Any]) -> None:
    with pytest.raises(CompactionError, match=REFUSED):
        run.pruner.load_state_dict(small["pruner"])


def conforming(run: Loop, small: dict[str, Any]) -> None:
    with pytest.raises(CompactionError, match=REFUSED):
        conform(run.model, small["model"])


ASKED = {
    "Pruner.compact": by_hand,
    "compact": without_a_pruner,
    "inherit": inheriting,
    "load_state_dict": loading,
    "conform": conforming,
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_cut_that_is_refused_leaves_everything_as_it_was(
    masked: dict[str, Any], small: dict[str, Any], holder: str, asked: str
) -> None:
    run, twin = resumed(masked), resumed(masked)
    for each in (run, twin):
        each.step(STOP, 0)  # gradients and moments
    held = HOLDERS[holder](run), HOLDERS[holder](twin)
    before = everything(run)
    ASKED[asked](run, small)
    assert_same(everything(run), before)
    for each in (run, twin):
        reset(each)
        each.epochs(STOP, END, 2)
    assert_same(everything(run), everything(twin))
    assert len(held) == 2  # until here
    del held
    run.pruner.compact(run.optimizer)
    assert len(run.pruner.survivors["9"]) < 20


@pytest.mark.parametrize("holder", HOLDERS)
def test_training_goes_on_with_masks_and_is_cut_the_next_time(masked: dict[str, Any], holder: str) -> None:
    run, twin = resumed(masked, compact_every=1), resumed(masked)
    held = HOLDERS[holder](run), HOLDERS[holder](twin)
    for each in (run, twin):
        reset(each)
    with pytest.warns(UserWarning, match=REFUSED + ".*training goes on with masks"):
        run.epochs(STOP, STOP + 1, 2)
    twin.epochs(STOP, STOP + 1, 2)
    assert_same(everything(run), everything(twin))
    del held
    run.epochs(STOP + 1, END, 2)
    assert run.sizes[0] > run.sizes[1]


def test_what_ends_before_the_cut_holds_nothing(masked: dict[str, Any]) -> None:
    run = resumed(masked)
    scores(run)  # forgotten, but for the states of the neurons
    circle: list[Any] = [scores(run)]
    circle.append(circle)
    del circle
    run.pruner.compact(run.optimizer)
    run.epochs(STOP, END, 2)


def test_a_parameter_in_two_optimisers_is_cut_in_both(masked: dict[str, Any]) -> None:
    run = resumed(masked)
    other = torch.optim.SGD(run.model.parameters(), 1e-3, momentum=0.9)
    run.step(STOP, 0)
    other.step()
    run.pruner.step(other)
    run.pruner.compact()
    for optimizer in (run.optimizer, other):
        for parameter in run.model.parameters():
            state = optimizer.state[parameter].values()
            assert all(t.shape == parameter.shape for t in state if isinstance(t, torch.Tensor) and t.ndim)
    run.step(STOP, 1)
    other.step()


def test_hooks_and_attributes_of_parameters_outlive_a_cut(masked: dict[str, Any]) -> None:
    run, seen = resumed(masked), []
    weight = run.model.get_parameter("4.weight")
    weight.register_hook(lambda gradient: seen.append("gradient") or gradient.clamp(-1e-6, 1e-6))
    last = weight.register_post_accumulate_grad_hook(lambda _: seen.append("gathered"))
    weight.no_decay = True  # type: ignore[attr-defined]
    run.pruner.compact(run.optimizer)
    run.step(STOP, 0)
    assert seen == ["gradient", "gathered"]
    assert weight.grad is not None
    assert weight.grad.abs().max() <= 1e-6
    assert weight.no_decay  # type: ignore[attr-defined]
    last.remove()
    run.step(STOP, 1)
    assert seen == ["gradient", "gathered", "gradient"]


# --- states that do not fit


@pytest.mark.parametrize("part", ["clock", "method", "criterion", "units", "synapses"])
def test_a_state_that_is_refused_leaves_everything_as_it_was(
    masked: dict[str, Any], small: dict[str, Any], part: str
) -> None:
    run, twin = resumed(masked), resumed(masked)
    before = everything(run)
    state = {**small["pruner"], "masks": dict(small["pruner"]["masks"])}
    if part in state:
        del state[part]
    elif part == "criterion":
        state["method"] = {"rule": state["method"]["rule"]}
    else:
        state["masks"][part] = {**state["masks"][part], "9": torch.ones(3, 2, dtype=torch.bool)}
    with pytest.raises((UserError, ValueError), match=r"state of a pruner|of another network"):
        run.pruner.load_state_dict(state)
    assert_same(everything(run), before)
    assert_same(everything(run.epochs(STOP, END, 2)), everything(twin.epochs(STOP, END, 2)))


class Own(Method):
    """Keeps tensors in a way of its own, and says itself how they follow a cut, one by one."""

    def __init__(self) -> None:
        self.last = {"0": torch.arange(6.0), "3": torch.arange(2.0)}
        self.sizes = [6, 2]

    def shrink(self, cut: Any) -> None:
        for i, name in enumerate(self.last):
            self.last[name] = self.last[name][cut.post(name)]
            self.sizes[i] = len(self.last[name])
        if self.sizes[0] < 3:
            raise CompactionError("at least three of these have to stay")


@pytest.mark.parametrize("left", [2, 4])
def test_a_method_with_a_shrink_of_its_own_is_as_it_was_too(left: int) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    pruner = Pruner(model, torch.rand(8, 4), Own(), epochs=6)
    pruner.masks.keep_units(pruner.topology.populations["0"], torch.arange(6) < left)
    held = weakref.ref(model[3].weight)
    with pytest.raises(CompactionError, match=REFUSED if left == 4 else "at least three"):
        pruner.compact()
    assert pruner.method.last["0"].tolist() == [0, 1, 2, 3, 4, 5]  # type: ignore[attr-defined]
    assert pruner.method.sizes == [6, 2]  # type: ignore[attr-defined]
    assert model[0].out_features == 6
    assert held() is model[3].weight


# --- going back


class Returning(Method):
    """Cuts after the first epoch, and goes back to the network before the cut after the third."""

    axes = {"seen": ("post",)}  # noqa: RUF012

    def end_epoch(self, view: View, metrics: Any) -> Decision:
        self.state = (
            {} if view.clock.epoch == 2 else {"0": {"seen": torch.ones(view.topology.populations["0"].size)}}
        )
        if view.clock.epoch == 2:
            return Decision(restore=True, finished=True)
        if view.clock.epoch == 1:
            return Decision()
        return Decision({"0": torch.arange(6) % 2 == 0}, snapshot=True)


def returning() -> tuple[nn.Module, Pruner, Callable[[int], None]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    x, optimizer = torch.rand(8, 4), torch.optim.Adam(model.parameters(), 0.01)
    pruner = Pruner(model, x, Returning(), epochs=6, compact_every=1)

    def batches(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            pruner.step(optimizer)

    return model, pruner, batches


def test_going_back_is_refused_whole_and_can_be_asked_for_again() -> None:
    runs = [returning() for _ in range(2)]
    for model, pruner, batches in runs:
        for _ in range(2):
            batches(2)
            pruner.end_epoch()
        batches(2)
        assert model[0].out_features == 3  # type: ignore[index]
    (model, pruner, batches), (other, twin, _) = runs
    held = weakref.ref(model[1].running_var)  # type: ignore[index]
    before = (through_a_file(model=model, pruner=pruner), [p.grad for p in model.parameters()])
    with pytest.raises(CompactionError, match=REFUSED):
        pruner.end_epoch()
    assert_same((through_a_file(model=model, pruner=pruner), [p.grad for p in model.parameters()]), before)
    del held
    for each in (pruner, twin):
        each.end_epoch()
    assert pruner.returned_to == twin.returned_to == 0
    assert model[0].out_features == model[1].num_features == 6  # type: ignore[index]
    assert_same(through_a_file(model=model, pruner=pruner), through_a_file(model=other, pruner=twin))
    batches(2)


# --- what is compared


def reset(run: Loop) -> None:
    from spikingjelly.activation_based import functional

    functional.reset_net(run.model)


def everything(run: Loop) -> dict[str, Any]:
    """Return copies of all that a cut touches."""
    parameters = dict(run.model.named_parameters())
    return {
        "tensors": {k: t.detach().clone() for k, t in run.model.state_dict().items()},
        "gradients": {k: None if p.grad is None else p.grad.clone() for k, p in parameters.items()},
        "states": {
            f"{name}.{key}": value.detach().clone() if isinstance(value, torch.Tensor) else value
            for name, module in run.model.named_modules()
            for key, value in getattr(module, "_memories", {}).items()
        },
        "sizes": [repr(module) for module in run.model.modules()],
        "topology": repr(run.pruner.topology),
        "dense": repr(run.pruner.dense),
        "carried": survivors_of(run.model).state_dict(),
        "alive": run.alive(),
    } | through_a_file(optimizer=run.optimizer, pruner=run.pruner)


def assert_same(a: Any, b: Any, place: str = "") -> None:
    """Compare nested values bit for bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key, value in a.items():
            assert_same(value, b[key], f"{place}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), place
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_same(one, other, f"{place}/{i}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a.isnan(), b.isnan()), place
        assert torch.equal(a.nan_to_num(), b.nan_to_num()), place
    else:
        assert a == b, place
