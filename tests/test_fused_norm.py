"""Batch norms, maximum pools and residual sums in the neurons' pass: what torch's single layers compute."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly.activation_based.model import sew_resnet
from torch import Tensor, nn

import snnprune
from snnprune.nn.fused.constants import Window
from snnprune.nn.fused.once import channels_innermost
from snnprune.nn.fused.sequential import Chain, window_behind
from snnprune.nn.fused.taps import pays, weight_gradient

SHAPE = (4, 3, 2, 9, 7)  # T, B, C, H, W


def block(
    channels: int = 5, *, stride: int = 1, pool: nn.Module | None = None, bias: bool = False, **norm: Any
) -> nn.Sequential:
    """Return a convolution, its norm, neurons and perhaps a pool, of smooth slopes, in float64."""
    torch.manual_seed(3)
    net = nn.Sequential(
        layer.Conv2d(2, channels, 3, stride=stride, padding=1, bias=bias, step_mode="m"),
        layer.BatchNorm2d(channels, step_mode="m", **norm),
        neuron.LIFNode(tau=1.7, v_threshold=0.6, surrogate_function=surrogate.Sigmoid(), step_mode="m"),
        *([] if pool is None else [pool]),
    ).double()
    for parameter in net[1].parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return net


def frames(shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 3


def learnt(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return the output and all gradients of a forward, and what the network keeps after it."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    net.zero_grad()
    functional.reset_net(net)
    out = net(x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(6), dtype=out.dtype)
    v = [m.v for m in net.modules() if isinstance(m, neuron.LIFNode)]
    ((out * weights).sum() + sum(last.square().sum() for last in v)).backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert x.grad is not None
    return {"out": out.detach(), "x": x.grad, **gradients, **{f"kept {n}": b for n, b in net.named_buffers()}}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor], within: float) -> None:
    assert one.keys() == other.keys()
    for name, wanted in one.items():
        assert wanted.shape == other[name].shape
        assert (wanted - other[name]).abs().max() <= within * max(float(wanted.abs().max()), 1e-3), name


def fused(net: nn.Module, *, channels_last: bool = True) -> Any:
    return snnprune.accelerate(copy.deepcopy(net), channels_last=channels_last)


def are_one(net: nn.Sequential, x: Tensor) -> bool:
    """Tell whether all layers of ``net`` run in one pass."""
    chain = Chain.of(list(net), x)
    return chain is not None and chain.taken == len(net)


NORMS: dict[str, dict[str, Any]] = {
    "as it is built": {},
    "a cumulative average": {"momentum": None},
    "no parameters": {"affine": False},
    "no running statistics": {"track_running_stats": False},
    "neither, and a bias in front": {"affine": False, "track_running_stats": False, "bias": True},
    "another eps and momentum": {"eps": 0.1, "momentum": 0.7},
    "many small planes": {"channels": 12, "stride": 4},
}


@pytest.mark.usefixtures("one_thread")  # the gradient of a bias in front of a norm is rounding alone
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("case", NORMS)
def test_norms(case: str, channels_last: bool, training: bool) -> None:
    """Outputs, gradients and running statistics are torch's, over several batches and in evaluation."""
    net = block(**NORMS[case])
    fast = fused(net, channels_last=channels_last)
    for batch in range(3):
        x = frames() + batch
        assert are_one(fast, x)
        wanted, got = learnt(net, x), learnt(fast, x)
        assert wanted["out"].any()
        assert_same(wanted, got, 1e-9)
    net.train(training)
    fast.train(training)
    assert_same(learnt(net, frames()), learnt(fast, frames()), 1e-9)


def test_in_float32_no_spike_differs() -> None:
    net = block(channels=16, pool=layer.MaxPool2d(2, step_mode="m")).float()
    x = frames((4, 6, 2, 16, 16)).float()
    for channels_last in (True, False):
        wanted, got = learnt(copy.deepcopy(net), x), learnt(fused(net, channels_last=channels_last), x)
        assert torch.equal(wanted["out"], got["out"])
        assert_same(wanted, got, 1e-5)  # torch itself sums in another order with channels innermost


POOLS: dict[str, tuple[dict[str, Any], Window | None]] = {
    "squares": ({"kernel_size": 2}, Window(2, 2, 0)),
    "windows that overlap": ({"kernel_size": 3, "stride": 2, "padding": 1}, Window(3, 2, 1)),
    "windows with gaps between": ({"kernel_size": 2, "stride": 3}, Window(2, 3, 0)),
    "one window": ({"kernel_size": 7, "padding": 0}, Window(7, 7, 0)),
    "larger than the image": ({"kernel_size": 9, "stride": 4, "padding": 4}, Window(9, 4, 4)),
    "too large to count": ({"kernel_size": 16, "padding": 8}, None),
    "the rim counted": ({"kernel_size": 2, "ceil_mode": True}, None),
    "gaps inside": ({"kernel_size": 2, "dilation": 2}, None),
    "no squares": ({"kernel_size": (2, 1)}, None),
}


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("case", POOLS)
def test_maximum_pools(case: str, channels_last: bool) -> None:
    """The gradient goes to the neuron that torch gives it to, also where several fire, or none."""
    options, window = POOLS[case]
    net = block(pool=layer.MaxPool2d(step_mode="m", **options))
    fast, x = fused(net, channels_last=channels_last), frames()
    assert window_behind(fast[2], fast[3]) == window
    assert are_one(fast, x) is (window is not None)
    assert_same(learnt(net, x), learnt(fast, x), 1e-9)


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_maximum_pool_behind_neurons_alone(channels_last: bool) -> None:
    net = nn.Sequential(neuron.LIFNode(step_mode="m"), layer.SeqToANNContainer(nn.MaxPool2d(3, 2)))
    x = frames((3, 2, 4, 9, 8)).float()
    if channels_last:
        x = channels_innermost(x)
    fast = fused(net)
    assert are_one(fast, x)
    assert_same(learnt(net, x), learnt(fast, x), 1e-6)


@pytest.mark.parametrize(
    "pool", [None, layer.MaxPool2d(3, 2, 1, step_mode="m"), layer.AvgPool2d(2, step_mode="m")]
)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_one_image_at_every_step(pool: nn.Module | None, momentum: float | None) -> None:
    """It is normalised once, and counts once for every step in the running variance."""
    net, image = block(pool=pool, momentum=momentum), frames()[0]
    fast = fused(net)
    for x in (image.expand(5, *image.shape), (image + 1).expand(5, *image.shape)):
        net.zero_grad()
        fast.zero_grad()
        functional.reset_net(net)
        functional.reset_net(fast)
        wanted, got = net(x), fast(x)
        assert torch.equal(wanted, got)
        weights = frames(tuple(wanted.shape))
        (wanted * weights).sum().backward()
        (got * weights).sum().backward()
        for one, other in zip(net.parameters(), fast.parameters(), strict=True):
            assert (one.grad - other.grad).abs().max() <= 1e-9 * one.grad.abs().max()
        for one, other in zip(net.buffers(), fast.buffers(), strict=True):
            assert torch.allclose(one, other, rtol=1e-12)


def test_a_graph_that_is_kept_gives_the_same_gradients_again() -> None:
    fast = fused(block(pool=layer.MaxPool2d(2, step_mode="m")))
    loss = (fast(frames()) * frames((4, 3, 5, 4, 3))).sum()
    once = torch.autograd.grad(loss, list(fast.parameters()), retain_graph=True)
    again = torch.autograd.grad(loss, list(fast.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))


def test_the_norm_alone_may_learn() -> None:
    net = block()
    net[0].requires_grad_(False)
    fast, x = fused(net), frames()
    for one in (net, fast):
        (one(x) * x[:, :, :1]).sum().backward()
    assert (net[1].weight.grad - fast[1].weight.grad).abs().max() < 1e-9
    assert (net[1].bias.grad - fast[1].bias.grad).abs().max() < 1e-9


def test_what_is_not_a_batch_norm_of_its_own_is_left_alone() -> None:
    """A norm over processes, in single-step mode or of other precision; one value is torch's error."""
    parts = list(fused(block()))
    for other in (nn.SyncBatchNorm(5), layer.BatchNorm2d(5), layer.BatchNorm2d(5, step_mode="m").float()):
        chain = Chain.of([parts[0], other, parts[2]], frames())
        assert chain is None
    one = fused(block(stride=9))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        one(frames((1, 1, 2, 1, 1)))


@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook", "full_backward_hook"])
def test_who_looks_in_between_sees_every_tensor(place: int, kind: str) -> None:
    """Any hook on any of them parts the layers; it is called as ever, with the same tensors."""
    net = block(pool=layer.MaxPool2d(2, step_mode="m"))
    fast, x, seen = fused(net), frames(), {}
    for name, one in (("plain", net), ("fast", fast)):
        seen[name] = []
        getattr(one[place], f"register_{kind}")(lambda *args, s=seen[name]: s.append(args[-1]))
    assert not are_one(fast, x)
    wanted, got = learnt(net, x), learnt(fast, x)
    assert_same(wanted, got, 1e-9)
    assert len(seen["plain"]) == len(seen["fast"]) == 1
    plain, own = ((y[0] if isinstance(y, tuple) else y) for (y,) in seen.values())
    assert torch.allclose(plain, own, atol=1e-9)


def test_a_hook_that_needs_counts_alone_gets_them() -> None:
    """Numbers of spikes, and the sums of their maxima."""
    net = block(pool=layer.MaxPool2d(3, 2, 1, step_mode="m"))
    for channels_last in (True, False):
        fast, got = fused(net, channels_last=channels_last), []

        def hook(_module: nn.Module, _args: Any, _output: Any) -> None:
            pytest.fail("the spikes were written in full")

        hook.counts = lambda _y, post, pre, s=got: s.extend((post, pre))  # type: ignore[attr-defined]
        fast[2].register_forward_hook(hook)
        fast(frames())
        functional.reset_net(net)
        spikes = copy.deepcopy(net)[:3](frames())
        assert torch.equal(got[0], spikes.sum((-1, -2)))
        assert torch.equal(got[1], net[3](spikes).sum((-1, -2)))


# --- SEW ResNets


def sew(cnf: str, blocks: str = "BasicBlock") -> nn.Module:
    torch.manual_seed(0)
    net = sew_resnet.SEWResNet(
        getattr(sew_resnet, blocks), [2, 1, 1, 1], num_classes=3, cnf=cnf, spiking_neuron=neuron.LIFNode,
        surrogate_function=surrogate.ATan(), width_per_group=64,
    )  # fmt: skip
    functional.set_step_mode(net, "m")
    for module in net.modules():
        if isinstance(module, neuron.LIFNode):
            module.v_threshold = 0.4
    return net.double()


@pytest.mark.parametrize(
    ("cnf", "blocks"), [("ADD", "BasicBlock"), ("ADD", "Bottleneck"), ("IAND", "BasicBlock")]
)
def test_sew_resnets(cnf: str, blocks: str) -> None:
    """Blocks give the same outputs and gradients; and their classes are back after restore."""
    net = sew(cnf, blocks)
    fast, x = fused(net), frames((3, 2, 3, 32, 32))
    wanted, got = learnt(net, x), learnt(fast, x)
    assert wanted["out"].any()
    assert_same(wanted, got, 1e-9)
    assert [type(m) for m in snnprune.restore(fast).modules()] == [type(m) for m in net.modules()]


def test_a_residual_sum_is_written_with_the_spikes() -> None:
    """Hooks that need counts get those of the spikes alone, and the sums of what the next layer reads."""
    net = sew("ADD")
    plain, fast, got = copy.deepcopy(net).layer1[0], fused(net).layer1[0], []
    x = (frames((3, 2, 64, 8, 8)) > 2).double()

    def hook(_module: nn.Module, _args: Any, _output: Any) -> None:
        pytest.fail("the spikes were written alone")

    hook.counts = lambda y, post, pre: got.extend((y, post, pre))  # type: ignore[attr-defined]
    fast.sn2.register_forward_hook(hook)
    spikes: list[Tensor] = []
    plain.sn2.register_forward_hook(lambda _m, _x, y: spikes.append(y))
    wanted, y = plain(x), fast(x)
    assert y is got[0]
    assert torch.equal(y, wanted)
    assert y.max() == 2
    assert torch.equal(got[1], spikes[0].sum((-1, -2)))
    assert torch.equal(got[2], wanted.sum((-1, -2)))


@pytest.mark.parametrize("name", ["conv2", "bn2", "sn2", "downsample", "downsample_sn"])
def test_a_hook_inside_a_block_parts_it(name: str) -> None:
    net = sew("ADD")
    fast, x = fused(net), frames((3, 2, 3, 32, 32))
    seen: dict[str, list[Tensor]] = {"plain": [], "fast": []}
    for key, one in (("plain", net), ("fast", fast)):
        getattr(one.layer2[0], name).register_forward_hook(
            lambda _m, _x, y, s=seen[key]: s.append(y.detach())
        )
    assert_same(learnt(net, x), learnt(fast, x), 1e-9)
    assert torch.allclose(seen["plain"][0], seen["fast"][0], atol=1e-9)


def test_a_pruner_has_the_same_traces() -> None:
    """Of spikes that are pooled or summed on the way, too."""
    net, x = sew("ADD"), frames((3, 2, 3, 32, 32))
    found = []
    for one in (net, fused(net)):
        recorder = snnprune.pruning.TraceRecorder(one, snnprune.discover(one, x))
        chain = Chain.of([one.conv1, one.bn1, one.sn1, one.maxpool], x)
        assert (chain is not None) is (one is not net)
        one(x).sum().backward()
        found.append(recorder.batch())
        recorder.close()
    assert found[0].keys() == found[1].keys()
    assert len(found[0]) > 10
    for name, activity in found[0].items():
        assert (activity.pre - found[1][name].pre).abs().max() <= 1e-9
        assert (activity.post - found[1][name].post).abs().max() <= 1e-9


# --- the gradient of a weight by products

SHAPES: dict[str, tuple[Any, ...]] = {  # N, I, O, H, W, kernel, stride, padding
    "2 x 2 places": (3, 5, 7, 2, 2, 3, 1, 1),
    "a stride": (3, 5, 7, 4, 5, 3, 2, 1),
    "one place": (2, 3, 4, 1, 1, 3, 1, 1),
    "no square": (2, 3, 4, 6, 5, (3, 2), (2, 1), (0, 1)),
    "more padding than image": (2, 3, 4, 1, 1, 5, 2, 2),
    "a stride over the kernel": (2, 3, 4, 9, 9, 2, 3, 0),
}


@pytest.mark.parametrize("case", SHAPES)
def test_the_gradient_of_a_weight(case: str) -> None:
    n, inputs, outputs, height, width, *sizes = SHAPES[case]
    kernel, stride, padding = (size if isinstance(size, tuple) else (size, size) for size in sizes)
    x, weight = frames((n, inputs, height, width)), frames((outputs, inputs, *kernel)).requires_grad_()
    y = nn.functional.conv2d(x, weight, None, stride, padding)
    g = frames(tuple(y.shape))
    (wanted,) = torch.autograd.grad(y, weight, g)
    got = weight_gradient(g, x, weight.detach(), (stride, padding, (1, 1), 1))
    assert (got - wanted).abs().max() < 1e-12


def test_products_are_for_many_channels_and_few_places() -> None:
    arguments: tuple[Any, ...] = ((1, 1), (1, 1), (1, 1), 1)
    deep = torch.empty(512, 512, 3, 3)
    assert pays(torch.empty(4, 512, 2, 2), deep, arguments)
    assert not pays(torch.empty(4, 512, 9, 9), deep, arguments)
    assert not pays(torch.empty(4, 512, 2, 2), deep, ((1, 1), (1, 1), (2, 2), 1))
    assert not pays(torch.empty(4, 512, 2, 2), deep[:, :1], ((1, 1), (1, 1), (1, 1), 512))
