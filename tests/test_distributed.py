"""Several processes with a share of each batch decide as one with the whole; no line here names a method.

Every registered method runs on three small networks in two processes, with gloo between them.
"""

from __future__ import annotations

import copy
import functools
import itertools
import warnings
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from spikingjelly.activation_based import layer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from snnprune.common import ranks
from snnprune.common.errors import CompactionError, UserError
from snnprune.config.names import METHODS
from snnprune.nn import norms
from snnprune.pruning import Criterion, CriterionMethod, Pruner, Target
from snnprune.pruning.lowest import Lowest
from support.families import FAMILIES
from support.loops import Loop, Masks, difference, distance, equal, through_a_file
from support.processes import together

if TYPE_CHECKING:
    from snnprune.network.cost import Rates
    from snnprune.pruning.compaction.survivors import SurvivingUnits

Case = tuple[str, str, str]
Shares = tuple[tuple[int, ...], ...]

SMALL = (("four layers", "m"), ("residual", "m"), ("plain ANN", ""))
DEFAULT = "dpap"
EPOCHS, BATCHES = 6, 2
LONG, LONG_EVERY = (40, 5), 4
"""Epochs and batches of a run of 200 steps, and epochs from cut to cut."""

EVEN, UNEVEN = ((0, 1, 2), (3, 4, 5)), ((0, 1, 2, 3), (4, 5))
"""Which samples of a batch of six each process has."""

pytestmark = pytest.mark.usefixtures("one_thread")


class Share(Loop):
    """A loop's part in one of several processes, as a user writes it.

    Args:
        share: the samples of every batch that this process has.
        cut_every: epochs from cut to cut.
    """

    def __init__(
        self, family: Any, mode: str, method: str, share: tuple[int, ...], cut_every: int = 0, **options: Any
    ) -> None:
        super().__init__(family, mode, method, order=torch.tensor(share), **options)
        self.weight = ranks.world_size() * len(share) / self.x.shape[1 if mode else 0]
        self.cut_every = cut_every
        norms.synchronise(self.model)
        self.forward = DistributedDataParallel(self.model)

    def end_epoch(self, metrics: dict[str, float]) -> None:
        super().end_epoch(metrics)
        if self.cut_every and self.pruner.clock.epoch % self.cut_every == 0:
            del self.forward
            self.pruner.compact(unread=False)
            self.forward = DistributedDataParallel(self.model)


@functools.cache
def alone(case: Case, length: tuple[int, int]) -> Loop | None:
    """Return a run of one process; None where the method refuses the network."""
    name, mode, method = case
    try:
        return Loop(FAMILIES[name], mode, method, epochs=length[0]).epochs(0, *length)
    except UserError:
        return None


@dataclass(frozen=True)
class Outcome:
    """What a run came to in one of several processes: as `Loop` and `Pruner` have it."""

    masks: list[Masks]
    sizes: list[int]
    survivors: SurvivingUnits
    rates: Rates
    weights: Masks

    @staticmethod
    def of(run: Loop) -> Outcome:
        weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
        return Outcome(run.masks, run.sizes, run.pruner.survivors, run.pruner.rates(), weights)


def shared(cases: list[Case], shares: Shares, length: tuple[int, int], every: int = 0) -> list[Outcome]:
    """Train this process's share of each case."""
    share, outcomes = shares[ranks.rank()], []
    for name, mode, method in cases:
        run = Share(FAMILIES[name], mode, method, share, every, epochs=length[0]).epochs(0, *length)
        outcomes.append(Outcome.of(run))
        run.pruner.close()
    return outcomes


def assert_alike(whole: Loop, share: Outcome) -> None:
    for epoch, (a, b) in enumerate(zip(whole.masks, share.masks, strict=True)):
        assert equal(a, b), f"epoch {epoch}"
    assert share.rates == whole.pruner.rates()
    assert distance(whole, share.survivors, share.weights) < 1e-9


def assert_one(cases: list[Case], shares: Shares, length: tuple[int, int], every: int = 0) -> None:
    """Hold two processes to what one comes to."""
    able = [case for case in cases if alone(case, length) is not None]
    assert {case[2] for case in able} == {case[2] for case in cases}
    for outcomes in together(2, shared, able, shares, length, every):
        for case, outcome in zip(able, outcomes, strict=True):
            whole = alone(case, length)
            assert whole is not None
            assert_alike(whole, outcome)
            if every:
                assert sum(b < a for a, b in itertools.pairwise(outcome.sizes)) >= 2


ALL = [(name, mode, method) for (name, mode), method in itertools.product(SMALL, sorted(METHODS))]
PRESET = [case for case in ALL if case[2] == DEFAULT]
QUICK = [case for case in ALL if case[0] != "residual"]
ONE = [case for case in PRESET if case[0] == "plain ANN"]
WIRED = [("recurrent", "m", DEFAULT), ("recurrent by hand", "m", DEFAULT), ("attention", "m", DEFAULT)]
"""Populations that feed back, and heads of attention."""


@pytest.mark.parametrize(
    ("cases", "shares"),
    [
        pytest.param([*QUICK, *WIRED], EVEN, id="every method"),
        pytest.param(ALL, EVEN, id="every method-every network", marks=pytest.mark.slow),
        pytest.param([*PRESET, *WIRED], UNEVEN, id="uneven"),
        pytest.param(ALL, UNEVEN, id="every method-uneven", marks=pytest.mark.slow),
    ],
)
def test_two_processes_decide_as_one(cases: list[Case], shares: Shares) -> None:
    assert_one(cases, shares, (EPOCHS, BATCHES))


@pytest.mark.parametrize(
    ("cases", "every"),
    [
        pytest.param(ONE, LONG_EVERY, id="with cuts"),
        pytest.param([*PRESET, *WIRED], LONG_EVERY, id="with cuts-every network", marks=pytest.mark.slow),
        pytest.param(ALL, 0, id="every method", marks=pytest.mark.slow),
    ],
)
def test_over_200_steps_two_processes_are_one(cases: list[Case], every: int) -> None:
    """Cut in two processes, or not, it is what masks alone are in one."""
    assert_one(cases, EVEN, LONG, every)


# --- what a user meets


def stopped_and_resumed(shares: Shares) -> float:
    name, mode, method = ONE[0]
    whole, first, second = (
        Share(FAMILIES[name], mode, method, shares[ranks.rank()], epochs=EPOCHS) for _ in range(3)
    )
    for run in (whole, first):
        run.epochs(0, 1, BATCHES)
        run.step(1, 0)  # the statistics of an epoch that is not over are each process's own
    half = first.state()
    second.load(half)
    for run in (whole, second):
        run.step(1, 1)
        run.end_epoch({"val_accuracy": 0.5})
        run.epochs(2, EPOCHS, BATCHES)
    assert all(equal(*masks) for masks in zip(whole.masks[1:], second.masks, strict=True))
    return difference(whole, second)


def test_a_checkpoint_of_all_is_resumed_by_all() -> None:
    assert together(2, stopped_and_resumed, EVEN) == [0.0, 0.0]


def saved_alone() -> dict[str, Any] | None:
    """Between two epochs, the first process asks for the state alone."""
    name, mode, method = ONE[0]
    run = Share(FAMILIES[name], mode, method, EVEN[ranks.rank()], epochs=EPOCHS).epochs(0, 2, BATCHES)
    state = through_a_file(pruner=run.pruner)["pruner"] if ranks.is_first() else None
    run.epochs(2, 3, BATCHES)
    return state


def test_between_epochs_the_first_process_saves_alone() -> None:
    first, second = together(2, saved_alone)
    assert first["clock"]["epoch"] == 2
    assert second is None


class Seen(Criterion):
    """A neuron matters by how much it fired, in sums and in the mean of batches."""

    axes: ClassVar = {"sum": ("post",), "mean": ("post",)}
    averaged: ClassVar = ("mean",)

    def observe(self, projection: Any, activity: Any, batches: int) -> None:
        statistics = self.statistics(projection, activity.post)
        statistics["sum"].add_(activity.post.sum(0))
        statistics["mean"].copy_(activity.post.mean(0))

    def synapse_score(self, projection: Any, view: Any) -> None:
        return None

    def neuron_score(self, projection: Any, alive: Any, view: Any) -> torch.Tensor:
        return self.state[projection.name]["sum"]


def two_shares() -> dict[str, torch.Tensor]:
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [2.0]]))
        net[0].bias.zero_()
    method = CriterionMethod(Seen(), Lowest(), target=Target(0.5))
    pruner = Pruner(net, torch.ones(1, 1), method, epochs=4)
    mine = [[1.0], [2.0], [3.0]] if ranks.is_first() else [[6.0]]
    for _ in range(2):
        net(torch.tensor(mine))
        pruner.step()
    pruner.importance()
    return method.criterion.state_dict()["0"]


def test_sums_are_added_and_means_weighted_by_samples() -> None:
    """Samples 1, 2, 3 and 6, twice: they sum to 24, and their mean is 3; not 4, the mean of two means."""
    for seen in together(2, two_shares):
        assert seen["sum"].tolist() == [24.0, 48.0]
        assert seen["mean"].tolist() == [3.0, 6.0]


def unlike() -> list[str]:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    torch.manual_seed(ranks.rank())
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    pruner = Pruner(net, torch.ones(1, 4), "magnitude", epochs=2, schedule="one-shot", finish=0)
    with pytest.raises(UserError) as why:
        pruner.end_epoch()
    with pytest.raises(UserError) as names:
        pruner.end_epoch({"val_accuracy": 0.5} if ranks.is_first() else None)
    return [str(why.value), str(names.value)]


def test_processes_with_different_networks_are_told() -> None:
    for decisions, names in together(2, unlike):
        assert "2 processes that train this network must come to the same decisions" in decisions
        assert "must come to the same names of what was measured" in names


def wrapped() -> str:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    ddp = DistributedDataParallel(net)
    pruner = Pruner(net, torch.ones(1, 4), "magnitude", epochs=4)
    ddp(torch.ones(2, 4)).sum().backward()
    pruner.step(torch.optim.SGD(net.parameters(), 0.1))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(CompactionError) as why:
        pruner.compact()
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    return str(why.value)


def test_a_wrapper_has_to_come_off_before_a_cut() -> None:
    assert all("remove the wrapper before the cut" in said for said in together(2, wrapped))


def held_in_one() -> tuple[list[int], list[str]]:
    """Return the width of a layer after each epoch, where the last process holds a weight for two of them."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    pruner = Pruner(net, torch.ones(1, 4), "magnitude", epochs=6, unit="neurons", compact_every=2)
    held = None if ranks.is_first() else weakref.ref(net[0].weight)
    widths, said, loss = [], [], None
    for epoch in range(4):
        if epoch == 2:
            held = None
        batch = net(torch.ones(2, 4)).sum()  # while the last batch's graph is still alive
        batch.backward()
        loss = batch
        pruner.step()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pruner.end_epoch()
        widths.append(net[0].out_features)
        said += [str(warning.message) for warning in caught]
    assert held is None
    assert loss is not None
    return widths, said


def test_a_cut_that_one_process_refuses_is_made_in_none() -> None:
    (widths, said), (others, nothing) = together(2, held_in_one)
    assert widths == others
    assert widths[:3] == [8, 8, 8]
    assert widths[3] < 8
    assert said == ["another process that trains this network cannot cut it; training goes on with masks"]
    assert nothing == []


# --- norms


def normalised(shares: Shares) -> list[float]:
    """Return the largest differences of a norm over shares from that over the whole: y, dx, dw, buffers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 6, 4, 5, 5, generator=generator, dtype=torch.float64) * 3 + 1  # [T, B, C, H, W]
    weight = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    whole, own = (layer.BatchNorm2d(4, step_mode="m").double() for _ in range(2))
    norms.synchronise(own)
    mine = torch.tensor(shares[ranks.rank()])
    a, b = x.clone().requires_grad_(), x[:, mine].clone().requires_grad_()
    for _ in range(2):
        y, z = whole(a), own(b)
    (y * weight).sum().backward()
    (z * weight[:, mine]).sum().backward()
    gradients = ranks.summed([own.weight.grad, own.bias.grad])
    pairs = [(y[:, mine], z), (a.grad[:, mine], b.grad)]
    pairs += zip([whole.weight.grad, whole.bias.grad], gradients, strict=True)
    pairs += zip(whole.buffers(), own.buffers(), strict=True)
    norms.separate(own)
    assert type(own) is layer.BatchNorm2d
    return [float((p - q).abs().max()) for p, q in pairs]


@pytest.mark.parametrize("shares", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_a_norm_over_shares_is_the_norm_of_the_whole(shares: Shares) -> None:
    for differences in together(2, normalised, shares):
        assert max(differences) < 1e-12, differences


def test_alone_a_synchronised_norm_is_the_plain_one() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3))
    plain = copy.deepcopy(net)
    norms.synchronise(net)
    copies = copy.deepcopy(net)
    x = torch.randn(5, 3)
    assert torch.equal(net(x), plain(x))
    assert torch.equal(copies(x), net(x))
    assert list(net.state_dict()) == list(plain.state_dict())
    assert isinstance(net[0], nn.BatchNorm1d)
    assert type(norms.separate(net)[0]) is nn.BatchNorm1d
