"""Live compaction: what a cut takes along, how it is resumed, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from snnprune.common.errors import CompactionError, UserError
from snnprune.config.names import METHODS
from snnprune.pruning import Decision, Method, Pruner, View
from snnprune.pruning.state import NUMBER, WEIGHT
from snnprune.training.callbacks.pruning import PruningCallback
from support.families import FAMILIES
from support.loops import Loop, equal, through_a_file

if TYPE_CHECKING:
    from collections.abc import Iterator

NETWORKS = {
    "conv": (FAMILIES["four layers"], "m"),
    "residual": (FAMILIES["residual"], "m"),
    "ann": (FAMILIES["plain ANN"], ""),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def loop(network: str, epochs: int = 20, **options: Any) -> Loop:
    return Loop(*NETWORKS[network], "dpap", epochs=epochs, target=0.7, **options)


def test_moments_follow_their_units() -> None:
    run = loop("conv").epochs(0, 8)
    before = {k: run.optimizer.state[p]["max_exp_avg_sq"].clone() for k, p in run.model.named_parameters()}
    groups = [id(p) for p in run.optimizer.param_groups[0]["params"]]
    assert run.pruner.compact(run.optimizer) is run.model
    assert groups == [id(p) for p in run.model.parameters()]
    rows, columns = run.pruner.survivors["4"], run.pruner.survivors["0"]
    assert len(rows) < 6
    for key, index in (("4.weight", (rows[:, None], columns)), ("4.bias", rows), ("5.weight", rows)):
        moment = run.optimizer.state[run.model.get_parameter(key)]["max_exp_avg_sq"]
        assert torch.equal(moment, before[key][index])
    for p, state in run.optimizer.state.items():
        assert all(t.shape == p.shape for t in state.values() if t.ndim)


def test_rates_go_on_meaning_the_dense_network() -> None:
    run = loop("conv").epochs(0, 10)
    before = run.pruner.rates()
    run.pruner.compact(run.optimizer, unread=False)
    assert run.pruner.rates() == before
    assert run.pruner.topology.populations["9"].size < run.pruner.dense.populations["9"].size == 20


def test_an_unread_unit_stays_while_methods_count_it_and_goes_at_the_end() -> None:
    run = loop("ann", epochs=3).epochs(0, 1)
    p = run.pruner.topology.projections["8"]
    keep = torch.ones(p.shape, dtype=torch.bool)
    keep[:, 9:18] = False  # all that channel 1 of layer "4" is read by
    run.pruner.masks.keep_synapses(p, keep)
    assert run.pruner.compact(run.optimizer) is run.model
    assert 1 in run.pruner.survivors["4"]
    run.epochs(1, 3)
    run.pruner.compact()
    assert 1 not in run.pruner.survivors["4"]


@pytest.mark.parametrize("network", sorted(NETWORKS))
@pytest.mark.parametrize("stop", [6, 9])  # before the first cut, and after it
def test_a_run_resumed_before_or_after_a_cut_is_the_same_run(network: str, stop: int) -> None:
    options: dict[str, Any] = {"epochs": 12, "compact_every": 7}
    whole = loop(network, **options).epochs(0, 12)
    half = loop(network, **options).epochs(0, stop)
    state = half.state()
    assert bool(state["pruner"]["kept"]) == (stop == 9)
    rest = loop(network, **options).load(state).epochs(stop, 12)
    for key, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, rest.model.state_dict()[key]), key
    assert equal(whole.masks[-1], rest.masks[-1])
    assert whole.pruner.rates() == rest.pruner.rates()


def test_a_pruner_built_on_the_small_network_takes_the_state_too() -> None:
    whole = loop("residual", compact_every=7).epochs(0, 12)
    half = loop("residual", compact_every=7).epochs(0, 9)
    state = half.pruner.state_dict()
    half.pruner.close()
    again = Pruner(half.model, half.x, "dpap", epochs=20, seed=3, target=0.7, compact_every=7)
    again.load_state_dict(state)
    half.pruner = again
    half.epochs(9, 12)
    assert equal(whole.masks[-1], half.masks[-1])
    assert again.rates() == whole.pruner.rates()


@pytest.mark.parametrize(
    ("network", "stop"), [("conv", 1), ("residual", 1), ("ann", 1), ("conv", 2)]
)  # before the first cut, and between two
def test_a_state_from_before_a_cut_grows_the_network_back_and_the_run_goes_on(
    network: str, stop: int
) -> None:
    options: dict[str, Any] = {"epochs": 12, "compact_every": 1}
    whole = loop(network, **options).epochs(0, stop, 2)
    early = whole.state()
    whole.epochs(stop, 8, 2)
    again = loop(network, **options).epochs(0, 5, 2)
    assert again.sizes[stop - 1] > again.sizes[-1]
    parameters = list(again.model.parameters())
    again.forward(again.x[:, :2] if again.mode else again.x[:2]).sum().backward()  # a batch that is left
    again.load(early)
    assert sum(p.numel() for p in parameters) == again.sizes[stop - 1]
    again.epochs(stop, 8, 2)
    for key, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[key]), key
    assert equal(whole.masks[-1], again.masks[-1])
    assert whole.pruner.rates() == again.pruner.rates()
    assert all(a is b for a, b in zip(parameters, again.model.parameters(), strict=True))


def test_a_state_whose_network_is_larger_here_and_smaller_there_is_loaded() -> None:
    runs = [loop("conv", epochs=12).epochs(0, 1) for _ in range(2)]
    for run, dead in zip(runs, ("0", "9"), strict=True):
        population = run.pruner.topology.populations[dead]
        run.pruner.masks.keep_units(population, torch.arange(population.size) > 1)
        run.pruner.compact(run.optimizer)
    first, second = runs
    first.load(second.state())
    for run in runs:
        run.epochs(1, 3)
    for key, tensor in second.model.state_dict().items():
        assert torch.equal(tensor, first.model.state_dict()[key]), key


def test_a_state_is_refused_where_it_does_not_fit() -> None:
    run = loop("conv").epochs(0, 4)
    early = run.pruner.state_dict()
    run.epochs(4, 9)
    run.pruner.compact(run.optimizer)
    before = {key: tensor.clone() for key, tensor in run.model.state_dict().items()}
    with pytest.raises(CompactionError, match="build the network anew"):
        run.pruner.inherit(early)  # the method begins anew, and does not grow
    held = run.model.state_dict(keep_vars=True)["0.weight"].view(-1)
    with pytest.raises(CompactionError, match="still refers to it"):
        run.pruner.load_state_dict(early)
    assert held.numel()
    for key, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, before[key]), key
    other = loop("residual")
    with pytest.raises(ValueError, match="another network"):
        other.pruner.load_state_dict(run.pruner.state_dict())


def test_a_method_that_shrinks_by_itself_and_loads_nothing_does_not_grow_back() -> None:
    class Own(Method):
        def shrink(self, cut: Any) -> None:
            """Cut what no state holds."""

    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    pruner = Pruner(model, torch.rand(8, 4), Own(), epochs=6)
    early = pruner.state_dict()
    pruner.masks.keep_units(pruner.topology.populations["0"], torch.arange(6) < 4)
    pruner.compact()
    with pytest.raises(CompactionError, match="build the network anew"):
        pruner.load_state_dict(early)


# --- refusals


def test_a_wrong_optimiser_is_refused_before_and_after_a_cut() -> None:
    run, other = loop("ann").epochs(0, 8), loop("ann")
    with pytest.raises(CompactionError, match="pass the optimiser that trains it"):
        run.pruner.compact(other.optimizer)
    run.pruner.compact(run.optimizer)
    for call in (run.pruner.step, run.pruner.compact):
        with pytest.raises(CompactionError, match="holds no parameter of the network"):
            call(other.optimizer)


def test_an_open_batch_is_refused() -> None:
    run = loop("conv").epochs(0, 8)
    run.model(run.x)
    with pytest.raises(CompactionError, match="a batch is open"):
        run.pruner.compact(run.optimizer)


def test_a_cut_waits_where_a_forward_was_not_followed_by_a_step() -> None:
    run = loop("conv", compact_every=8).epochs(0, 7)
    run.pruner.step = lambda _: None  # type: ignore[method-assign]  as where a scaler skips the step
    run.epochs(7, 8)
    assert run.sizes[7] == run.sizes[0]
    del run.pruner.step
    run.epochs(8, 16)
    assert run.sizes[15] < run.sizes[0]


def test_a_cut_waits_for_an_optimiser_that_a_resumed_loop_has_not_shown_yet() -> None:
    state = loop("conv", compact_every=8).epochs(0, 7).state()
    run = loop("conv", compact_every=8).load(state)
    run.epochs(7, 8, batches=0)
    assert run.sizes[0] == sum(p.numel() for p in loop("conv").model.parameters())
    run.epochs(8, 16)
    assert run.sizes[-1] < run.sizes[0]


def test_a_method_that_lets_synapses_regrow_is_cut_at_the_end_only() -> None:
    class Rewiring(Method):
        permanent = False

        def end_epoch(self, view: View, metrics: Any) -> Decision:
            return Decision({"0": torch.tensor([True, False, True])})

    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    pruner = Pruner(model, torch.rand(1, 4), Rewiring(), epochs=2)
    pruner.end_epoch()
    pruner.clock.epoch = 0
    with pytest.raises(CompactionError, match="Rewiring lets pruned units and synapses come back"):
        pruner.compact()
    pruner.clock.epoch = 2
    assert pruner.compact()[0].out_features == 2  # type: ignore[index]


def test_a_method_whose_state_cannot_follow_is_refused() -> None:
    class Stateful(Method):
        def state_dict(self) -> dict[str, Any]:
            return {"momentum": torch.ones(3)}

    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    pruner = Pruner(model, torch.rand(1, 4), Stateful(), epochs=2)
    with pytest.raises(CompactionError, match=r"Stateful has a state_dict\(\) of its own and no shrink\(\)"):
        pruner.compact()


@pytest.mark.parametrize("name", sorted(METHODS))
def test_what_can_never_be_cut_is_refused_when_the_pruner_is_made(name: str) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with Pruner(model, torch.rand(1, 4), name, epochs=8) as pruner:
        method = pruner.method
    for given in (name, method):
        if method.units_stay_dead:
            Pruner(model, torch.rand(1, 4), given, epochs=8, compact_every=2).close()
            PruningCallback(given, compact_every=2)
            continue
        said = f"compact_every=2 is not possible: {type(method).__name__} lets pruned .* after the last epoch"
        with pytest.raises(UserError, match=said):
            Pruner(model, torch.rand(1, 4), given, epochs=8, compact_every=2)
        with pytest.raises(UserError, match=said):
            PruningCallback(given, compact_every=2, protect_first=True)


class Dense(Method):
    """Keeps tensors of every layout, all of whose entries are numbers of their own."""

    axes = {"rows": ("post",), "sum": ("post", "pre"), "both": WEIGHT, "unit": ("unit",), "one": NUMBER}  # noqa: RUF012

    def begin(self, view: View) -> None:
        for p in view.topology.projections.values():
            shapes = {"rows": p.shape[:1], "sum": p.shape[:2], "both": p.shape, "one": ()}
            self.state[p.name] = {name: numbers(shape) for name, shape in shapes.items()}
        for population in view.topology.populations.values():
            self.state[population.name]["unit"] = numbers((population.size,))


def numbers(shape: tuple[int, ...]) -> Tensor:
    return torch.arange(float(torch.Size(shape).numel())).view(shape)


def test_tensors_that_a_method_declares_follow_a_cut_and_go_through_a_file() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 2)
    )
    pruner = Pruner(model, torch.rand(1, 1, 2, 2), Dense(), epochs=2)
    kept = {"0": torch.tensor([False, True]), "3": torch.tensor([True, False, True])}
    for name, alive in kept.items():
        pruner.masks.keep_units(pruner.topology.populations[name], alive)
    pruner.compact()
    own = pruner.method.state["3"]
    assert own["rows"].tolist() == own["unit"].tolist() == [0, 2]
    assert own["sum"].tolist() == own["both"].tolist() == [[4, 5, 6, 7], [20, 21, 22, 23]]
    assert own["one"].item() == 0
    assert pruner.method.state["0"]["both"].flatten().tolist() == [1]
    again = Dense()
    again.load_state_dict(through_a_file(pruner=pruner)["pruner"]["method"], torch.device("cpu"))
    for owner, tensors in pruner.method.state.items():
        assert all(torch.equal(again.state[owner][name], t) for name, t in tensors.items())


def test_a_tensor_that_is_not_declared_is_named_before_anything_is_cut() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    pruner = Pruner(model, torch.rand(1, 4), Dense(), epochs=2)
    pruner.method.state["2"]["strange"] = torch.zeros(3)
    pruner.masks.keep_units(pruner.topology.populations["0"], torch.tensor([True, False, True]))
    with pytest.raises(
        CompactionError, match=r"Dense keeps a tensor 'strange' of 2 .* add 'strange' to Dense.axes"
    ):
        pruner.compact()
    assert model[0].weight.shape == (3, 4)
    assert pruner.method.state["0"]["rows"].shape == (3,)


def test_a_neuron_that_is_never_silent_is_told_at_the_start_and_its_cut_changes_nothing() -> None:
    class Restless(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(x)

    model = nn.Sequential(nn.Linear(4, 3), Restless(), nn.Linear(3, 2))
    with pytest.warns(
        UserWarning, match=r"population 0 can be masked but not compacted.* \(Restless\) outputs"
    ):
        pruner = Pruner(model, torch.rand(1, 4), "dpap", epochs=2, neurons=(Restless,))
    pruner.masks.keep_units(pruner.topology.populations["0"], torch.tensor([True, False, True]))
    with pytest.raises(ValueError, match="Restless"):
        pruner.compact()
    assert pruner.topology.populations["0"].size == 3
    assert model[0].weight.shape == (3, 4)
