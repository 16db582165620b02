"""What an optimiser keeps of a weight: masked and cut by what it is, or refused; never by its shape alone."""

from __future__ import annotations

import copy
import itertools
import threading
import warnings
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import layer
from test_torch_rnn import Words
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer

from snnprune import CompactionError
from snnprune.config.schema import ModelConfig
from snnprune.network.axes import tensors_in
from snnprune.network.duplicate import reset_states
from snnprune.nn import RNN
from snnprune.nn.models import build
from snnprune.pruning import Decision, Method, Pruner
from snnprune.pruning.moments import moments_of, outermost
from snnprune.pruning.moments.asking import ask
from support.attention import Normed
from support.families import FAMILIES, Family, line, node
from support.loops import assert_the_dead_are_zero, dead_entries, difference
from support.optimisers import PLACES, kept, optimisers
from support.outside import snntorch_networks

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

EPOCHS, BATCHES = 4, 3
DEAD = {0: [1, 2, 5], 1: [0, 9]}
"""Units of the hidden layer that die at the end of an epoch."""


ROUNDING = 1e-6
"""Largest difference of a weight that comes of sums in another order."""


# --- optimisers of other kinds, in a few lines each


class Plain(Optimizer):
    """Gradient descent; a subclass says what it keeps and which step it takes."""

    def __init__(self, params: Any, lr: float = 0.05) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        if closure is not None:
            closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] * self.direction(p, self.state[p]))

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        raise NotImplementedError


class Nested(Plain):
    """Keeps momentum in a dict within a dict."""

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        inside = state.setdefault(0, {"momentum": torch.zeros_like(p), "steps": [0]})
        inside["steps"][0] += 1
        momentum: Tensor = inside["momentum"].mul_(0.9).add_(p.grad)
        return momentum


class Rotated(Plain):
    """Keeps squares in the basis of a weight's singular vectors, in the weight's shape."""

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        if p.ndim < 2:
            return p.grad  # type: ignore[return-value]
        state.setdefault("squares", torch.zeros_like(p))
        left = state.setdefault("basis", torch.linalg.svd(p.grad.double())[0].to(p))
        turned = left.T @ p.grad
        state["squares"].mul_(0.9).addcmul_(turned, turned)
        return left @ (turned / (state["squares"] + 1e-12).sqrt())


class Remembering(Rotated):
    """The same, with an average of the weights that begins at zero: each step moves the dead, too."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        super().step(closure)
        for p in self.param_groups[0]["params"]:
            self.state[p].setdefault("average", torch.zeros_like(p)).lerp_(p, 0.01)


class Coded(Plain):
    """Keeps momentum as codes, in blocks of 8; code 0 is the most negative number of a block."""

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        book = state.setdefault("qmap1", torch.arange(-127, 128, dtype=p.dtype) / 127)
        largest = state.setdefault("absmax1", p.new_zeros(-(-p.numel() // 8)))
        codes = state.setdefault("state1", torch.full(p.shape, 127, dtype=torch.uint8))
        scale = largest.repeat_interleave(8)[: p.numel()].view(p.shape)
        momentum: Tensor = 0.9 * book[codes.long()] * scale + p.grad
        blocks = F.pad(momentum.flatten(), (0, -p.numel() % 8)).view(-1, 8)
        largest.copy_(blocks.abs().amax(1))
        scale = largest.clamp(min=1e-30).repeat_interleave(8)[: p.numel()].view(p.shape)
        codes.copy_(((momentum / scale + 1) * 127).round())
        return momentum


class Rounded(torch.Tensor):
    """A tensor class that torch knows little to do with: it can be read whole, and written whole."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> Rounded:
        made: Rounded = torch.Tensor._make_wrapper_subclass(cls, numbers.shape, dtype=numbers.dtype)  # type: ignore[attr-defined]
        made.numbers = numbers
        return made

    def dequantize(self) -> Tensor:
        return self.numbers.clone()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.aten.copy_.default:
            raise NotImplementedError(str(func))
        args[0].numbers.copy_((args[1] * 1024).round() / 1024)
        return args[0]


class Boxed(Plain):
    """Keeps momentum in a tensor class."""

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        if "momentum" not in state:
            state["momentum"] = Rounded(torch.zeros_like(p))
        momentum: Tensor = 0.9 * state["momentum"].dequantize() + p.grad
        state["momentum"].copy_(momentum)
        return momentum


class ByMean(Plain):
    """Divides by the mean of what it keeps, over all entries."""

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        momentum: Tensor = state.setdefault("momentum", torch.zeros_like(p)).mul_(0.9).add_(p.grad)
        return momentum / (momentum.abs().mean() + 1e-12)


class Factored(Plain):
    """Keeps the means of rows and of columns."""

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        if p.ndim < 2:
            return p.grad  # type: ignore[return-value]
        rows = state.setdefault("rows", p.new_zeros(p.shape[0]))
        columns = state.setdefault("columns", p.new_zeros(p.shape[1]))
        rows.mul_(0.9).add_(p.grad.square().mean(1))
        columns.mul_(0.9).add_(p.grad.square().mean(0))
        return p.grad / (torch.outer(rows, columns) / (rows.mean() + 1e-30) + 1e-12).sqrt()


class Beside(Plain):
    """Keeps momentum in a list of its own."""

    def __init__(self, params: Any, lr: float = 0.05) -> None:
        super().__init__(params, lr)
        self.order = [id(p) for group in self.param_groups for p in group["params"]]
        self.buffers = [torch.zeros_like(p) for group in self.param_groups for p in group["params"]]

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        state["seen"] = True
        return self.buffers[self.order.index(id(p))].mul_(0.9).add_(p.grad)


class Sized(Plain):
    """Keeps the shape of a weight, and trusts it."""

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        shape = state.setdefault("form", tuple(p.shape))
        return p.grad.flatten().view(shape)  # type: ignore[union-attr]


class AtFirst(Plain):
    """Makes what it keeps in its first step only, which it counts in its group."""

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        [group] = self.param_groups
        if "step" not in group:
            group["step"] = 0
            for each in group["params"]:
                self.state[each]["momentum"] = torch.zeros_like(each)
        momentum: Tensor = state["momentum"].mul_(0.9).add_(p.grad)
        return momentum


class Averaging(Plain):
    """Trains at a mixture of two weights, and evaluates at another one, as schedule-free optimisers do."""

    training = False

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        assert self.training
        z = state.setdefault("z", p.clone())
        z.sub_(0.05 * p.grad)
        return (p - z) * 2

    def train(self) -> None:
        self._mix(0.1, training=True)

    def eval(self) -> None:
        self._mix(-0.1 / 0.9, training=False)

    @torch.no_grad()
    def _mix(self, share: float, *, training: bool) -> None:
        if training != self.training:
            for p, state in self.state.items():
                p.lerp_(state["z"], share)
        self.training = training


class Ahead:
    """Slow weights around any optimiser, which is no class of torch's."""

    def __init__(self, base: Optimizer, every: int = 2) -> None:
        self.base, self.every, self.count = base, every, 0
        self.slow: dict[Tensor, Tensor] = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.base.param_groups

    def zero_grad(self) -> None:
        self.base.zero_grad()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        self.base.step(closure)
        self.count += 1
        for p in (p for group in self.param_groups for p in group["params"]):
            if p not in self.slow:
                self.slow[p] = p.clone()
            elif self.count % self.every == 0:
                p.copy_(self.slow[p].lerp_(p, 0.5))


class Closed(Plain):
    """Cannot be made a second time, nor copied."""

    made = 0

    def __init__(self, params: Any, lr: float = 0.05) -> None:
        super().__init__(params, lr)
        type(self).made += 1
        self.lock = threading.Lock()
        self.tired = self.made > 1

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        if self.tired:
            raise RuntimeError("one of my kind is enough")
        momentum: Tensor = state.setdefault("momentum", torch.zeros_like(p)).mul_(0.9).add_(p.grad)
        return momentum


# --- networks


@dataclass(frozen=True)
class Network:
    """A network that is trained, and what of it dies.

    Attributes:
        build: makes it.
        shape: of a batch.
        dies: names of the populations that lose units; all that are free, if there are none.
        neurons: returns the classes that discovery has to be told of.
        dtype: snntorch's states begin in float32.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    dies: tuple[str, ...] = ()
    neurons: Callable[[], tuple[type[nn.Module], ...]] = tuple
    dtype: torch.dtype = torch.float64


def _dense() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))


def _container() -> nn.Module:
    """Return SpikingJelly's container; what feeds forward excites, so that it fires whoever dies."""
    wired = layer.LinearRecurrentContainer(node("s"), 12, 12, step_mode="m")
    net = nn.Sequential(line(6, 12), node(), wired, line(12, 4))
    for weight in (net[0].weight.data, wired.rc.weight.data[:, :12]):
        weight.abs_()
    return net


def _of(family: Family) -> Network:
    return Network(lambda: learns_what_shows(family.network("m")), (5, 8, *family.shape))


def learns_what_shows(net: nn.Module) -> nn.Module:
    """Let no bias learn in front of a norm, which takes it out again: its gradient is rounding alone."""
    for module in net.modules():
        if isinstance(module, Normed):
            module[0].bias.requires_grad_(False)
    return net


DENSE = Network(_dense, (16, 6), ("0",))
DIGITS = ModelConfig("rsnn", hidden=12, neuron="alif", tau="heterogeneous")
RLEAKY = snntorch_networks.TRIALS["RLeaky, states by hand"]
WIRED = {
    "rsnn": _of(Family("rsnn", lambda: build(DIGITS, (1, 2, 6), 3), (1, 2, 6), 2, "m")),
    "LinearRecurrentContainer": Network(_container, (5, 8, 6)),
    "snnprune.nn.RNN": Network(lambda: Words(RNN(6, 12, 2, "relu", bidirectional=True), 24), (5, 8, 6)),
    "attention": _of(FAMILIES["attention"]),
    "snntorch's RLeaky": Network(RLEAKY.build, RLEAKY.shape, neurons=RLEAKY.neurons, dtype=torch.float32),
}
"""Networks that are wired to themselves, and one with attention."""


# --- a run


class Kill(Method):
    """Kills the units of `DEAD`, counted in the dense network; of a few heads, one at a time.

    Args:
        names: of the populations; all that are free, if there are none.
    """

    def __init__(self, names: tuple[str, ...] = ("0",)) -> None:
        self.names = names

    def end_epoch(self, view: Any, metrics: Any) -> Decision:
        units = {}
        for population in view.topology.free():
            name, gone = population.name, DEAD.get(view.clock.epoch, [])
            if name in self.names or not self.names:
                few = len(gone) > len(view.survivors[name]) // 2
                alive = ~torch.isin(view.survivors[name], torch.tensor(gone[: 1 if few else None]))
                units[name] = view.masks.units[name] & alive
        return Decision(units=units)


class Run:
    """A network in float64 that is trained, with masks alone or with cuts.

    Args:
        make: makes an optimiser of what ``of`` returns.
        every: how many epochs lie between cuts; None for none.
        of: returns the network's parameters, or itself.
        network: that is trained.
        pruned: False trains it alone.
    """

    def __init__(
        self,
        make: Callable[[Any], Any],
        every: int | None = None,
        of: Callable[[nn.Module], Any] = nn.Module.parameters,
        network: Network = DENSE,
        *,
        pruned: bool = True,
    ) -> None:
        torch.manual_seed(0)
        self.model: Any = network.build().to(network.dtype).train()
        self.optimizer = make(of(self.model))
        method, example = Kill(network.dies), torch.rand(network.shape, dtype=network.dtype)
        self.pruner: Any = (
            Pruner(self.model, example, method, epochs=EPOCHS, compact_every=every, neurons=network.neurons())
            if pruned
            else None
        )
        dice = torch.Generator().manual_seed(1)
        self.x = 2 * torch.rand(EPOCHS, BATCHES, *network.shape, generator=dice).to(network.dtype)

    def batch(self, epoch: int, batch: int) -> None:
        x = self.x[epoch, batch]
        given = x if x.ndim == 2 else x.sum(0).flatten(1)

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            with torch.enable_grad():
                reset_states(self.model)
                scores = tensors_in(self.model(x))[0]
                scores = scores if x.ndim == 2 else scores.mean(0)
                loss = F.cross_entropy(scores, given[:, :3].argmax(1))
                loss.backward()  # type: ignore[no-untyped-call]
            return loss

        self.optimizer.step(closure)
        if self.pruner is not None:
            self.pruner.step(self.optimizer)

    def epochs(self, first: int = 0, last: int = EPOCHS) -> Run:
        for epoch in range(first, last):
            for batch in range(BATCHES):
                self.batch(epoch, batch)
            if self.pruner is not None:
                self.pruner.end_epoch()
        return self


ELEMENTWISE = {
    "nested": Nested,
    "made in the first step": AtFirst,
    "around another one": lambda p: Ahead(torch.optim.SGD(p, 0.05, momentum=0.9)),
    "around a nested one": lambda p: Ahead(Nested(p)),
}
TORCH = {
    "SGD": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    "LBFGS": lambda p: torch.optim.LBFGS(p, 0.05, max_iter=2),
    "LBFGS, another order": lambda p: torch.optim.LBFGS(list(p)[::-1], 0.05, max_iter=2),
}
for _kind in (
    *(torch.optim.Adadelta, torch.optim.Adagrad, torch.optim.Adam, torch.optim.Adamax, torch.optim.ASGD),
    *(torch.optim.NAdam, torch.optim.RAdam, torch.optim.RMSprop, torch.optim.Rprop),
):
    TORCH[_kind.__name__] = partial(_kind, lr=0.01)


@pytest.mark.parametrize(
    ("name", "network"),
    [(name, "") for name in (*ELEMENTWISE, *TORCH)]
    + [
        pytest.param(*case, marks=[pytest.mark.slow])
        for case in itertools.product((*ELEMENTWISE, *TORCH), WIRED)
    ],
)
def test_masked_and_cut_are_one_training(name: str, network: str) -> None:
    make, trained = (ELEMENTWISE | TORCH)[name], WIRED.get(network, DENSE)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        masked, cut = (Run(make, every, network=trained).epochs() for every in (None, 1))
    dead = sum(int((~units).sum()) for units in masked.pruner.masks.units.values())
    assert sum(cut.pruner.survivors.sizes.values()) - sum(map(len, cut.pruner.survivors.values())) == dead
    assert difference(masked, cut) < (1e-10 if trained.dtype == torch.float64 else 1e-5)
    assert_the_dead_are_zero(masked, (lambda *_: ()) if name.startswith("LBFGS") else kept)
    weights = {p.weight for p in masked.pruner.topology.projections.values()}
    for key, dead in dead_entries(masked.pruner).items():
        weight = dict(masked.model.named_parameters()).get(key)
        if weight is not None and key in weights and not name.startswith("LBFGS"):
            shaped = [t for t in kept(masked.optimizer, weight) if t.shape == weight.shape]
            assert shaped
            assert all(t[~dead].any() for t in shaped)


def test_an_average_of_weights_forgets_the_dead_whatever_the_steps_are() -> None:
    run = Run(Remembering).epochs()
    assert_the_dead_are_zero(run, lambda optimizer, p: [optimizer.state[p]["average"]])
    assert run.optimizer.state[run.model[0].weight]["squares"].all()  # in another basis nothing is dead


REFUSED = {
    Rotated: r"'(squares|basis)' in numbers that mix the weight's entries",
    Coded: r"'(state1|absmax1)' in",
    Boxed: r"'momentum' as Rounded",
    Beside: r"'buffers' beside the state of the weight",
    Sized: r"'form' as a size of the weight",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_cut_cannot_follow_is_refused_before_anything_changes(kind: type[Plain]) -> None:
    run = Run(kind).epochs(0, 2)
    before = copy.deepcopy(run.model.state_dict())
    with pytest.raises(CompactionError, match=rf"{kind.__name__} cannot go along.*{REFUSED[kind]}.*AdamW"):
        run.pruner.compact()
    assert all(torch.equal(run.model.state_dict()[key], t) for key, t in before.items())
    assert not run.model[0].weight[DEAD[0]].any()
    run.epochs(2, 4)
    assert not run.model[0].weight[DEAD[0] + DEAD[1]].any()


def test_a_cut_that_will_be_refused_is_said_at_the_first_step() -> None:
    run = Run(Rotated, every=2)
    with pytest.warns(UserWarning, match=r"Rotated cannot go along with a cut of 0\.weight"):
        run.batch(0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run.batch(0, 1)


def test_state_in_another_basis_is_left_as_it_is() -> None:
    run = Run(Rotated).epochs(0, 1)
    squares = run.optimizer.state[run.model[0].weight]["squares"].clone()
    assert squares[DEAD[0]].any()
    run.pruner.masks.apply(run.optimizer)
    assert torch.equal(run.optimizer.state[run.model[0].weight]["squares"], squares)


def test_dead_moments_in_codes_are_zero() -> None:
    run = Run(Coded).epochs()
    state = run.optimizer.state[run.model[0].weight]
    dead = ~run.pruner.masks.units["0"]
    assert state["state1"][dead].unique().tolist() == [127]
    assert state["qmap1"][127] == 0
    assert len(state["state1"][~dead].unique()) > 10


def test_dead_moments_in_a_tensor_class_are_zero() -> None:
    run = Run(Boxed).epochs()
    momentum = run.optimizer.state[run.model[0].weight]["momentum"].dequantize()
    dead = ~run.pruner.masks.units["0"]
    assert not momentum[dead].any()
    assert momentum[~dead].any()


@pytest.mark.parametrize("kind", [ByMean, Factored])
def test_a_step_that_depends_on_the_size_is_said_where_cuts_are_asked_for(kind: type[Plain]) -> None:
    with pytest.warns(UserWarning, match=f"{kind.__name__} takes other steps once"):
        run = Run(partial(kind, lr=0.002), every=1).epochs()
    assert run.model[0].out_features == 7
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        Run(partial(kind, lr=0.002)).epochs()


class ByMoments(Plain):
    """Divides by the mean size of its momentum; what has no gradient keeps one that falls off."""

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        momentum: Tensor = state.setdefault("momentum", torch.zeros_like(p)).mul_(0.9).add_(p.grad)
        return p.grad / (momentum.norm() + 1e-12)


class Projected(Plain):
    """Steps across the weights where the gradient points along them by less than a bound of their size."""

    def direction(self, p: Tensor, state: dict[Any, Any]) -> Tensor:
        momentum: Tensor = state.setdefault("momentum", torch.zeros_like(p)).mul_(0.9).add_(p.grad)
        rows = p.flatten(1) if p.ndim > 1 else p.unsqueeze(0)
        along = F.cosine_similarity(p.grad.view_as(rows), rows).abs()  # type: ignore[union-attr]
        if p.ndim == 1 or along.max() >= 0.1 / rows.shape[1] ** 0.5:
            return momentum
        unit = F.normalize(rows)
        return momentum - (unit * (unit * momentum.view_as(rows)).sum(1, keepdim=True)).view_as(p)


def test_a_bound_on_the_angle_of_a_gradient_is_found_though_random_ones_are_above_it() -> None:
    weight = nn.Parameter(torch.randn(12, 12))
    assert ask(Projected([weight]), weight).by_size
    assert not ask(torch.optim.AdamW([weight]), weight).by_size


@pytest.mark.parametrize(("network", "said"), [("rsnn", True), ("snnprune.nn.RNN", False)])
def test_a_step_that_depends_on_constants_of_the_dead_is_said(network: str, said: bool) -> None:
    """Dead weights are zero and count for nothing in a norm; constants of dead neurons keep their numbers."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        masked, cut = (Run(ByMoments, every, network=WIRED[network]).epochs() for every in (None, 1))
    assert any("ByMoments takes other steps" in str(warning.message) for warning in caught) == said
    assert (difference(masked, cut) > ROUNDING) == said


def test_factors_are_cut_along_the_axis_that_they_follow() -> None:
    run = Run(Factored).epochs(0, 1)
    state = run.optimizer.state[run.model[2].weight]
    rows, columns = state["rows"].clone(), state["columns"].clone()
    alive = run.pruner.masks.units["0"].clone()
    with pytest.warns(UserWarning, match="takes other steps once"):
        run.pruner.compact()
    assert torch.equal(state["rows"], rows)
    assert torch.equal(state["columns"], columns[alive])


@pytest.mark.parametrize("modes_first", [True, False])
def test_weights_that_are_averaged_do_not_bring_back_the_dead(modes_first: bool) -> None:
    run = Run(Averaging)
    weight = run.model[0].weight
    for epoch in range(EPOCHS):
        run.optimizer.train()
        dead = ~run.pruner.masks.units["0"]
        assert not weight[dead].any()
        for batch in range(BATCHES):
            run.batch(epoch, batch)
        if modes_first:
            run.optimizer.eval()
        run.pruner.end_epoch()
        run.optimizer.eval()
        dead = ~run.pruner.masks.units["0"]
        assert not weight[dead].any()
        assert not run.optimizer.state[weight]["z"][dead].any()


def test_a_memory_is_cleared_by_a_death_and_by_nothing_else() -> None:
    run = Run(lambda p: torch.optim.LBFGS(p, 0.05, max_iter=3)).epochs(0, 1)
    state = run.optimizer.state[run.model[0].weight]
    assert "old_dirs" not in state
    run.batch(1, 0)
    assert state["old_dirs"]
    run.pruner.masks.refresh()
    for vectors in ([state["d"], state["prev_flat_grad"]], state["old_dirs"], state["old_stps"]):
        for vector in vectors:
            vector[: 12 * 6].view(12, 6)[DEAD[0]] = 0
    run.pruner.masks.apply(run.optimizer)
    assert state["old_dirs"]


def test_what_could_not_be_found_out_is_said_once_and_left() -> None:
    Closed.made = 0
    run = Run(Closed)
    with pytest.warns(
        UserWarning, match=r"what Closed keeps of them is left.*could not be tried out"
    ) as said:
        run.epochs()
    assert len(said) == 1
    dead = ~run.pruner.masks.units["0"]
    assert not run.model[0].weight[dead].any()
    with pytest.raises(CompactionError, match=r"Closed cannot go along.*could not be tried out"):
        run.pruner.compact()


def test_asking_touches_nothing() -> None:
    run = Run(lambda p: torch.optim.Adam(p, 0.0123)).epochs(0, 1)
    before = copy.deepcopy((run.model.state_dict(), run.optimizer.state_dict()))
    state = torch.get_rng_state()
    finding = ask(run.optimizer, run.model[0].weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert {path[-1] for path, role in finding.roles.items() if role.maskable} == {"exp_avg", "exp_avg_sq"}
    torch.testing.assert_close((run.model.state_dict(), run.optimizer.state_dict()), before, rtol=0, atol=0)


def test_an_optimiser_that_no_step_was_told_of_is_masked_and_cut_as_well() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    given = torch.optim.SGD(model[0].parameters(), 0.1, momentum=0.9)
    other = torch.optim.Adam(model[2].parameters(), 0.01)
    pruner = Pruner(model, torch.rand(2, 6), Kill(), epochs=EPOCHS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            model(torch.rand(8, 6)).square().mean().backward()
            given.step()
            other.step()
            pruner.step(given)
            pruner.end_epoch()
    dead = ~pruner.masks.units["0"]
    moments = other.state[model[2].weight]
    assert not moments["exp_avg"][:, dead].any()
    assert moments["exp_avg"][:, ~dead].any()
    pruner.compact()
    assert moments["exp_avg"].shape == (3, 7)


def test_the_one_inside_another_is_not_taken_twice() -> None:
    base = torch.optim.SGD([nn.Parameter(torch.zeros(2))], 0.1)
    wrapper = Ahead(base)
    assert outermost([base, wrapper]) == [wrapper]
    assert outermost([base]) == [base]


@pytest.mark.parametrize("make", [AtFirst, torch.optim.AdamW, lambda p: Ahead(torch.optim.SGD(p, 0.1))])
def test_a_weight_that_comes_back_starts_anew(make: Callable[[Any], Any]) -> None:
    weight = nn.Parameter(torch.rand(4, 3))
    optimizer = make([weight])
    weight.grad = torch.ones(4, 3)
    optimizer.step()
    larger = torch.rand(6, 5)
    with torch.no_grad():
        torch.utils.swap_tensors(weight, nn.Parameter(larger.clone()))
    weight.grad = None
    moments_of(optimizer).forget(weight)
    assert not any(t.any() for t in kept(optimizer, weight) if t.ndim and not torch.equal(t, larger))
    weight.grad = torch.ones(6, 5)
    optimizer.step()
    assert weight.shape == (6, 5)


def test_state_is_found_where_numbers_are_kept_beside_parameters() -> None:
    weight = nn.Parameter(torch.rand(4, 3))
    optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9)
    state: defaultdict[Any, Any] = defaultdict(dict)
    state["steps"] = 3
    optimizer.state = state
    weight.grad = torch.ones(4, 3)
    optimizer.step()
    factor = torch.ones(4, 3, dtype=torch.int32)
    [(momentum, _)] = moments_of(optimizer).erasures([(weight, factor)])
    assert momentum is state[weight]["momentum_buffer"]


# --- other libraries

UNTRIED = "it does not train such a network, or not on this machine"


def _trained(make: Callable[[Any], Any], *, nudge: float = 0.0, **options: Any) -> Run:
    """Train with an optimiser that is made of a network, as schedule-free ones want it.

    Args:
        make: makes the optimiser.
        nudge: of the weights before the first step, as a share of each.
        options: of the run.
    """
    run = Run(make, of=lambda net: net, **options)
    with torch.no_grad():
        for weight in run.model.parameters():
            weight.mul_(1 + nudge)
    for switch in ("train", "eval"):
        if callable(getattr(run.optimizer, switch, None)):
            with suppress(AttributeError):  # of a wrapper that hands on to one without modes
                getattr(run.optimizer, switch)()
        if switch == "train":
            run.epochs()
    return run


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")  # what optimisers say of their own options
@pytest.mark.parametrize("network", ["", *WIRED])
@pytest.mark.parametrize("package", PLACES)
def test_no_optimiser_of_another_library_is_cut_without_a_word(package: str, network: str) -> None:
    pytest.importorskip(PLACES[package], reason=f"needs {package}: pip install {package}")
    found: dict[str, str] = {}
    with torch.compiler.set_stance("force_eager"):  # what heavyball compiles takes minutes each
        for name, make in optimisers(package):
            found[name] = _found(make, WIRED.get(network, DENSE))
    assert {name: fault for name, fault in found.items() if fault not in ("", UNTRIED)} == {}
    assert "" in found.values()


def _found(make: Callable[[Any], Any], network: Network) -> str:
    """Return what is wrong with masks and cuts under an optimiser, "" for nothing."""
    for dtype in dict.fromkeys((network.dtype, torch.float32)):
        subject = replace(network, dtype=dtype)
        try:
            _trained(make, network=subject, pruned=False)
        except Exception:
            continue
        return _compared(make, subject)
    return UNTRIED


def _compared(make: Callable[[Any], Any], network: Network) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        masked, cut = (_trained(make, every=every, network=network) for every in (None, 1))
        for run in (masked, cut):
            state = run.model.state_dict()
            if any(state[key][dead].any() for key, dead in dead_entries(run.pruner).items()):
                return "the dead are not zero"
        rounding = ROUNDING if network.dtype == torch.float64 else 100 * ROUNDING
        if any("masks" in str(w.message) for w in caught) or difference(masked, cut) < rounding:
            return ""
        nudged = _trained(make, network=network, nudge=8 * torch.finfo(network.dtype).eps)
    chaotic = not difference(masked, nudged) < rounding  # a rounding makes another training of it
    return "" if chaotic else "cut without a word"


def test_dead_moments_in_the_codes_of_bitsandbytes_are_zero() -> None:
    library = pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: pip install bitsandbytes")
    model, weight, dead = _trained_with_half_dead(lambda m: library.optim.Adam8bit(m.parameters(), lr=1e-3))
    state = model.optimizer.state[weight]
    assert state["state1"].dtype == torch.uint8
    assert not state["qmap1"][state["state1"][dead].long()].any()
    with pytest.raises(CompactionError, match=r"Adam8bit cannot go along.*in codes \(uint8\)"):
        model.pruner.compact()


@pytest.mark.parametrize("kind", ["AdamW8bit", "AdamW4bit", "AdamWFp8"])
def test_dead_moments_in_the_tensor_classes_of_torchao_are_zero(kind: str) -> None:
    library = pytest.importorskip("torchao.optim", reason="needs torchao: pip install torchao")
    with torch.compiler.set_stance("force_eager"):
        model, weight, dead = _trained_with_half_dead(
            lambda m: getattr(library, kind)(m.parameters(), lr=1e-3)
        )
        moment = model.optimizer.state[weight]["exp_avg"]
    assert type(moment).__name__.startswith("OptimState")
    numbers = moment.dequantize()
    assert not numbers[dead].any()
    assert numbers[~dead].any()
    with pytest.raises(CompactionError, match=f"{kind}.* cannot go along.*as OptimState"):
        model.pruner.compact()


class _Half:
    """A network wide enough for moments in 8 bits, half of whose hidden units die after two steps."""

    def __init__(self, make: Callable[[nn.Module], Any]) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 4))
        self.optimizer = make(self.model)
        x = torch.rand(16, 64)
        self.pruner = Pruner(self.model, x[:2], Method(), epochs=9)
        for batch in range(5):
            if batch == 2:
                population = self.pruner.topology.populations["0"]
                self.pruner.masks.keep_units(population, torch.arange(128) % 2 == 0)
                self.pruner.masks.refresh()
            self.optimizer.zero_grad()
            self.model(x).square().mean().backward()
            self.optimizer.step()
            self.pruner.step(self.optimizer)


def _trained_with_half_dead(make: Callable[[nn.Module], Any]) -> tuple[_Half, Tensor, Tensor]:
    run = _Half(make)
    return run, run.model[0].weight, torch.arange(128) % 2 == 1


def test_a_wrapper_without_a_state_of_its_own_goes_back_to_a_snapshot() -> None:
    class Back(Method):
        def end_epoch(self, view: Any, metrics: Any) -> Decision:
            return Decision(snapshot=True) if view.clock.epoch == 0 else Decision(restore=True, finished=True)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    optimizer, x = Ahead(torch.optim.Adam(model.parameters(), 0.01)), torch.rand(8, 4)
    pruner = Pruner(model, x, Back(), epochs=4)
    seen = []
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        pruner.step(optimizer)  # type: ignore[arg-type]
        seen.append(model[0].weight.detach().clone())
        pruner.end_epoch()
    assert pruner.returned_to == 0
    assert torch.equal(model[0].weight, seen[0])
    assert not torch.equal(*seen)
