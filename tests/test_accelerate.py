"""Networks converted to the fused neuron and back: equal outputs and decisions, and nothing left behind."""

from __future__ import annotations

import copy
import io
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import snnprune
from snnprune.config.schema import ModelConfig
from snnprune.nn import models
from snnprune.nn.fused import LIFNode
from snnprune.nn.fused.once import Once
from snnprune.nn.fused.sequential import Pooling, square_behind
from support.families import FAMILIES
from support.networks import ResidualSNN, conv_snn, lif

if TYPE_CHECKING:
    from collections.abc import Callable


def paper() -> nn.Module:
    torch.manual_seed(0)
    return models.build(ModelConfig(), (2, 34, 34), 10)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "paper": (paper, (2, 34, 34)),
    "small": (conv_snn, (2, 12, 12)),
    "norms": (lambda: conv_snn(norm=True), (2, 12, 12)),
    "residual": (ResidualSNN, (2, 8, 8)),
    **{
        name: (lambda family=FAMILIES[name]: family.network("m"), FAMILIES[name].shape)
        for name in ("spiking_vgg11_bn", "sew_resnet18 ADD", "a loop over time")
    },
}


def frames(shape: tuple[int, ...], steps: int = 4, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return (torch.rand(steps, batch, *shape, generator=generator) * 2).round()


def answers(net: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    torch.manual_seed(0)  # for dropout
    net.zero_grad()
    functional.reset_net(net)
    out = net(x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(6))
    (out * weights).sum().backward()
    functional.reset_net(net)
    return out.detach(), {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}, x.grad


def assert_close(one: Tensor, other: Tensor, within: float = 1e-6) -> None:
    assert one.shape == other.shape
    assert (one - other).abs().max() <= within * one.abs().max()


def kinds(net: nn.Module) -> list[type]:
    return [type(module) for module in net.modules()]


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str) -> None:
    """The same outputs bit for bit, the same gradients to 1e-6 of the largest; and back again."""
    build, shape = NETWORKS[name]
    net = build()
    before, keys = kinds(net), list(net.state_dict())
    fast = snnprune.accelerate(copy.deepcopy(net))
    assert any(type(m) is LIFNode for m in fast.modules())
    x = frames(shape)
    theirs, ours = answers(net, x), answers(fast, x)
    assert torch.equal(theirs[0], ours[0])
    assert theirs[0].any()
    assert theirs[1].keys() == ours[1].keys()
    assert any(gradient.any() for gradient in theirs[1].values())
    largest = max(gradient.abs().max() for gradient in theirs[1].values())
    for key, gradient in theirs[1].items():
        assert (gradient - ours[1][key]).abs().max() <= 1e-6 * largest
    assert list(fast.state_dict()) == keys
    back = snnprune.restore(fast)
    assert back is fast
    assert kinds(back) == before
    assert repr(back) == repr(net)
    for one, other in zip(net.modules(), back.modules(), strict=True):
        assert one.__dict__.keys() == other.__dict__.keys()


class Convolutions(TorchDispatchMode):
    """Notes how many images each convolution computes."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten.convolution.default:
            self.batches.append(args[0].shape[0])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("norm", [False, True])
def test_the_same_image_at_every_step(norm: bool) -> None:
    """Convolutions in front of the first neuron see it once; batch norm counts every step as ever."""
    image = torch.rand(3, 2, 12, 12) * 2
    x = image.expand(5, *image.shape)
    net = conv_snn(norm=norm).train()
    fast = snnprune.accelerate(copy.deepcopy(net))
    with Convolutions() as seen:
        theirs, ours = net(x), fast(x)
    assert seen.batches == [15, 15, 3, 15]
    assert torch.allclose(theirs, ours, atol=0 if not norm else 1e-6)
    (theirs * torch.arange(4.0)).sum().backward()
    (ours * torch.arange(4.0)).sum().backward()
    largest = max(p.grad.abs().max() for p in net.parameters())
    for one, other in zip(net.parameters(), fast.parameters(), strict=True):
        assert (one.grad - other.grad).abs().max() <= 1e-6 * largest
    for one, other in zip(net.buffers(), fast.buffers(), strict=True):
        assert torch.allclose(one, other)


def test_an_image_that_is_learnt_gets_its_gradient() -> None:
    image = torch.rand(3, 2, 12, 12)
    grads = []
    for net in (conv_snn(), snnprune.accelerate(conv_snn())):
        torch.manual_seed(0)
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(torch.randn_like(p) * (0.3 if p.ndim > 1 else 0))
        leaf = image.clone().requires_grad_()
        (net(leaf.expand(4, *leaf.shape)) * torch.arange(4.0)).sum().backward()
        grads.append(leaf.grad)
    assert grads[0].any()
    assert_close(*grads)


# --- who is fused, who is not


def test_neurons_of_other_kinds_are_left_alone() -> None:
    class Own(neuron.LIFNode):
        pass

    net = nn.Sequential(neuron.IFNode(), Own(), neuron.ParametricLIFNode(), neuron.LIFNode())
    snnprune.accelerate(net)
    assert [type(m) for m in net] == [neuron.IFNode, Own, neuron.ParametricLIFNode, LIFNode]


def test_a_neuron_alone_is_a_network() -> None:
    node = neuron.LIFNode(tau=3.0)
    assert snnprune.accelerate(node) is node
    assert type(node) is LIFNode
    assert type(snnprune.restore(node)) is neuron.LIFNode


def test_everybody_who_holds_a_neuron_holds_the_fast_one() -> None:
    """Constants, state, hooks, mode and the list of what to reset stay with the module."""
    node = neuron.LIFNode(tau=3.0, v_reset=None, step_mode="m")
    net = nn.Sequential(node, node).eval()
    functional.reset_net(net)
    calls: list[int] = []
    handle = node.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        node(torch.ones(2, 3))
    potential = node.v
    snnprune.accelerate(net)
    assert net[0] is net[1] is node
    assert node.v is potential
    assert (node.tau, node.v_reset, node.training, node.step_mode) == (3.0, None, False, "m")
    net(torch.ones(2, 3))
    assert calls == [1, 1, 1]
    functional.reset_net(net)
    assert node.v == 0.0
    handle.remove()


PAIRS: dict[str, tuple[nn.Module, int]] = {
    "SpikingJelly's pool": (layer.AvgPool2d(2, step_mode="m"), 2),
    "torch's in a container": (layer.SeqToANNContainer(nn.AvgPool2d((3, 3))), 3),
    "squares that overlap": (layer.AvgPool2d(3, stride=2, step_mode="m"), 1),
    "padded": (layer.AvgPool2d(2, padding=1, step_mode="m"), 1),
    "the rim averaged": (layer.AvgPool2d(2, ceil_mode=True, step_mode="m"), 1),
    "another divisor": (layer.AvgPool2d(2, divisor_override=3, step_mode="m"), 1),
    "no squares": (layer.AvgPool2d((1, 2), step_mode="m"), 1),
    "the maximum": (layer.MaxPool2d(2, step_mode="m"), 1),
    "single-step": (layer.AvgPool2d(2), 1),
    "more in the container": (layer.SeqToANNContainer(nn.AvgPool2d(2), nn.ReLU()), 1),
}


@pytest.mark.parametrize("case", PAIRS)
def test_pairs(case: str) -> None:
    pool, square = PAIRS[case]
    net = nn.Sequential(neuron.LIFNode(step_mode="m"), copy.deepcopy(pool))
    x = torch.randn(3, 2, 2, 7, 9) if case != "single-step" else torch.randn(3, 2, 7, 9)
    wanted = net(x)
    snnprune.accelerate(net)
    functional.reset_net(net)
    assert square_behind(net[0], net[1]) == square
    assert torch.equal(net(x), wanted)


def test_who_looks_at_the_spikes_sees_them_in_full() -> None:
    """A hook on the neuron or the pool is called as ever, also one that comes later than accelerate."""
    net = snnprune.accelerate(conv_snn())
    x = frames((2, 12, 12))
    wanted = net(x)
    for place, full in ((2, (4, 3, 5, 12, 12)), (3, (4, 3, 5, 6, 6))):
        shapes: list[tuple[int, ...]] = []
        handle = net[place].register_forward_hook(lambda _m, _x, y, s=shapes: s.append(tuple(y.shape)))
        functional.reset_net(net)
        assert torch.equal(net(x), wanted)
        assert shapes == [full]
        handle.remove()


def test_a_hook_that_needs_counts_alone_leaves_the_two_as_one() -> None:
    """It is given numbers of spikes by step, sample and channel, and the sums of the averages."""
    net, plain = snnprune.accelerate(conv_snn()), conv_snn()
    plain.load_state_dict(net.state_dict())
    got: list[tuple[Tensor, Tensor]] = []

    def hook(_module: nn.Module, _args: Any, _output: Any) -> None:
        pytest.fail("the spikes were written in full")

    hook.counts = lambda module, post, pre: got.append((post, pre))  # type: ignore[attr-defined]
    handle = net[2].register_forward_hook(hook)
    x = frames((2, 12, 12))
    net(x)
    spikes = plain[:3](x)
    assert torch.equal(got[0][0], spikes.sum((-1, -2)))
    assert torch.equal(got[0][1], plain[3](spikes).sum((-1, -2)))
    handle.remove()


def test_a_part_of_a_network_is_that_part() -> None:
    """A slice that ends with the neuron gives spikes, not averages."""
    plain = conv_snn()
    net = snnprune.accelerate(copy.deepcopy(plain))
    x = frames((2, 12, 12))
    assert torch.equal(net[:3](x), plain[:3](x))
    functional.reset_net(net)
    functional.reset_net(plain)
    assert torch.equal(net[2](net[0](x)), plain[2](plain[0](x)))


@pytest.mark.parametrize("mode", ["s", "m"])
def test_single_step_networks(mode: str) -> None:
    plain = conv_snn(mode)
    net = snnprune.accelerate(copy.deepcopy(plain))
    for x in frames((2, 12, 12)) if mode == "s" else [frames((2, 12, 12))]:
        assert torch.equal(net(x), plain(x))


@pytest.mark.parametrize("name", ["paper", "norms", "residual"])
def test_channels_last(name: str) -> None:
    """A convolution adds up in another order, so outputs are equal where no spike was on the edge."""
    build, shape = NETWORKS[name]
    plain = build()
    net = snnprune.accelerate(copy.deepcopy(plain), channels_last=True)
    layouts = [p.stride() for p in net.parameters()]
    x = frames(shape)
    theirs, ours = answers(plain, x), answers(net, x)
    assert (theirs[0] != ours[0]).float().mean() < 1e-2
    twin = copy.deepcopy(net)
    assert torch.equal(answers(twin, x)[0], ours[0])
    assert [p.stride() for p in net.parameters()] == layouts
    snnprune.restore(net)
    assert torch.equal(answers(net, x)[0], theirs[0])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("direct", [False, True])
def test_channels_innermost_is_what_neurons_get(channels: int, direct: bool) -> None:
    """In float64 the order of a sum flips no spike; a single channel is laid out like several."""
    torch.manual_seed(0)
    plain = nn.Sequential(
        layer.Conv2d(channels, 5, 3, padding=1), lif(), layer.AvgPool2d(2), layer.Conv2d(5, 4, 3)
    )
    functional.set_step_mode(plain.double(), "m")
    net = snnprune.accelerate(copy.deepcopy(plain), channels_last=True)
    x = torch.rand(3, channels, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x.expand(4, *x.shape) if direct else x.expand(4, *x.shape).contiguous()
    assert net[:2](x)[0].is_contiguous(memory_format=torch.channels_last)
    functional.reset_net(net)
    out, ours = plain(x), net(x)
    assert ours[0].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ours, out, rtol=0, atol=1e-12)
    for answer in (out, ours):
        answer.square().sum().backward()
    for a, b in zip(plain.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-11)
        assert b.grad.is_contiguous()


@pytest.mark.parametrize("learnt", ["all", "bias", "weight"])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("square", [1, 2, 3])
def test_gradients_of_a_convolution_and_its_bias(
    square: int, direct: bool, channels_last: bool, learnt: str
) -> None:
    """Where channels lie innermost, the bias has its gradient from the neurons' own backward."""
    torch.manual_seed(0)
    pool = [layer.AvgPool2d(square)] if square > 1 else []
    plain = nn.Sequential(layer.Conv2d(2, 5, 3, padding=1), lif(), *pool)
    functional.set_step_mode(plain.double(), "m")
    for name, parameter in plain.named_parameters():
        parameter.requires_grad_(learnt in {"all", name.partition(".")[2]})
    net = snnprune.accelerate(copy.deepcopy(plain), channels_last=channels_last)
    x = torch.rand(1 if direct else 4, 3, 2, 10, 11, dtype=torch.float64)
    x = x[0].expand(4, *x.shape[1:]) if direct else x
    for one in (plain, net):
        (one(x) * torch.arange(4.0).view(4, 1, 1, 1, 1)).square().sum().backward()
    for a, b in zip(plain.parameters(), net.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            assert a.grad.abs().max() > 0
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("side", "innermost"), [(6, True), (2, False)])
def test_a_weight_larger_than_its_pictures_is_not_laid_out_anew(side: int, innermost: bool) -> None:
    """8 x 3 x side x side numbers against 8 x 8 x 3 x 3 of a weight."""
    torch.manual_seed(0)
    plain = nn.Sequential(
        layer.Conv2d(8, 8, 3, padding=1), lif(), layer.Conv2d(8, 8, 3, padding=1), layer.BatchNorm2d(8)
    )
    functional.set_step_mode(plain.double(), "m")
    net = snnprune.accelerate(copy.deepcopy(plain), channels_last=True)
    x = torch.rand(3, 1, 8, side, side, dtype=torch.float64)
    out, ours = plain(x), net(x)
    assert ours[0].is_contiguous(memory_format=torch.channels_last) == innermost
    torch.testing.assert_close(ours, out, rtol=0, atol=1e-12)


def test_a_graph_that_is_kept_gives_the_same_gradients_again() -> None:
    """The first backward wrote over what the convolution gave; the second computes it once more."""
    torch.manual_seed(0)
    net = nn.Sequential(layer.Conv2d(2, 3, 3), lif(), layer.AvgPool2d(2))
    functional.set_step_mode(net, "m")
    snnprune.accelerate(net)
    out = net(torch.rand(3, 2, 2, 8, 8, generator=torch.Generator().manual_seed(0))).sum()
    first = torch.autograd.grad(out, list(net.parameters()), retain_graph=True)
    again = torch.autograd.grad(out, list(net.parameters()))
    assert first[0].abs().sum() > 0
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


# --- the rest of the house


@pytest.mark.parametrize("name", ["small", "norms", "residual", "spiking_vgg11_bn", "sew_resnet18 ADD"])
def test_discovery_sees_the_same_network(name: str) -> None:
    build, shape = NETWORKS[name]
    net, x = build(), frames(shape)
    wanted = str(snnprune.discover(net, x))
    assert str(snnprune.discover(snnprune.accelerate(net), x)) == wanted


def trained(net: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, Any]:
    """Three epochs of two steps of SGD with DPAP, the cut at the end included."""
    pruner = snnprune.Pruner(net, frames(shape), method="dpap", epochs=3, target=0.5)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    for epoch in range(3):
        for step in range(2):
            x = frames(shape).roll(epoch * 2 + step, 0)
            loss = (net(x) * torch.arange(4.0)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pruner.step(optimizer)
            functional.reset_net(net)
        pruner.end_epoch()
    masks = [mask.clone() for kind in (pruner.masks.units, pruner.masks.synapses) for mask in kind.values()]
    pruner.compact(optimizer)
    return net, masks


def test_pruning_decides_the_same() -> None:
    torch.manual_seed(0)
    plain = conv_snn(norm=True).double()
    fast = snnprune.accelerate(copy.deepcopy(plain))
    torch.set_default_dtype(torch.float64)
    try:
        (one, masks), (other, same) = trained(plain, (2, 12, 12)), trained(fast, (2, 12, 12))
        assert all(torch.equal(a, b) for a, b in zip(masks, same, strict=True))
        assert any(not mask.all() for mask in masks)
        assert [p.shape for p in one.parameters()] == [p.shape for p in other.parameters()]
        x = frames((2, 12, 12))
        assert torch.equal(one(x), other(x))
    finally:
        torch.set_default_dtype(torch.float32)


def test_copies_and_files_of_a_converted_network() -> None:
    net, file = snnprune.accelerate(paper()), io.BytesIO()
    x = frames((2, 34, 34))
    wanted = answers(net, x)[0]
    twin = copy.deepcopy(net)
    assert kinds(twin) == kinds(net)
    assert twin.conv1_lif is not net.conv1_lif
    torch.save(net.state_dict(), file)
    file.seek(0)
    plain = paper()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    plain.load_state_dict(torch.load(file, weights_only=True))
    for other in (twin, plain):
        assert torch.equal(answers(other, x)[0], wanted)


def test_conversion_twice_is_conversion_once() -> None:
    net = snnprune.accelerate(snnprune.accelerate(conv_snn()))
    assert isinstance(net, Pooling)
    assert isinstance(net[0], Once)
    assert type(snnprune.restore(net)) is nn.Sequential
    assert type(snnprune.restore(net)[0]) is layer.Conv2d
