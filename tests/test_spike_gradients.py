"""The gradient of a weight by its spikes: what a product of matrices gives, and only where spikes are few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

import snnprune
from snnprune.nn.fused.outer import FEW, WORTH, Linear, Spikes, spikes_for
from snnprune.nn.recurrent import Recurrent

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS, SAMPLES, INPUTS, UNITS = 20, 16, 250, 9


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def activity(share: float, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return counts, of which about a share is not zero, and one is below zero."""
    dice = torch.Generator().manual_seed(0)
    x = torch.randint(1, 4, shape, generator=dice) * (torch.rand(shape, generator=dice) < share)
    x.view(-1)[0] = -2
    return x.to(dtype)


def test_on_paper() -> None:
    # Two samples of three inputs, two units: x = (0, 2, 0), (1, 0, 0); g = (1, -1), (3, 4).
    x = torch.zeros(WORTH // 3 + 1, 3)
    x[0, 1], x[1, 0] = 2, 1
    g = torch.zeros(len(x), 2)
    g[0], g[1] = torch.tensor([1.0, -1.0]), torch.tensor([3.0, 4.0])
    spikes = Spikes.of(x)
    assert spikes is not None
    assert spikes.columns.tolist() == [1, 0]
    assert spikes.values.tolist() == [2, 1]
    assert spikes.ends[:3].tolist() == [0, 1, 2]
    assert spikes.outer(g).tolist() == [[3, 2, 0], [4, -2, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.09])
def test_gradients_are_those_of_the_plain_layer(share: float, dtype: torch.dtype) -> None:
    plain = layer.Linear(INPUTS, UNITS, step_mode="m").to(dtype)
    fast = snnprune.accelerate(layer.Linear(INPUTS, UNITS, step_mode="m").to(dtype))
    fast.load_state_dict(plain.state_dict())
    wanted = torch.randn(STEPS, SAMPLES, UNITS, dtype=dtype)
    found = []
    for net in (plain, fast):
        x = activity(share, STEPS, SAMPLES, INPUTS, dtype=dtype).requires_grad_()
        y = net(x)
        (y * wanted).sum().backward()
        found.append((y.detach(), x.grad, net.bias.grad, net.weight.grad))
    by_kernel = type(y.grad_fn).__name__ == "LinearBackward"
    assert by_kernel
    for a, b in zip(*found, strict=True):
        assert a is not None
        assert b is not None
        assert torch.allclose(a, b, rtol=0, atol=1e-12 if dtype == torch.float64 else 1e-4)
    assert torch.equal(found[0][0], found[1][0])  # outputs are the same bit for bit
    assert found[1][3].is_contiguous()


def test_a_wired_layer_has_the_gradients_of_the_plain_loop() -> None:
    found = []
    for fast in (False, True):
        torch.manual_seed(0)
        node = neuron.LIFNode(v_threshold=0.25, detach_reset=True, step_mode="m")
        net = nn.Sequential(layer.Linear(INPUTS, 120, step_mode="m"), Recurrent(node, 120, step_mode="m"))
        net = net.double()
        if fast:
            snnprune.accelerate(net)
        y = net(activity(0.02, 2 * STEPS, SAMPLES, INPUTS))
        y[-1].sum().backward()
        functional.reset_net(net)
        found.append((y.detach(), *(p.grad for p in net.parameters())))
    assert 0 < found[0][0].mean() < FEW
    assert torch.equal(found[0][0], found[1][0])
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_threads_change_no_bit() -> None:
    x, g = activity(0.05, 400, INPUTS, dtype=torch.float32), torch.randn(400, 300)
    spikes = Spikes.of(x)
    assert spikes is not None
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(spikes.outer(g))
    assert torch.equal(*found)


def test_what_is_not_for_it_takes_the_plain_way() -> None:
    weight = torch.zeros(UNITS, INPUTS, dtype=torch.float64, requires_grad=True)
    few = activity(0.02, STEPS * SAMPLES, INPUTS)
    assert spikes_for(few, weight) is not None
    assert spikes_for(activity(2 * FEW, STEPS * SAMPLES, INPUTS), weight) is None
    assert spikes_for(few[:10], weight) is None
    assert spikes_for(few, weight.detach()) is None
    assert spikes_for(few.float(), weight) is None
    assert spikes_for(few.bfloat16(), weight.bfloat16()) is None
    with torch.no_grad():
        assert spikes_for(few, weight) is None
    with torch.autocast("cpu"):
        assert spikes_for(few, weight) is None


def test_second_derivatives_are_those_of_a_product() -> None:
    x = activity(0.02, 300, INPUTS).requires_grad_()
    weight = torch.randn(UNITS, INPUTS, dtype=torch.float64, requires_grad=True)
    spikes = spikes_for(x, weight)
    found = []
    for y in (Linear.apply(spikes, x, weight, None), x @ weight.t()):
        (gw,) = torch.autograd.grad(y.square().sum(), weight, create_graph=True)
        found.append(torch.autograd.grad(gw.square().sum(), (x, weight)))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-9)
