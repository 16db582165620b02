"""Copies and files of a network are the same whether a pruner, a callback or a counter watches it or not."""

from __future__ import annotations

import copy
import copyreg
import io
import pickle
from contextlib import ExitStack, closing
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.config.names import METHODS
from snnprune.network.firing import Watch
from snnprune.network.hooks import Hook
from snnprune.network.synops import SpikeCounter
from snnprune.pruning.compaction.survivors import survivors_of

if TYPE_CHECKING:
    from collections.abc import Callable

X = torch.rand(3, 8, 6, generator=torch.Generator().manual_seed(0)) * 2


def network(*, spiking: bool = True) -> nn.Sequential:
    torch.manual_seed(0)

    def activation() -> nn.Module:
        return neuron.LIFNode(v_threshold=0.3, step_mode="m") if spiking else nn.ReLU()

    return nn.Sequential(nn.Linear(6, 9), activation(), nn.Linear(9, 8), activation(), nn.Linear(8, 3))


def train(model: nn.Module, pruner: snnprune.Pruner, epochs: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(epochs):
        for _ in range(2):
            optimizer.zero_grad()
            model(X).square().mean().backward()
            optimizer.step()
            pruner.step(optimizer)
            functional.reset_net(model)
        pruner.end_epoch({"val_accuracy": 0.5})


class Strangers(pickle.Unpickler):
    """Reads a file as somebody does who has no snnprune."""

    def find_class(self, module: str, name: str) -> Any:
        assert not module.startswith("snnprune"), f"the file needs {module}.{name}"
        return super().find_class(module, name)


def saved(model: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.save(model, file)
    return file.getvalue()


def in_python(model: nn.Module) -> bytes:
    file = io.BytesIO()
    pickle._Pickler(file).dump(model)  # type: ignore[attr-defined]
    return file.getvalue()


WRITERS: dict[str, Callable[[nn.Module], bytes]] = {
    "pickle": pickle.dumps,
    "an old protocol": lambda model: pickle.dumps(model, 0),
    "the pickler in Python": in_python,
    "processes": lambda model: bytes(ForkingPickler.dumps(copy.deepcopy(model))),
}


def hooks_of(model: nn.Module) -> list[Any]:
    """Return the hooks of all modules, and what modules note of them."""
    held = (
        "_forward_hooks",
        "_forward_pre_hooks",
        "_forward_hooks_always_called",
        "_forward_hooks_with_kwargs",
    )
    return [hook for m in model.modules() for name in held for hook in getattr(m, name).values()]


def is_plain(model: nn.Module) -> None:
    """Assert that a copy of ``model`` has no hooks, and that its file is read without snnprune."""
    assert hooks_of(model), "somebody watches"
    for way in (copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))):
        assert not hooks_of(way(model))
    torch.load(io.BytesIO(saved(model)), weights_only=False)
    for name, write in WRITERS.items():
        if name != "processes":
            Strangers(io.BytesIO(write(model))).load()
        again = pickle.loads(write(model))
        assert torch.equal(again.eval()(X), copy.deepcopy(model).eval()(X)), name
    assert hooks_of(model), "the network itself is still watched"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore")
def test_an_open_pruner_does_not_go_along(method: str) -> None:
    model = network()
    plain = pickle.dumps(model)
    pruner = snnprune.Pruner(model, X, method, epochs=6)
    assert pickle.dumps(model) == plain, "the file is as it was before the pruner was made"
    is_plain(model)
    train(model, pruner, 6)
    is_plain(model)
    pruner.compact()
    is_plain(model)
    open_, kept = pickle.dumps(model), survivors_of(model)
    pruner.close()
    assert not hooks_of(model)
    assert len(pickle.dumps(model)) == len(open_)
    again = survivors_of(pickle.loads(open_))
    assert again.cut_sizes == kept.cut_sizes
    assert all(torch.equal(again[name], kept[name]) for name in kept)


def test_copies_do_not_disturb_the_pruner() -> None:
    """A loop that copies, traces and exports its network between batches prunes as one that does not."""
    masks = []
    for disturbed in (False, True):
        model = network(spiking=False)
        pruner = snnprune.Pruner(model, X, "dpap", epochs=6, target=0.5)
        for _ in range(6):
            train(model, pruner, 1)
            if disturbed:
                copy.deepcopy(model)(X).sum().backward()
                torch.jit.trace(model, X)
                torch.jit.script(copy.deepcopy(model))
                torch.export.export(model, (X,))
                torch.func.functional_call(model, dict(model.named_parameters()), (X,))
                pickle.loads(pickle.dumps(model))(X)
        masks.append(pruner.dense_masks()["synapses"])
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in masks[0])
    assert not all(alive.all() for alive in masks[0].values())


def gradients(way: str, model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the gradients of the mean of the squared answers, computed in one of three ways."""
    held = {name: p.detach() for name, p in model.named_parameters()}

    def loss(held: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, held, (x,)).square().mean()

    if way == "grad":
        return torch.func.grad(loss)(held, X)
    if way == "vmap":
        each = torch.func.vmap(torch.func.grad(loss), (None, 1))(held, X.unsqueeze(2))
        return {name: g.mean(0) for name, g in each.items()}
    model(X).square().mean().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def functional_loop(way: str, epochs: int) -> float:
    model = network(spiking=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    pruner = snnprune.Pruner(model, X, "dpap", epochs=epochs, target=0.5)
    for _ in range(epochs):
        optimizer.zero_grad()
        found = gradients(way, model)
        for name, p in model.named_parameters():
            p.grad = found[name]
        optimizer.step()
        pruner.step(optimizer)
        pruner.end_epoch()
    return pruner.rates().synapses


def test_gradients_of_torch_func_are_a_batch_and_those_by_vmap_are_named() -> None:
    assert functional_loop("backward", 6) == functional_loop("grad", 6) > 0
    with pytest.warns(UserWarning, match=r"no training of the network was seen .* not under torch.vmap"):
        functional_loop("vmap", 3)


def test_scripting_says_what_to_do() -> None:
    model = network(spiking=False)
    with snnprune.Pruner(model, X, "magnitude", epochs=6):
        with pytest.raises(
            UserError, match=r"torch.jit.script cannot take hooks.*script copy.deepcopy\(model\)"
        ):
            torch.jit.script(model)
        assert torch.equal(torch.jit.script(copy.deepcopy(model))(X), model(X))
        for strict, shown in ((False, model), (True, copy.deepcopy(model))):
            exported = torch.export.export(shown.eval(), (X,), strict=strict).module()
            assert torch.equal(exported(X), model(X))
    torch.jit.script(model)


def test_counters_do_not_go_along() -> None:
    model = network()
    with ExitStack() as stack:
        stack.enter_context(closing(Watch(model)))
        is_plain(model)
        stack.enter_context(SpikeCounter(model, snnprune.discover(model, X)))
        is_plain(model)
    assert not hooks_of(model)


def test_hooks_of_others_go_along() -> None:
    model = network()
    theirs = model[0].register_forward_hook(print, always_call=True)
    with snnprune.Pruner(model, X, "dpap", epochs=6):
        for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert [hook for hook in hooks_of(again) if not isinstance(hook, bool)] == [print]
            assert list(again[0]._forward_hooks_always_called) == [theirs.id]
    theirs.remove()


class OwnCopy(nn.Sequential):
    """Has a way of its own to be copied and pickled."""

    def __deepcopy__(self, memo: dict[int, Any]) -> OwnCopy:
        twin = type(self).__new__(type(self))
        vars(twin).update(copy.deepcopy(vars(self), memo))
        return twin


class Entered(nn.Sequential):
    """Has a way to be pickled that its owner has entered."""


def _entered(module: Entered) -> Any:
    return Entered, tuple(module)


@pytest.mark.parametrize(
    "made",
    [
        lambda: OwnCopy(*network(spiking=False)),
        lambda: torch.fx.symbolic_trace(network(spiking=False)),
        lambda: Entered(*network(spiking=False)),
    ],
    ids=["own __deepcopy__", "GraphModule", "entered"],
)
def test_classes_with_ways_of_their_own(made: Callable[[], nn.Module]) -> None:
    copyreg.pickle(Entered, _entered)
    model = made()
    with snnprune.Pruner(model, X, "dpap", epochs=6) as pruner:
        for way in (copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))):
            twin = way(model)
            assert not any(isinstance(hook, Hook) for hook in hooks_of(twin))
            twin.train()(X).sum().backward()
            assert torch.equal(twin(X), model.eval()(X))
            model.train()
        assert not pruner.step()  # no batch of the network itself was seen
    assert copyreg.dispatch_table[Entered] is _entered
