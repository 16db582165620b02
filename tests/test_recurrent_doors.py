"""Whichever way a network that is wired to itself is called, what arrives is recorded once and whole."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from test_recurrent_golden import NETWORKS, network, plain_loop
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from snnprune.network import discover
from snnprune.nn.recurrent import Recurrent
from snnprune.pruning import TraceRecorder

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS = 5
WAYS = [way for way in NETWORKS if "step by step" not in way]


def weights() -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(0)
    incoming, feedback = torch.randn(2, UNITS, UNITS, generator=dice, dtype=torch.float64)
    return incoming, feedback


def batches(steps: int = 4) -> Iterator[Tensor]:
    dice = torch.Generator().manual_seed(1)
    while True:
        yield 2 * torch.rand(steps, 3, UNITS, generator=dice, dtype=torch.float64)


def silent(net: nn.Module) -> nn.Module:
    """Put states at rest."""
    functional.reset_net(net)
    return net


def _afresh(net: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = silent(net)(x)
    return out


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner.forward(x)
        return out


def called(door: str, net: nn.Module, given: Iterator[Tensor]) -> list[Tensor]:
    """Train one batch through a door, and return what was in it."""
    x = next(given)
    if door == "model(x)":
        net(x).sum().backward()
    elif door == "model.forward(x)":
        net.forward(x).sum().backward()
    elif door == "a module around it":
        Around(net)(x).sum().backward()
    elif door == "checkpointing":
        out: Any = checkpoint(_afresh, net, x.requires_grad_(), use_reentrant=False)
        out.sum().backward()
        x = x.detach()
    elif door == "after an evaluation":
        with torch.no_grad():
            silent(net.eval())(next(given))
        silent(net.train())(x).sum().backward()
    elif door == "after a call that broke off":
        with pytest.raises(IndexError):
            net(x[:, :, 0, None][:, :, 9])
        silent(net)(x).sum().backward()
    elif door == "two forwards, two backwards":
        net(x).sum().backward()
        more = next(given)
        silent(net)(more).sum().backward()
        silent(net)
        return [x, more]
    elif door == "two forwards, one backward":
        more, first = next(given), net(x).sum()
        (first + silent(net)(more).sum()).backward()
        silent(net)
        return [x, more]
    silent(net)
    return [x]


DOORS = [
    "model(x)", "model.forward(x)", "a module around it", "checkpointing", "after an evaluation",
    "after a call that broke off", "two forwards, two backwards", "two forwards, one backward",
]  # fmt: skip


QUICK = {*((way, door, "series") for way in ("left out", "at the end") for door in DOORS)} | {
    (way, door, "trace") for way in WAYS for door in ("model(x)", "two forwards, one backward")
}


@pytest.mark.parametrize(
    ("way", "door", "keep"),
    [
        pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow])
        for case in itertools.product(WAYS, DOORS, ("series", "trace"))
    ],
)
def test_what_arrives_is_recorded_once_and_whole(way: str, door: str, keep: Any) -> None:
    incoming, feedback = weights()
    net, name = network(way, incoming, feedback)
    given = batches()
    recorder = TraceRecorder(net.train(), discover(net, next(given)), keep=keep)
    for _ in range(2):
        inputs = called(door, net, given)
        courses = [plain_loop(incoming, feedback, x) for x in inputs]
        arriving, fired = (torch.cat([torch.stack(c[side]) for c in courses], 1) for side in (0, 1))
        found = recorder.batch()[name]
        pre = found.pre[..., -UNITS:]
        if keep == "series":
            assert torch.equal(pre, arriving)
            assert torch.equal(found.post, fired)
        else:
            decays = 0.5 ** torch.arange(len(arriving) - 1, -1, -1, dtype=torch.float64)
            torch.testing.assert_close(pre, torch.einsum("t,tbi->bi", decays, arriving))
            torch.testing.assert_close(found.post, torch.einsum("t,tbi->bi", decays, fired))
        assert bool(pre.any())
    recorder.close()


def test_a_step_mode_that_was_set_from_outside_does_not_matter() -> None:
    """`set_step_mode` reaches the neurons inside of a recurrent layer, which sets them back when called."""
    recorded = []
    for outside in (False, True):
        layers = (nn.Linear(UNITS, UNITS, bias=False), nn.Linear(UNITS, 2))
        net = nn.Sequential(layers[0], Recurrent(neuron.IFNode(v_threshold=0.5), UNITS), layers[1]).double()
        for layer, weight in zip((net[0], net[1].feedback), weights(), strict=True):
            layer.weight.data.copy_(weight)
        if outside:
            functional.set_step_mode(net, "m")
        given = next(batches())
        recorder = TraceRecorder(net.train(), discover(net, given), keep="series")
        net(given).sum().backward()
        recorded.append(recorder.batch()["1.feedback"])
        recorder.close()
    assert bool(recorded[0].pre.any())
    assert torch.equal(recorded[0].pre, recorded[1].pre)
    assert torch.equal(recorded[0].post, recorded[1].post)
