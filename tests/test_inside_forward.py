"""What a forward may do inside: caught errors, modes, hooks of others, parameters of others."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from snnprune import discover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

X = torch.rand(2, 4)
FOREIGN = "b is called with other parameters than its own"
OUTPUT = "it is the output of the network"


class Net(nn.Module):
    """Four layers in a row, with ``way`` in the middle of them."""

    def __init__(self, way: Callable[[Any, Tensor], Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.c, self.out = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.acts, self.parts, self.way = (
            nn.ModuleList(nn.ReLU() for _ in range(3)),
            nn.ModuleList(parts),
            way,
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.way(self, self.acts[0](self.a(x)))
        return self.out(self.acts[2](self.c(h)))

    def middle(self, h: Tensor) -> Tensor:
        return self.acts[1](self.b(h))


class Refusing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("not this one")


class Named(Refusing):
    """The same, of a class that is named as a neuron."""


def caught(attempt: Callable[[Net, Tensor], Any]) -> Callable[[Net, Tensor], Tensor]:
    def way(net: Net, h: Tensor) -> Tensor:
        with suppress(RuntimeError, ValueError, TypeError):
            attempt(net, h)
        return net.middle(h)

    return way


class Passing(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class PassingBelow(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


def under(mode: Callable[[], Any]) -> Callable[[Net, Tensor], Tensor]:
    def way(net: Net, h: Tensor) -> Tensor:
        with mode():
            return net.middle(h).float()

    return way


def by_generator(net: Net, h: Tensor) -> Tensor:
    def steps() -> Iterator[Tensor]:
        y = net.b(h)
        yield y
        yield net.acts[1](y)

    return list(steps())[1]


TRANSPARENT: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "a layer that raises": caught(lambda n, h: n.out(torch.rand(2, 99))),
    "an operation that raises": caught(lambda n, h: h.view(7, 7)),
    "a module that raises": caught(lambda n, h: n.parts[0](h)),
    "no_grad": under(torch.no_grad),
    "inference_mode": under(torch.inference_mode),
    "autocast": under(lambda: torch.autocast("cpu", torch.bfloat16)),
    "a device": under(lambda: torch.device("cpu")),
    "a mode of functions": under(Passing),
    "a mode of operators": under(PassingBelow),
    "checkpoint": lambda n, h: checkpoint(n.middle, h, use_reentrant=False),
    "reentrant checkpoint": lambda n, h: checkpoint(n.middle, h, use_reentrant=True),
    "a generator": by_generator,
    "a function of autograd": lambda n, h: n.middle(Doubled.apply(h)),
    "a compiled part": lambda n, h: torch.compile(n.middle, backend="eager")(h),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_nothing_behind_it_is_lost(name: str) -> None:
    topology = discover(Net(TRANSPARENT[name], Refusing()), X)
    assert {p.name: p.frozen for p in topology.populations.values()} == {
        "a": None, "b": None, "c": None, "out": OUTPUT,
    }  # fmt: skip


def test_a_layer_that_is_tried_first_is_kept_whole() -> None:
    """Its calls in training cannot be told from those of the example."""
    net = Net(caught(lambda n, h: n.b(torch.rand(2, 99))))
    topology = discover(net, torch.rand(3, 4))
    reason = "b raises an error, and the network goes on without it"
    assert {name: topology.populations[name].frozen for name in "abc"} == {"a": None, "b": reason, "c": None}
    assert [p.positions for p in topology.projections.values()] == [1, 1, 1, 1]


def functional(weight: Callable[[Net], Tensor]) -> Callable[[Net, Tensor], Tensor]:
    return lambda n, h: n.acts[1](torch.func.functional_call(n.b, {"weight": weight(n)}, h))


def with_new_parameter(net: Net, h: Tensor) -> Tensor:
    net.b.weight = nn.Parameter(net.b.weight.detach() * 2)
    return net.middle(h)


def hidden(net: Net, h: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():
        return net.middle(h) * 1


FREEZING: dict[str, tuple[Callable[[Net, Tensor], Tensor], str]] = {
    "a layer that raises on it": (
        caught(lambda n, h: n.parts[1](h)),
        "parts.1 raises an error, and the network goes on without it",
    ),
    "a neuron that raises on it": (
        caught(lambda n, h: n.parts[2](h)),
        "parts.2 raises an error, and the network goes on without it",
    ),
    "functional_call": (
        functional(lambda n: torch.rand(6, 6)),
        FOREIGN,
    ),
    "fast weights": (functional(lambda n: n.b.weight * 2), FOREIGN),
    "a parameter of the forward": (with_new_parameter, FOREIGN),
    "vmap": (lambda n, h: torch.vmap(n.middle)(h), "its channels are lost before b"),
    "a condition of torch": (
        lambda n, h: torch.cond(h.sum() > 0, lambda h: h * 2, lambda h: h * 3, (n.middle(h),)),
        "cond()",
    ),
    "hidden from functions": (hidden, "its channels are lost before"),
}


@pytest.mark.parametrize("name", FREEZING)
def test_what_is_not_seen_is_frozen_for_a_true_reason(name: str) -> None:
    way, reason = FREEZING[name]
    net = Net(way, Refusing(), nn.Linear(5, 5), Named())
    topology = discover(net, X, neurons=(Named,))
    frozen = [p.frozen for p in topology.populations.values() if p.name in {"a", "b"}]
    assert any(reason in str(f) for f in frozen)
    assert (topology.populations["c"].frozen is None) == (topology.look is None)
    assert topology.populations["out"].frozen == OUTPUT


def written_into(_module: nn.Module, _args: Any, y: Tensor) -> None:
    y.add_(1)


@pytest.mark.parametrize("part", ["b", "acts.1"])
@pytest.mark.parametrize("hook", [lambda m, a, y: torch.sigmoid(y) + 1, written_into])
def test_a_hook_that_changes_an_answer_freezes_it(part: str, hook: Any) -> None:
    net = Net(Net.middle)
    net.get_submodule(part).register_forward_hook(hook)
    found = discover(net, X).populations
    assert {name: found[name].frozen for name in "abc"} == {
        "a": None, "b": f"a hook changes what {part} returns", "c": None,
    }  # fmt: skip


def test_a_hook_that_only_looks_changes_nothing() -> None:
    net, seen = Net(Net.middle), []
    for module in net.modules():
        module.register_forward_hook(lambda m, a, y: seen.append(y.mean().item()))
    assert [p.name for p in discover(net, X).free()] == ["a", "b", "c"]
    assert seen


@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_code_that_torch_runs_by_itself_freezes_what_goes_in(how: str) -> None:
    tail = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(tail) if how == "scripted" else torch.jit.trace(tail, torch.rand(2, 6))
    found = discover(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), made), X).populations["0"]
    assert "which is not understood" in str(found.frozen)


def test_layers_that_are_quantised_freeze_what_they_read() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dynamic = torch.ao.quantization.quantize_dynamic(net, {"2"}, dtype=torch.qint8)
        net.qconfig = torch.ao.quantization.get_default_qat_qconfig("x86")
        aware = torch.ao.quantization.prepare_qat(net.train())
    assert "linear_dynamic(), which is not understood" in str(discover(dynamic, X).populations["0"].frozen)
    sizes = {k: v.shape for k, v in aware.state_dict().items()}
    assert discover(aware, X).free() == []
    assert sizes == {k: v.shape for k, v in aware.state_dict().items()}  # observers grow in a forward


def test_what_a_mode_does_to_weights_is_undone() -> None:
    class Merging(nn.Linear):
        """A layer that adds a part of its own to the weight for evaluation, as adapters do."""

        merged = False

        def train(self, mode: bool = True) -> Any:
            if mode == self.merged:
                self.weight.data += -1.0 if mode else 1.0
                self.merged = not mode
            return super().train(mode)

    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), Merging(6, 3)).train()
    before = net[2].weight.detach().clone()
    discover(net, X)
    assert torch.equal(net[2].weight, before)
    assert not net[2].merged
