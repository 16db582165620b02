"""Growth: who comes to life, with which weights, moments and synapses, and what a run begins with."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from snnprune.common.errors import CompactionError
from snnprune.network import discover
from snnprune.pruning import Born, Decision, Method, Pruner
from snnprune.pruning.growth import STARTS
from snnprune.training.callbacks.pruning import PruningCallback
from support.tasks import Classifier, trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from snnprune.pruning import Clock, View

pytestmark = pytest.mark.filterwarnings("ignore:an epoch ended and the pruner saw no batch")

X = torch.rand(8, 4, generator=torch.Generator().manual_seed(0))


class Scripted(Method):
    """Returns what it is told to, epoch by epoch."""

    permanent: ClassVar[bool] = False

    def __init__(self, *decisions: Callable[[View], Decision], first: Decision | None = None) -> None:
        self.decisions, self.first, self.asked = decisions, first, 0

    def start(self, view: View) -> Decision | None:
        self.asked += 1
        return self.first

    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:
        return (
            self.decisions[view.clock.epoch](view) if view.clock.epoch < len(self.decisions) else Decision()
        )


class Sprouts(Scripted):
    """Wakes synapses between living units alone, and reads gradients of the dead in every second batch."""

    permanent_units: ClassVar[bool] = True

    def learns_dead(self, clock: Clock) -> bool:
        return clock.batches % 2 == 1


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2))


def train(model: nn.Module, pruner: Pruner, optimizer: Any, x: Tensor = X) -> None:
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()
    pruner.step(optimizer)


def only(shape: tuple[int, ...], *places: tuple[int, ...]) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    for place in places:
        mask[place] = True
    return mask


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    "optimiser", [torch.optim.AdamW, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9), torch.optim.Adamax]
)
def test_a_woken_synapse_begins_with_its_first_weight_and_moments_of_zero(start: Any, optimiser: Any) -> None:
    place = only((6, 4), (1, 2))
    method = Scripted(
        lambda _: Decision(synapses={"0": ~only((6, 4), (1, 2), (1, 3))}),
        lambda _: Decision(born=Born({"0": place}, start=start)),
    )
    model = net()
    optimizer = optimiser(model.parameters(), 0.01)
    with Pruner(model, X, method, epochs=9) as pruner:
        weight = model.get_parameter("0.weight")
        for _ in range(2):
            train(model, pruner, optimizer)
            pruner.end_epoch()
        assert pruner.masks.synapses["0"][1].tolist() == [True, True, True, False]
        first = weight[1, 2].item()
        assert weight[1, 3].item() == 0.0
        mean = (5 * 4 + 3) / 6  # incoming synapses of the six units, the woken one included
        assert first == 0.0 if start == "zero" else 0.0 < abs(first) <= mean**-0.5
        kept = {k: t for k, t in optimizer.state[weight].items() if t.shape == weight.shape}
        assert kept
        assert all(not t[place].any() for t in kept.values())
        train(model, pruner, optimizer)
        assert weight[1, 2].item() != first
        assert weight[1, 3].item() == 0.0


def test_what_dies_and_is_born_in_one_decision_begins_anew() -> None:
    place = only((6, 4), (0, 0))
    method = Scripted(lambda _: Decision(synapses={"0": ~place}, born=Born({"0": place})))
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with Pruner(model, X, method, epochs=9) as pruner:
        train(model, pruner, optimizer)
        pruner.end_epoch()
        assert model.get_parameter("0.weight")[0, 0].item() == 0.0
        assert pruner.rates().synapses == 0.0


def test_drawn_weights_are_even_and_another_seed_draws_others() -> None:
    weights = []
    for seed in (0, 0, 1):
        model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 2))
        dead = torch.arange(100).expand(50, 100) % 2 == 0
        drawn = Decision(synapses={"0": ~dead}, born=Born({"0": dead}, start="drawn"))
        method = Scripted(lambda _, drawn=drawn: drawn)  # type: ignore[misc]
        with Pruner(model, torch.rand(2, 100), method, epochs=2, seed=seed) as pruner:
            pruner.end_epoch()
        weights.append(model.get_parameter("0.weight").detach()[dead])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert float(weights[0].abs().max()) <= 0.1  # 100 incoming synapses each
    assert float(weights[0].std()) == pytest.approx(0.1 / 3**0.5, rel=0.05)


def test_a_woken_unit_has_as_many_synapses_as_its_like_and_changes_no_answer() -> None:
    few = torch.zeros(6, 4, dtype=torch.bool)
    few[:, :2] = True  # two incoming synapses each
    out = torch.zeros(3, 6, dtype=torch.bool)
    out[0] = True  # one outgoing each
    gone = torch.arange(6) != 2
    method = Scripted(
        lambda _: Decision(units={"0": gone}, synapses={"0": few, "2": out}),
        lambda _: Decision(born=Born(units={"0": ~gone})),
    )
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with Pruner(model, X, method, epochs=9) as pruner:
        train(model, pruner, optimizer)
        pruner.end_epoch()
        assert pruner.rates().neurons_left["0"] == (5, 6)
        train(model, pruner, optimizer)
        before = model(X)
        pruner.end_epoch()
        assert torch.equal(model(X), before)
        assert pruner.rates().neurons_left["0"] == (6, 6)
        incoming, outgoing = model.get_parameter("0.weight"), model.get_parameter("2.weight")
        assert int(pruner.masks.synapses["0"][2].sum()) == int((incoming[2] != 0).sum()) == 2
        assert int(pruner.masks.synapses["2"][:, 2].sum()) == 1
        assert not outgoing[:, 2].any()
        others = gone.nonzero().squeeze(1)
        assert torch.equal(pruner.masks.synapses["0"][others], few[others])
        assert torch.equal(pruner.masks.synapses["2"][:, others], out[:, others])
        with torch.no_grad():
            incoming[2] = incoming[2].abs()  # it fires, and so do those behind it
            model.get_parameter("2.bias").fill_(1.0)
        for _ in range(3):
            train(model, pruner, optimizer)
        assert outgoing[:, 2].any()


def test_a_woken_channel_is_scaled_by_its_norm_and_silent_at_first() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    x = torch.rand(4, 2, 6, 6)
    with Pruner(model, x, "dense", epochs=2) as looked:
        population = looked.topology.populations["0"]
    norm = next(s for s in population.slots if s.role == "norm").module
    gone = torch.arange(population.size) != 1
    method = Scripted(
        lambda _: Decision(units={"0": gone}), lambda _: Decision(born=Born(units={"0": ~gone}))
    )
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with Pruner(model, x, method, epochs=9) as pruner:
        train(model, pruner, optimizer, x)
        pruner.end_epoch()
        before = model.eval()(x)
        pruner.end_epoch()
        assert torch.equal(model(x), before)
        state = model.state_dict()
        assert float(state[f"{norm}.weight"][1]) == float(state[f"{norm}.running_var"][1]) == 1.0
        assert state["0.weight"][1].any()
        train(model.train(), pruner, optimizer, x)
        assert pruner.rates().neurons == 0.0


def test_gradients_of_the_dead_are_seen_when_the_method_asks() -> None:
    dead = only((6, 4), (0, 0), (1, 1))
    model = net()
    method = Sprouts(lambda _: Decision(synapses={"0": ~dead}))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Pruner(model, X, method, epochs=9) as pruner:
        pruner.end_epoch()
        for batch in range(4):
            optimizer.zero_grad()
            (model(X) - 5.0).square().sum().backward()
            grad = model.get_parameter("0.weight").grad
            assert grad is not None
            assert bool(grad[dead].any()) is (batch % 2 == 1)
            optimizer.step()
            pruner.step(optimizer)
            assert not model.get_parameter("0.weight")[dead].any()


def sparse(factor: float = 2.0) -> Scripted:
    return Scripted(first=Decision(synapses={"0": ~only((6, 4), (0, 0))}, scale={"0": factor}))


@pytest.mark.parametrize("training", [True, False])
def test_a_run_is_sparse_from_its_first_forward(training: bool) -> None:
    model, twin = net(), net()
    with Pruner(model, X, sparse(), epochs=2) as pruner:
        assert pruner.rates().weights_left == 24 + 18 + 6 - 1
        assert torch.equal(model.get_parameter("0.weight"), twin.get_parameter("0.weight"))
        with torch.no_grad():
            twin.get_parameter("0.weight").mul_(2.0)[0, 0] = 0.0
        for _ in range(2):
            assert torch.equal(model.train(training)(X), twin(X))


@pytest.mark.parametrize("what", ["step", "end_epoch", "compact", "state_dict"])
def test_so_it_is_where_no_forward_comes_first(what: str) -> None:
    model = net()
    with Pruner(model, X, sparse(), epochs=2) as pruner:
        if what == "compact":
            pruner.clock.epoch = 1
        getattr(pruner, what)()
        assert model.get_parameter("0.weight")[0, 0].item() == 0.0


@pytest.mark.parametrize("how", ["load_state_dict", "inherit"])
def test_a_state_takes_the_place_of_a_beginning(how: str) -> None:
    model = net()
    with Pruner(model, X, sparse(), epochs=4) as pruner:
        model(X)
        with torch.no_grad():
            model.get_parameter("0.weight")[0, 1] = 7.0
        state = pruner.state_dict()
    state["masks"]["synapses"]["0"] = ~only((6, 4), (2, 2))
    other = net()
    other.load_state_dict(model.state_dict())  # the weights are there before the pruner
    with Pruner(other, X, sparse(), epochs=4) as again:
        getattr(again, how)(state)
        other(X)
        assert torch.equal(other.get_parameter("0.weight"), model.get_parameter("0.weight"))
        assert torch.equal(again.masks.synapses["0"], ~only((6, 4), (2, 2)))


def test_who_looks_at_the_network_does_not_begin_with_it() -> None:
    model, twin = net(), net()
    with Pruner(model, X, sparse(), epochs=2):
        discover(model, X)
        assert torch.equal(model.get_parameter("0.weight"), twin.get_parameter("0.weight"))
        model(X)
        assert model.get_parameter("0.weight")[0, 0].item() == 0.0


def test_a_closed_pruner_leaves_the_weights_alone() -> None:
    model, twin = net(), net()
    Pruner(model, X, sparse(), epochs=2).close()
    assert torch.equal(model(X), twin(X))


def test_a_copy_begins_as_its_original_does() -> None:
    model = net()
    pruner = Pruner(model, X, sparse(), epochs=2)
    other, twin = copy.deepcopy((model, pruner))
    assert twin.model is other
    assert torch.equal(other(X), model(X))
    pruner.close()
    twin.close()


def test_a_network_that_was_cut_before_begins_with_its_first_forward() -> None:
    model = net()
    with Pruner(model, X, Scripted(lambda _: Decision(units={"0": torch.arange(6) < 4})), epochs=1) as cut:
        cut.end_epoch()
        cut.compact()
    method = Scripted(first=Decision(synapses={"0": ~only((4, 4), (0, 0))}))
    with Pruner(model, X, method, epochs=2) as pruner:
        assert method.asked == 0
        model(X)
        model(X)
        assert method.asked == 1
        assert model.get_parameter("0.weight")[0, 0].item() == 0.0
        assert pruner.rates().weights_left == 16 + 12 + 6 - 1


class Permanent(Scripted):
    permanent: ClassVar[bool] = True


@pytest.mark.parametrize("kind", [Permanent, Sprouts])
def test_a_method_wakes_no_more_than_it_has_said(kind: type[Scripted]) -> None:
    gone = torch.arange(6) != 2
    method = kind(lambda _: Decision(units={"0": gone}), lambda _: Decision(born=Born(units={"0": ~gone})))
    with Pruner(net(), X, method, epochs=9) as pruner:
        pruner.end_epoch()
        with pytest.raises(ValueError, match=f"{kind.__name__} lets the dead come to life"):
            pruner.end_epoch()
        assert torch.equal(pruner.masks.units["0"], gone)


def test_what_wakes_units_is_not_cut_while_it_trains() -> None:
    with pytest.raises(CompactionError, match="Scripted lets pruned units and synapses come back"):
        Pruner(net(), X, Scripted(), epochs=9, compact_every=1)


def test_synapses_grow_in_a_network_that_is_cut_as_with_masks_alone() -> None:
    runs = []
    gone, dead = torch.arange(6) != 2, torch.arange(24).view(6, 4) % 3 == 0
    for every in (None, 1):
        method = Sprouts(
            lambda _: Decision(units={"0": gone}, synapses={"0": ~dead}),
            lambda view: Decision(born=Born({"0": ~view.masks.synapses["0"]}, start="drawn")),
        )
        torch.manual_seed(0)
        model = net().double()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        with Pruner(model, X.double(), method, epochs=9, compact_every=every) as pruner:
            for _ in range(4):
                train(model, pruner, optimizer, X.double())
                pruner.end_epoch()
            runs.append((pruner.dense_masks(), model.get_parameter("0.weight").detach()))
    assert torch.equal(runs[0][0]["synapses"]["0"], runs[1][0]["synapses"]["0"])
    assert runs[1][1].shape == (5, 4)
    assert torch.allclose(runs[0][1][gone], runs[1][1], rtol=0, atol=1e-12)


def test_a_start_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"starts at one of \['zero', 'drawn'\], came 'one'"):
        Born(start="one")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["rigl", "sd-snn", "dpap-grow"])
def test_a_trainer_goes_on_from_a_checkpoint_and_begins_nothing_anew(method: str, tmp_path: Path) -> None:
    def fit(epochs: int, path: Path | None = None) -> tuple[PruningCallback, Classifier]:
        callback, task = PruningCallback(method, target=0.6, epochs=6, compact_every=1), Classifier()
        saver = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}")
        trainer(callback, *([] if path else [saver]), epochs=epochs).fit(task, ckpt_path=path)
        return callback, task

    whole, task = fit(6)
    again, resumed = fit(6, tmp_path / "epoch=2.ckpt")
    assert whole.pruner is not None
    assert again.pruner is not None
    assert whole.pruner.rates() == again.pruner.rates()
    for key, mask in whole.pruner.dense_masks()["synapses"].items():
        assert torch.equal(mask, again.pruner.dense_masks()["synapses"][key])
    assert torch.equal(task.weights(), resumed.weights())
