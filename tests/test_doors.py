"""Whichever way a loop calls the network and steps its optimisers, each batch counts once and whole."""

from __future__ import annotations

import copy
import gc
import warnings
import weakref
from typing import Any

import lightning
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from test_any_loop import Recorded, traced
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import snnprune
from snnprune.common.errors import UserError
from snnprune.pruning import Pruner
from snnprune.pruning.oversights import NO_ACTIVITY

X = torch.rand(24, 4, 20, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    fire = lambda: neuron.LIFNode(tau=2.0, v_threshold=0.3, step_mode="m")  # noqa: E731
    return nn.Sequential(nn.Linear(20, 30), fire(), nn.Linear(30, 24), fire(), nn.Linear(24, 5))


class Task(lightning.LightningModule):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.net, self.way, self.spikes = network(), way, []
        self.automatic_optimization = way != "two optimisers"
        self.net[1].register_forward_hook(
            lambda m, a, y: self.spikes.append(y.detach()) if m.training else None
        )

    def out(self, x: Tensor) -> Any:
        calls = {"self(x)": self, "self.forward(x)": self.forward}
        return calls[self.way](x) if self.way in calls else self.net(x.transpose(0, 1)).mean(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.transpose(0, 1)).mean(0)

    def training_step(self, batch: Any, _: int) -> Any:
        loss = self.out(batch[0]).square().mean()
        if self.automatic_optimization:
            return loss
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
            optimizer.zero_grad()
        return None

    def configure_optimizers(self) -> Any:
        if self.automatic_optimization:
            return torch.optim.SGD(self.parameters(), 0.0)
        return [
            torch.optim.SGD(self.net[0].parameters(), 0.0),
            torch.optim.SGD(self.net[2:].parameters(), 0.0),
        ]


class WithoutForward(Task):
    forward = lightning.LightningModule.forward  # type: ignore[assignment]


def fit(task: Task, method: Any, **options: Any) -> snnprune.PruningCallback:
    callback = snnprune.PruningCallback(method, epochs=1, reset_states=True, **options)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[callback],
    )  # fmt: skip
    trainer.fit(task, DataLoader(TensorDataset(X), 8))
    return callback


@pytest.mark.parametrize(
    ("kind", "way", "prefix"),
    [
        (Task, "self(x)", "net."),
        (Task, "self.forward(x)", "net."),
        (Task, "self.net(x)", "net."),
        (Task, "two optimisers", "net."),
        (WithoutForward, "self.net(x)", ""),
        (WithoutForward, "two optimisers", ""),
    ],
)
def test_a_lightning_module_however_it_calls_its_network(kind: Any, way: str, prefix: str) -> None:
    task, method = kind(way), Recorded("trace")
    fit(task, method, example_input=X[:2] if prefix else X[:2].transpose(0, 1))
    assert len(method.batches) == 3
    for batch, spikes in zip(method.batches, task.spikes[-3:], strict=True):
        torch.testing.assert_close(batch[f"{prefix}0"].post, traced(spikes))


def test_the_network_of_a_lightning_module_can_be_named() -> None:
    task = Task("self.net(x)")
    callback = fit(task, "dpap", network="net", example_input=X[:2].transpose(0, 1), target=0.5)
    assert callback.pruner is not None
    assert callback.pruner.model is task.net
    with pytest.raises(UserError, match=r"network='ned' names no module of Task; its own are net"):
        fit(Task("self.net(x)"), "dpap", network="ned")


def test_several_networks_without_a_forward_have_to_be_named() -> None:
    task = WithoutForward("self.net(x)")
    task.other = network()
    with pytest.raises(UserError, match=r"no forward\(\) .* 2 of its modules have layers: .*network="):
        fit(task, "dpap")


@pytest.mark.parametrize("when", ["before the first step", "after a step", "module.compile()"])
def test_a_compiled_network(when: str) -> None:
    torch._dynamo.reset()
    net: Any = network()
    plain = net
    if when == "module.compile()":
        net.compile(backend="eager")
    else:
        net = torch.compile(net, backend="eager")
    x = X[:8].transpose(0, 1)
    if when != "before the first step":
        net(x).square().mean().backward()
        functional.reset_net(plain)
    method = Recorded("trace")
    pruner = Pruner(net, x, method, epochs=2)
    for _ in range(2):
        net(x).square().mean().backward()
        pruner.step()
        functional.reset_net(plain)
    pruner.close()
    spikes: list[Tensor] = []
    bare = network()
    bare[1].register_forward_hook(lambda m, a, y: spikes.append(y.detach()))
    bare(x)
    for batch in method.batches:
        (name,) = [name for name in batch if name.endswith("0")]
        torch.testing.assert_close(batch[name].post, traced(spikes[0]))


@pytest.mark.parametrize("way", ["eval", "no gradients"])
def test_an_epoch_in_which_no_training_was_seen_is_said_once(way: str) -> None:
    net = network()
    pruner = Pruner(net, X[:1].transpose(0, 1), "dpap", epochs=4, target=0.5)
    net.train(way != "eval")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            with torch.set_grad_enabled(way == "eval"):
                net(X[:8].transpose(0, 1))
            functional.reset_net(net)
            pruner.step()
            pruner.end_epoch()
    assert [str(w.message) for w in said] == [NO_ACTIVITY]


def two(net: nn.Sequential, make: Any) -> list[torch.optim.Optimizer]:
    return [make(net[0].parameters()), make([*net[2].parameters(), *net[4].parameters()])]


def epoch_of(
    net: nn.Sequential,
    pruner: Pruner,
    optimizers: list[torch.optim.Optimizer],
    dice: torch.Generator,
    order: str,
) -> None:
    told = optimizers[:1] if order == "the first alone" else optimizers
    for _ in range(3):
        net(torch.rand(4, 8, 20, generator=dice)).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            if order == "each after its own step":
                pruner.step(optimizer)
        for optimizer in told if order != "each after its own step" else ():
            pruner.step(optimizer)
        for optimizer in optimizers:
            optimizer.zero_grad()
        functional.reset_net(net)
    pruner.end_epoch()


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, 0.01)


@pytest.mark.parametrize("order", ["each after its own step", "all after all steps"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("dpap", {"target": 0.5}),
        ("magnitude", {"target": 0.5}),
        ("admm", {"target": 0.5, "every": 4}),
        ("deep-r", {"target": 0.5}),
        ("grad-r", {"target": 0.5}),
        ("stds", {}),
        ("bdnn-dsd", {}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*are pruned, not")
def test_several_optimisers_are_one(method: str, options: dict[str, Any], order: str) -> None:
    found = []
    for several in (False, True):
        net, dice = network(), torch.Generator().manual_seed(3)
        pruner = Pruner(net, X[:1].transpose(0, 1), method, epochs=6, **options)
        optimizers = two(net, adam) if several else [adam(net.parameters())]
        for _ in range(6):
            epoch_of(net, pruner, optimizers, dice, order)
        assert pruner.clock.batches == 18
        found.append((pruner.dense_masks()["synapses"], net.state_dict()))
    (masks, weights), (others, theirs) = found
    assert all(torch.equal(mask, others[name]) for name, mask in masks.items())
    for name, value in weights.items():
        torch.testing.assert_close(value, theirs[name])


@pytest.mark.parametrize("method", ["dpap", "magnitude", "admm"])
def test_an_optimiser_that_no_step_was_told_of_is_said_once(method: str) -> None:
    net, dice = network(), torch.Generator().manual_seed(3)
    pruner = Pruner(net, X[:1].transpose(0, 1), method, epochs=6, target=0.5)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            epoch_of(net, pruner, two(net, adam), dice, "the first alone")
    assert [str(w.message).partition(" ")[0] for w in said] == ["Adam"]
    assert pruner.clock.batches == 6


def test_the_moments_of_every_optimiser_lose_what_is_dead() -> None:
    net = network()
    pruner = Pruner(net, X[:1].transpose(0, 1), "magnitude", epochs=2, target=0.5)
    optimizers = two(net, torch.optim.Adam)
    for epoch in range(2):
        net(X.transpose(0, 1)).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
        for optimizer in optimizers:
            pruner.step(optimizer)
        functional.reset_net(net)
        if epoch == 0:
            pruner.masks.keep_synapses(pruner.topology.projections["2"], torch.rand(24, 30) > 0.5)
            pruner.masks.refresh()
    dead = ~pruner.masks.alive(pruner.topology.projections["2"])
    assert dead.any()
    moments = optimizers[1].state[net[2].weight]
    assert not moments["exp_avg"][dead].any()
    assert not moments["exp_avg_sq"][dead].any()


def test_parameters_of_no_optimiser_hold_a_batch_up_until_the_next_forward() -> None:
    net, method = network(), Recorded("trace")
    pruner = Pruner(net, X[:1].transpose(0, 1), method, epochs=2)
    optimizer = torch.optim.SGD(net[2].parameters(), 0.1)
    for number in range(3):
        net(X.transpose(0, 1)).square().mean().backward()
        assert len(method.batches) == number
        optimizer.step()
        pruner.step(optimizer)
        functional.reset_net(net)
    pruner.end_epoch()
    assert [batch["0"].post.shape for batch in method.batches] == [(24, 30)] * 3


class Single(nn.Module):
    def __init__(self, *, spare: bool) -> None:
        super().__init__()
        if spare:
            self.aux = neuron.LIFNode()
        self.fc1, self.n1 = nn.Linear(6, 5), neuron.LIFNode()
        self.fc2, self.n2 = nn.Linear(5, 3), neuron.LIFNode()

    def forward(self, x: Tensor) -> Tensor:
        return self.n2(self.fc2(self.n1(self.fc1(x))))


@pytest.mark.parametrize("spare", [False, True])
def test_a_neuron_that_never_fires_is_not_asked_where_a_sample_ends(*, spare: bool) -> None:
    torch.manual_seed(0)
    net, method, steps = Single(spare=spare), Recorded("trace"), torch.rand(7, 4, 6)
    pruner = Pruner(net, steps[0], method, epochs=2)
    for _ in range(2):
        sum(net(step) for step in steps).sum().backward()
        functional.reset_net(net)
    pruner.step()
    torch.testing.assert_close(method.batches[0]["fc1"].pre, traced(steps).repeat(2, 1))


def test_a_batch_that_ran_out_of_memory_and_is_tried_in_halves() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    x, method = torch.rand(8, 6), Recorded("trace")
    pruner = Pruner(net, x, method, epochs=2)
    for place in (2, 4):  # a layer, or the last one, of which no traces are kept

        def full(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            if len(args[0]) == 8:
                raise torch.OutOfMemoryError

        handle = net[place].register_forward_pre_hook(full)
        try:
            net(x).sum().backward()
        except torch.OutOfMemoryError:
            for half in x.chunk(2):  # inside the handler, as it is often written
                net(half).sum().backward()
        pruner.step()
        handle.remove()
    for batch in method.batches:
        torch.testing.assert_close(batch["0"].pre, x)
        assert batch["2"].post.shape == (8, 4)


@pytest.mark.parametrize("method", ["admm", "magnitude", "deep-r"])
def test_a_pruner_that_was_forgotten_acts_no_more(method: str) -> None:
    net = network()
    forgotten = weakref.ref(Pruner(net, X[:1].transpose(0, 1), method, epochs=2, target=0.5))
    gc.collect()
    assert forgotten() is None
    net(X.transpose(0, 1)).square().mean().backward()
    torch.optim.SGD(net.parameters(), 0.1).step()


def test_a_copy_of_a_pruner_in_the_middle_of_a_batch_goes_its_own_way() -> None:
    net, method = network(), Recorded("trace")
    pruner = Pruner(net, X[:1].transpose(0, 1), method, epochs=2)
    optimizers = two(net, torch.optim.SGD)
    net(X.transpose(0, 1)).square().mean().backward()
    optimizers[0].step()
    pruner.step(optimizers[0])
    functional.reset_net(net)
    twin = copy.deepcopy(pruner)
    twin.model(X.transpose(0, 1)).square().mean().backward()
    twin.step()
    assert (len(method.batches), len(twin.method.batches)) == (1, 2)
    assert (pruner.clock.batches, twin.clock.batches) == (1, 2)
    for each in (pruner, twin):
        each.close()
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in each.model.modules())
