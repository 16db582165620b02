"""Masks: counting, silence of the dead, and staying dead under an optimiser."""

from __future__ import annotations

import copy

import pytest
import torch
from spikingjelly.activation_based import functional
from torch import nn

from snnprune.network import discover
from snnprune.pruning import Masks
from support.networks import ResidualSNN, conv_ann, conv_snn

FRAMES = torch.rand(3, 4, 2, 12, 12, generator=torch.Generator().manual_seed(0))


def test_counting_on_paper() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    masks = Masks(model, discover(model, torch.rand(1, 4)))
    topology = masks.topology
    masks.keep_units(topology.populations["0"], torch.tensor([True, False, True]))
    keep = torch.ones(3, 4, dtype=torch.bool)
    keep[0, 1] = keep[1, 2] = False  # the second belongs to the dead unit and counts once
    masks.keep_synapses(topology.projections["0"], keep)
    masks.refresh()
    rates = masks.rates()
    assert (rates.weights_dense, rates.weights_left) == (18, 7 + 4)
    assert rates.layers["0"].left == 7
    assert rates.layers["2"].pruned == pytest.approx(1 / 3)
    assert rates.neurons_left == {"0": (2, 3), "2": (2, 2)}
    assert rates.neurons == pytest.approx(1 / 5)
    assert rates.macs_left == 11
    assert "7 of        12 (41.7% pruned)" in str(rates)
    assert "pruned: 38.9% of all weights, 20.0% of all neurons" in str(rates)
    masks.apply()
    assert model[0].weight[1].abs().sum() == 0
    assert model[0].bias[1] == 0
    assert model[2].weight[:, 1].abs().sum() == 0
    assert model[0].weight[0, 1] == 0


def halved(model: nn.Module, x: torch.Tensor) -> Masks:
    masks = Masks(model, discover(model, x))
    for population in masks.topology.free():
        masks.keep_units(population, torch.arange(population.size) % 2 == 0)
    masks.refresh()
    masks.apply()
    return masks


@pytest.mark.parametrize("norm", [False, True])
def test_the_dead_are_silent_in_training_and_evaluation(norm: bool) -> None:
    torch.manual_seed(0)
    model = conv_snn(norm=norm)
    with torch.no_grad():
        for module in model:
            if getattr(module, "bias", None) is not None:
                module.bias.fill_(2.0)  # would fire at every step
    halved(model, FRAMES)
    spikes = {}
    for index in (2, 6, 10):
        model[index].register_forward_hook(lambda m, i, o, index=index: spikes.__setitem__(index, o))
    for mode in (True, False):
        model.train(mode)
        model(FRAMES)
        functional.reset_net(model)
        for o in spikes.values():
            assert o[:, :, 1::2].sum() == 0
            assert o[:, :, 0::2].sum() > 0


@pytest.mark.parametrize("build", [conv_snn, lambda: conv_snn(norm=True), conv_ann, ResidualSNN])
@pytest.mark.parametrize(
    "optimiser",
    [
        lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.1, amsgrad=True),
        lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9, nesterov=True),
    ],
)
def test_the_dead_stay_dead(build: object, optimiser: object) -> None:
    torch.manual_seed(0)
    model = build()  # type: ignore[operator]
    x = FRAMES
    x = x[..., :8, :8] if isinstance(model, ResidualSNN) else x
    x = x[0] if not any(getattr(m, "step_mode", "s") == "m" for m in model.modules()) else x
    keys = list(model.state_dict())
    optimizer = optimiser(model.parameters())  # type: ignore[operator]

    def batch() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        if x.ndim == 5:
            functional.reset_net(model)

    batch()  # moments of the living, before they die
    masks = halved(model, x)
    ones = copy.deepcopy(model)
    for parameter in ones.parameters():
        nn.init.ones_(parameter)
    masks.zero(ones)
    assert not all(parameter.all() for parameter in ones.parameters())
    for _ in range(10):
        batch()
        masks.apply(optimizer)
    for key, parameter in model.named_parameters():
        dead = ones.get_parameter(key) == 0
        if dead.any():
            tensors = [parameter, parameter.grad, *optimizer.state[parameter].values()]
            assert all(t[dead].abs().sum() == 0 for t in tensors if t is not None and t.shape == dead.shape)
            assert (parameter[~dead] != 0).any()
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("moments", [torch.float32, None])
def test_what_is_dead_is_zero_whatever_it_was(
    value: float, dtype: torch.dtype, moments: torch.dtype | None
) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)).to(dtype)
    x, optimizer = torch.rand(8, 4).to(dtype), torch.optim.AdamW(model.parameters(), 0.01, amsgrad=True)
    model(x).square().mean().backward()
    optimizer.step()
    masks = Masks(model, discover(model, x))
    alive = torch.tensor([True, False, True])
    masks.keep_units(masks.topology.populations["0"], alive)
    masks.refresh()
    held = {}
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            state = optimizer.state[tensor]
            if moments is not None:
                state |= {name: t.to(moments) for name, t in state.items() if t.ndim}
            held[key] = [tensor, tensor.grad, *(t for t in state.values() if t.ndim)]
        held["1.running_mean"] = [model[1].running_mean]
        for key, tensors in held.items():
            for tensor in tensors:
                if key != "3.bias":
                    rows = tensor if key != "3.weight" else tensor.T
                    rows[1] = value
                    rows[0] = value  # of a living unit: not ours to mend
    before = {key: [t.clone() for t in tensors] for key, tensors in held.items()}
    masks.apply(optimizer)
    for key, tensors in held.items():
        for tensor, was in zip(tensors, before[key], strict=True):
            rows, old = (tensor.T, was.T) if key == "3.weight" else (tensor, was)
            if key != "3.bias":
                assert torch.equal(rows[1], torch.zeros_like(rows[1])), key
                old = old[alive]
                rows = rows[alive]
            assert torch.equal(rows.nan_to_num(7.0, 8.0, 9.0), old.nan_to_num(7.0, 8.0, 9.0)), key


def test_training_goes_on_after_an_infinite_gradient_of_a_dead_unit() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    x, optimizer = torch.rand(8, 4), torch.optim.AdamW(model.parameters(), 0.01)
    masks = Masks(model, discover(model, x))
    masks.keep_units(masks.topology.populations["0"], torch.tensor([True, False, True]))
    masks.refresh()
    for batch in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        if batch == 0:
            model[0].weight.grad[1] = torch.inf
        optimizer.step()
        masks.apply(optimizer)
        assert all(t.isfinite().all() for p in model.parameters() for t in (p, p.grad))
        assert all(t.isfinite().all() for state in optimizer.state.values() for t in state.values())
    assert not model[0].weight[1].any()


def test_cutting_what_may_not_be_cut_is_refused() -> None:
    model = conv_ann()
    masks = Masks(model, discover(model, FRAMES[0]))
    output = masks.topology.populations["10"]
    with pytest.raises(ValueError, match="output of the network"):
        masks.keep_units(output, torch.zeros(4, dtype=torch.bool))
    masks.topology.protect(["8"])
    with pytest.raises(ValueError, match="excluded by '8'"):
        masks.keep_synapses(masks.topology.projections["8"], torch.zeros(20, 54, dtype=torch.bool))
    with pytest.raises(ValueError, match="emptied"):
        masks.keep_units(masks.topology.populations["0"], torch.zeros(5, dtype=torch.bool))


def test_masks_of_another_network_are_refused() -> None:
    first, second = conv_ann(), nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    state = Masks(first, discover(first, FRAMES[0])).state_dict()
    with pytest.raises(ValueError, match="another network"):
        Masks(second, discover(second, torch.rand(1, 4))).load_state_dict(state)


def test_what_is_alive_again_in_a_state_is_counted_also_before_a_transposed_convolution() -> None:
    """Of four channels two are dead: two rows of nine weights, and two columns of twelve behind them."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 2), nn.ReLU())
    masks = Masks(model, discover(model, torch.rand(2, 1, 5, 5)))
    masks.keep_units(masks.topology.populations["0"], torch.arange(4) < 2)
    masks.refresh()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    masks.apply()
    assert masks.revived(model.state_dict()) == 0
    assert masks.revived(before) == 2 * 9 + 2 * 3 * 4
