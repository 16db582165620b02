"""Random small networks in random loops: traces are those that a plain loop computes from recorded spikes."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from snnprune.pruning import Method, Pruner

TAU = 0.5
SPIKE = surrogate.ATan()


class Own(nn.Module):
    """A neuron of the user's own that takes the whole series, time first: leaky, hard reset."""

    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for step in x:
            v = v + (step - v) / 2
            spikes = SPIKE(v - 0.3)
            v = v * (1 - spikes)
            out.append(spikes)
        return torch.stack(out)


class OwnBatchFirst(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(0, 1)).transpose(0, 1)


class OwnTimeLast(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(-1, 0)).movedim(0, -1)


class OwnStep(nn.Module):
    """One time step; the potential comes in and goes out."""

    def forward(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        v = x / 2 if v is None else v + (x - v) / 2
        spikes = SPIKE(v - 0.3)
        return spikes, v * (1 - spikes)


def lif(mode: str) -> nn.Module:
    return neuron.LIFNode(tau=2.0, v_threshold=0.3, v_reset=0.0, surrogate_function=SPIKE, step_mode=mode)


class Broken(RuntimeError):
    """What a test breaks off with."""


class Net(nn.Module):
    """Layers and neurons one after the other: two convolutions, two linear layers, or linear layers alone.

    Frames are [T, B, ...]; ``way`` says how time goes through the network.
    """

    def __init__(self, way: str, *, conv: bool, widths: tuple[int, int]) -> None:
        super().__init__()
        self.way, self.bomb, self.bombs = way, None, 0
        a, b = widths
        mode = {"multi": "m", "own": "m"}.get(way, "s")
        linear, conv2d = (layer.Linear, layer.Conv2d) if mode == "m" else (nn.Linear, nn.Conv2d)
        options: dict[str, Any] = {"step_mode": mode} if mode == "m" else {}
        if conv:
            layers = [
                conv2d(2, a, 3, padding=1, **options), conv2d(a, b, 3, padding=1, **options),
                linear(16 * b, a, **options), linear(a, 3, **options),
            ]  # fmt: skip
        else:
            layers = [linear(32, a, **options), linear(a, b, **options), linear(b, 3, **options)]
        self.layers = nn.ModuleList(layers)
        make = {
            "multi": lambda: lif("m"), "folded": lambda: lif("m"), "single": lambda: lif("s"),
            "loop": lambda: lif("s"), "own": Own, "own folded": Own, "own batch first": OwnBatchFirst,
            "own time last": OwnTimeLast, "own loop": OwnStep, "ann": nn.ReLU,
        }[way]  # fmt: skip
        self.neurons = nn.ModuleList(make() for _ in layers[1:])
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        if self.way in {"loop", "own loop"}:
            states: list[Any] = [None] * len(self.neurons)
            return torch.stack([self.through(step, states) for step in x]).mean(0)
        y = self.through(x, None)
        return (
            y
            if self.way in {"single", "ann"}
            else y.mean(1 if "first" in self.way or "last" in self.way else 0)
        )

    def through(self, x: Tensor, states: Any) -> Tensor:
        for number, each in enumerate(self.layers):
            if number:
                x = self.fire(number - 1, x, states)
            if self.bomb == number:
                self.bombs -= 1
                if self.bombs == 0:
                    self.bomb = None
                    raise Broken
            if isinstance(each, nn.Linear):
                x = self.as_rows(x)
            x = self.apply_layer(each, x)
        return x

    def as_rows(self, x: Tensor) -> Tensor:
        return x.flatten(-3) if self.conv and x.shape[-2:] == (4, 4) and x.ndim > 3 else x

    def apply_layer(self, each: nn.Module, x: Tensor) -> Tensor:
        if "folded" in self.way or (
            isinstance(each, nn.Conv2d) and ("first" in self.way or "last" in self.way)
        ):
            return each(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return each(x)

    def fire(self, number: int, x: Tensor, states: Any) -> Tensor:
        node = self.neurons[number]
        if self.way == "own loop":
            spikes, states[number] = node(x, states[number])
            return spikes
        if self.way == "own time last":
            return node(x.movedim(1, -1)).movedim(-1, 1)
        return node(x)


class Around(nn.Module):
    """A module around the network, whose own forward the loop does not call."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Recorded(Method):
    """Keeps what it is given, and prunes nothing."""

    def __init__(self, reads: Any) -> None:
        self.reads, self.tau, self.batches = reads, TAU, []  # type: ignore[misc]

    def after_step(self, view: Any) -> None:
        self.batches.append(dict(view.traces))


@dataclass(frozen=True)
class Case:
    way: str
    conv: bool
    widths: tuple[int, int]
    steps: int
    door: str
    reads: str
    batches: tuple[tuple[int, ...], ...]  # samples of the micro-batches of each batch
    failure: str
    place: int
    together: bool
    optimisers: int
    example: int
    seed: int


WAYS = (
    "multi", "folded", "single", "loop", "own", "own folded", "own batch first", "own time last", "own loop",
    "ann",
)  # fmt: skip
CASES = st.builds(
    Case,
    way=st.sampled_from(WAYS),
    conv=st.booleans(),
    widths=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    steps=st.integers(2, 5),
    door=st.sampled_from(["call", "forward", "around", "checkpoint"]),
    reads=st.sampled_from(["trace", "series"]),
    batches=st.lists(
        st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple), min_size=1, max_size=2
    ).map(tuple),
    failure=st.sampled_from(["none", "forward", "loss", "backward"]),
    place=st.integers(0, 2),
    together=st.booleans(),
    optimisers=st.integers(1, 2),
    example=st.integers(1, 5),
    seed=st.integers(0, 1000),
)


def frames(case: Case, samples: int, dice: torch.Generator) -> Tensor:
    """[T, B, 2, 4, 4], or [T, B, 32] for linear layers; one step where there is no time."""
    steps = 1 if case.way == "ann" else case.steps
    x = torch.rand(steps, samples, 2, 4, 4, generator=dice) * 2
    return x if case.conv else x.flatten(2)


def arranged(case: Case, x: Tensor) -> Tensor:
    """What the network takes of frames [T, B, ...]."""
    if case.way == "ann":
        return x[0]
    return x.transpose(0, 1) if "first" in case.way or "last" in case.way else x


def run(case: Case, call: Any, x: Tensor) -> Tensor:
    """One forward of the samples, from rest."""
    if case.way == "single":
        return torch.stack([call(step) for step in x]).mean(0)
    return call(arranged(case, x))


def expected(case: Case, net: Net, x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Series [T, B, C] of what each layer is given and of what its neuron fires."""
    functional.reset_net(net)
    twin = copy.deepcopy(net)
    seen: dict[Any, list[Tensor]] = {}
    for number, module in enumerate(twin.layers):
        module.register_forward_pre_hook(
            lambda m, a, key=("pre", number): seen.setdefault(key, []).append(a[0])
        )
    for number, module in enumerate(twin.neurons):
        module.register_forward_hook(
            lambda m, a, y, key=("post", number): seen.setdefault(key, []).append(
                y[0] if type(y) is tuple else y
            )
        )
    with torch.no_grad():
        run(case, twin, x)
    steps, samples = x.shape[:2]
    found = {}
    for number in range(len(twin.neurons)):
        sides = []
        for side in ("pre", "post"):
            calls = seen[side, number]
            value = torch.stack(calls) if len(calls) > 1 or case.way == "ann" else calls[0]
            if side == "post" and case.way == "own time last":
                value = value.movedim(-1, 1)
            is_batch_first = "first" in case.way or "last" in case.way
            if len(calls) == 1 and value.shape[0] == steps * samples and steps * samples != steps:
                value = value.unflatten(0, (samples, steps) if is_batch_first else (steps, samples))
            elif len(calls) == 1 and case.way != "ann" and value.ndim and value.shape[:2] != (steps, samples):
                order = (samples, steps) if is_batch_first else (steps, samples)
                if value.shape[:2] != order:
                    value = value.unflatten(0, order)
            if is_batch_first:
                value = value.transpose(0, 1)
            is_map = value.ndim == 5
            sides.append(value.sum((-1, -2)) if is_map else value)
        found[f"layers.{number}"] = (sides[0], sides[1])
    return found


def traced(series: Tensor) -> Tensor:
    trace = torch.zeros_like(series[0])
    for step in series:
        trace = TAU * trace + step
    return trace


def attempt(case: Case, net: Net, call: Any, x: Tensor, failure: str) -> None:
    """Forward and backward of a micro-batch, which break off as asked."""
    functional.reset_net(net)
    if failure == "forward":
        calls = case.steps if case.way in {"single", "loop", "own loop"} else 1
        net.bomb, net.bombs = min(case.place, len(net.layers) - 1), 1 + case.seed % calls
    y = run(case, call, x)
    if failure == "loss":
        raise Broken
    if failure == "backward":
        hook = net.layers[0].weight.register_hook(_explode)
        try:
            y.square().mean().backward()
        finally:
            hook.remove()
    y.square().mean().backward()


def _explode(_: Tensor) -> None:
    raise Broken


def can_be(case: Case) -> bool:
    """Leave out what has no answer: steps in checkpoints of their own, and loops that show no boundary."""
    if case.way == "single":
        return case.door != "checkpoint"
    hidden = case.way == "own loop" and case.door in {"forward", "around"}
    return not hidden or case.failure in {"none", "backward"}


def check(case: Case) -> None:
    if not can_be(case):
        return
    torch.manual_seed(case.seed)
    net = Net(case.way, conv=case.conv, widths=case.widths)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.0)
    model = Around(net) if case.door == "around" else net
    dice = torch.Generator().manual_seed(case.seed)
    example = frames(case, case.example, dice)
    given_example = example[0] if case.way == "single" else arranged(case, example)
    method = Recorded(case.reads)
    own = (Own, OwnStep)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = Pruner(model, given_example, method, epochs=3, neurons=own)
    call = {
        "call": net, "around": net, "forward": net.forward,
        "checkpoint": lambda x: checkpoint(net, x.clone().requires_grad_(), use_reentrant=True),
    }[case.door]  # fmt: skip
    parameters = [list(net.layers[:1].parameters()), list(net.layers[1:].parameters())]
    if case.optimisers == 1:
        parameters = [parameters[0] + parameters[1]]
    optimisers = [torch.optim.SGD(p, 0.0) for p in parameters]
    right = []
    for number, sizes in enumerate(case.batches):
        micro = [frames(case, size, dice) for size in sizes]
        if case.failure != "none" and number == case.seed % len(case.batches):
            with pytest.raises(Broken):
                attempt(case, net, call, micro[-1] if case.together else torch.cat(micro, 1), case.failure)
        for x in micro:
            attempt(case, net, call, x, "none")
        for optimiser in optimisers:
            optimiser.step()
            pruner.step(optimiser)
        for optimiser in optimisers:
            optimiser.zero_grad()
        right.append([expected(case, net, x) for x in micro])
    pruner.close()
    assert pruner.clock.batches == len(case.batches)
    assert len(method.batches) == len(case.batches)
    prefix = "net." if case.door == "around" else ""
    for got, parts in zip(method.batches, right, strict=True):
        assert set(got) == {prefix + name for name in parts[0]}
        for name in parts[0]:
            for side, value in enumerate((got[prefix + name].pre, got[prefix + name].post)):
                series = torch.cat([part[name][side] for part in parts], 1)
                want = series if case.reads == "series" else traced(series)
                torch.testing.assert_close(
                    value, want, rtol=1e-5, atol=1e-5, msg=f"{name}, pre or post: {side}"
                )


QUICK = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@QUICK
@given(CASES)
def test_traces_in_any_loop(case: Case) -> None:
    check(case)


@pytest.mark.slow
@settings(QUICK, max_examples=3000, derandomize=False)
@given(CASES)
def test_traces_in_thousands_of_loops(case: Case) -> None:
    check(case)
