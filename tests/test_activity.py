"""The activity penalty: spikes times the synapses that they reach, differentiable, fused or not."""

from __future__ import annotations

import copy

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from snnprune.network import discover
from snnprune.network.activity import SynapticActivity
from snnprune.network.synops import SpikeCounter
from snnprune.nn.fused import accelerate
from snnprune.pruning.masks import Masks


class Given(nn.Module):
    """Hands on what it is given, with a gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 1.0


def test_a_spike_counts_as_often_as_it_reaches_a_synapse() -> None:
    # Two time steps of one sample, 3 inputs and 4 units: of 3 x 4 x 2 operations there are 2 spikes x 4
    # synapses, and 1 spike of the second input. With its synapses pruned but one, that one is an operation.
    model = nn.Sequential(Given(), nn.Linear(3, 4))
    x = torch.tensor([[[1.0, 0.0, 0.0]], [[1.0, 1.0, 0.0]]]).requires_grad_()
    topology = discover(model, x.detach())
    activity = SynapticActivity(model, topology)
    with activity.watching() as seen:
        model(x)
    assert float(seen.operations) == 3 * 4
    assert float(seen.share()) == pytest.approx(12 / 24)
    alive = torch.ones(4, 3, dtype=torch.bool)
    alive[1:, 1] = False
    with SynapticActivity(model, topology, lambda _: alive).watching() as seen:
        model(x)
    assert float(seen.operations) == 2 * 4 + 1
    (gradient,) = torch.autograd.grad(seen.operations, x)  # type: ignore[arg-type]
    assert gradient[0, 0].tolist() == [4.0, 1.0, 4.0]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    kinds = {
        "v_threshold": 0.5,
        "surrogate_function": surrogate.Rect(alpha=1.0),
        "decay_input": False,
        "tau": 1.25,
    }
    model = nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1),
        neuron.LIFNode(**kinds),
        layer.AvgPool2d(2),
        layer.Conv2d(6, 5, 3),
        neuron.LIFNode(**kinds),
        layer.Flatten(),
        layer.Linear(5 * 2 * 2, 7),
        neuron.LIFNode(**kinds),
        layer.Linear(7, 3),
        neuron.LIFNode(**kinds),
    )
    functional.set_step_mode(model, "m")
    for module in model:
        if hasattr(module, "weight"):
            nn.init.uniform_(module.weight, -0.2, 0.5)
    return model


def frames() -> torch.Tensor:
    return torch.poisson(torch.full((4, 3, 2, 8, 8), 0.5), generator=torch.Generator().manual_seed(0))


def penalty(model: nn.Module, x: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the share of operations, and its gradients."""
    activity = SynapticActivity(model, discover(model, x))
    model.zero_grad()
    with activity.watching() as seen:
        model(x)
    share = seen.share()
    share.backward()
    functional.reset_net(model)
    return float(share), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_it_passes_through_the_surrogates_of_fused_neurons_as_of_others() -> None:
    plain, x = network(), frames()
    fast = accelerate(copy.deepcopy(plain))
    one, gradients = penalty(plain, x)
    other, fused = penalty(fast, x)
    assert one == pytest.approx(other, rel=1e-6)
    assert gradients.keys() == fused.keys()
    assert any(gradient.any() for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, fused[name], rtol=1e-4, atol=1e-7), name
    assert not any(m._forward_pre_hooks for m in fast.modules())


def test_it_counts_what_the_counter_counts_behind_neurons() -> None:
    model, x = network(), frames()
    del model[2]  # whose averages the counter takes for whole operations
    model[2] = layer.Conv2d(6, 5, 3, stride=2, step_mode="m")
    model[5] = layer.Linear(5 * 3 * 3, 7, step_mode="m")
    topology = discover(model, x)
    masks = Masks(model, topology)
    for p in topology.projections.values():
        if not p.output:
            masks.keep_synapses(p, torch.rand(p.shape) < 0.5)
    masks.refresh()
    masks.apply()
    with SynapticActivity(model, topology, masks.alive).watching() as seen:
        model(x)
    functional.reset_net(model)
    with SpikeCounter(model, topology) as counter, torch.no_grad():
        model(x)
    layers = counter.operations(3, masks.all_alive()).layers
    behind = sum(layers[name].synops for name in ("2", "5", "7"))
    assert float(seen.operations) / 3 == pytest.approx(behind)


def test_training_with_it_makes_spikes_fewer() -> None:
    rates = []
    for weight in (0.0, 1.0):
        model, x = network(), frames()
        activity = SynapticActivity(model, discover(model, x))
        optimizer = torch.optim.SGD(model.parameters(), 0.5)
        for _ in range(10):
            optimizer.zero_grad()
            with activity.watching() as seen:
                loss = (model(x).mean(0) - 0.5).square().mean()
            (loss + weight * seen.share()).backward()
            optimizer.step()
            functional.reset_net(model)
        rates.append(float(seen.share()))
    assert rates[1] < 0.9 * rates[0]
