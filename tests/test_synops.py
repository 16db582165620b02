"""Synaptic operations: equal to counting every spike at every synapse, one at a time."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter
from torch import Tensor, nn

from snnprune.network import discover
from snnprune.network.synops import SpikeCounter
from snnprune.pruning import Masks
from support.hooks import hooks
from support.networks import ResidualSNN, conv_ann, conv_snn, lif


def counted_by_hand(x: Tensor, weight: Tensor, conv: nn.Conv2d | None) -> int:
    """Count each pair of a non-zero input ([N, C, H, W] or [N, C]) and an alive synapse that it reaches.

    Args:
        x: inputs.
        weight: bool, shape of the weight.
        conv: how its kernel moves; None for a linear layer.
    """
    if conv is None:
        return sum(int(weight[:, c].sum()) for _, c in x.nonzero().tolist())
    height, width = (
        (x.shape[2 + d] + 2 * conv.padding[d] - conv.dilation[d] * (conv.kernel_size[d] - 1) - 1)
        // conv.stride[d]
        + 1
        for d in range(2)
    )
    per_group, outs = weight.shape[1], weight.shape[0] // conv.groups
    active, alive = (x != 0).tolist(), weight.tolist()  # lists: an element of a tensor takes microseconds
    operations = 0
    for n, o, i, a, b in itertools.product(*map(range, (x.shape[0], *weight.shape))):
        if not alive[o][i][a][b]:
            continue
        for row, column in itertools.product(range(height), range(width)):
            y = row * conv.stride[0] - conv.padding[0] + a * conv.dilation[0]
            z = column * conv.stride[1] - conv.padding[1] + b * conv.dilation[1]
            inside = 0 <= y < x.shape[2] and 0 <= z < x.shape[3]
            operations += inside and active[n][o // outs * per_group + i][y][z]
    return operations


def inputs_of(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return what came into each layer, [N, ...]."""
    seen: dict[str, Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            kept = 3 if isinstance(module, nn.Conv2d) else 1

            def hook(_m: nn.Module, args: tuple[Tensor, ...], name: str = name, kept: int = kept) -> None:
                seen[name] = args[0].flatten(0, args[0].ndim - kept - 1)

            handles.append(module.register_forward_pre_hook(hook))
    model(x)
    for handle in handles:
        handle.remove()
    return seen


def operations(model: nn.Module, x: Tensor, alive: dict[str, Tensor], samples: int):
    topology = discover(model, x)
    with SpikeCounter(model, topology) as counter, torch.no_grad():
        model(x)
    functional.reset_net(model)
    return counter.operations(samples, alive)


layouts = st.fixed_dictionaries(
    {
        "kernel_size": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 2)),
        "padding": st.tuples(st.integers(0, 2), st.integers(0, 1)),
        "dilation": st.integers(1, 2),
        "groups": st.sampled_from([1, 2, 4]),
    }
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(layouts, st.integers(0, 10_000), st.booleans())
def test_every_spike_at_every_synapse(layout: dict, seed: int, pool: bool) -> None:
    dice = torch.Generator().manual_seed(seed)
    steps, batch = 2, 2
    model = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1),
        lif(),
        layer.AvgPool2d(2) if pool else layer.MaxPool2d(1),
        layer.Conv2d(4, 4, **layout),
        lif(),
        layer.Flatten(),
        nn.LazyLinear(3),
        lif(),
    )
    functional.set_step_mode(model, "m")
    torch.manual_seed(seed)
    x = (torch.rand(steps, batch, 2, 11, 11, generator=dice) < 0.3).float()
    with torch.no_grad():
        model(x)
        functional.reset_net(model)
        for module in model:
            if hasattr(module, "bias") and module.bias is not None:
                module.bias.uniform_(0.0, 0.6)
    alive = {
        name: torch.rand(module.weight.shape, generator=dice) < 0.6
        for name, module in model.named_children()
        if hasattr(module, "weight")
    }
    seen = inputs_of(model, x)
    functional.reset_net(model)
    found = operations(model, x, alive, batch)
    for name, mask in alive.items():
        module = model.get_submodule(name)
        expected = counted_by_hand(seen[name], mask, module if isinstance(module, nn.Conv2d) else None)
        assert found.layers[name].synops == pytest.approx(expected / batch, abs=1e-9)
        assert found.layers[name].macs == 0
        assert found.layers[name].rate == pytest.approx(float((seen[name] != 0).double().mean()))


class Block(nn.Module):
    """A residual block with a shortcut of its own, between a convolution and a readout."""

    def __init__(self, stride: int, kernel: int, groups: int, pool: bool) -> None:
        super().__init__()
        self.stem, self.fire = layer.Conv2d(2, 4, 3, padding=1), lif()
        self.branch = layer.Conv2d(4, 4, kernel, stride=stride, padding=kernel // 2, groups=groups)
        self.shortcut, self.fire_branch, self.fire_shortcut = (
            layer.Conv2d(4, 4, 1, stride=stride),
            lif(),
            lif(),
        )
        self.pool = layer.AvgPool2d(2) if pool else layer.MaxPool2d(2)
        self.flatten, self.out, self.answer = (
            layer.Flatten(),
            layer.Linear(4 * (-(-8 // stride) // 2) ** 2, 3),
            lif(),
        )
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        x = self.fire(self.stem(x))
        x = self.fire_branch(self.branch(x)) + self.fire_shortcut(self.shortcut(x))
        return self.answer(self.out(self.flatten(self.pool(x))))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 3, 5]),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
    st.integers(0, 999),
)
def test_every_spike_of_a_residual_network(
    stride: int, kernel: int, groups: int, pool: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    model, x = Block(stride, kernel, groups, pool).eval(), (torch.rand(2, 2, 2, 8, 8) < 0.4).float()
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    for module in layers.values():
        module.bias.data.uniform_(0.0, 0.6)
    alive = {name: torch.rand(module.weight.shape) < 0.6 for name, module in layers.items()}
    seen = inputs_of(model, x)
    functional.reset_net(model)
    found = operations(model, x, alive, 2)
    for name, module in layers.items():
        conv = module if isinstance(module, nn.Conv2d) else None
        expected = counted_by_hand(seen[name], alive[name], conv)
        assert found.layers[name].synops == pytest.approx(expected / 2, abs=1e-9)


def test_residual_sums_count_once() -> None:
    torch.manual_seed(0)
    model = ResidualSNN().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    x = torch.poisson(torch.ones(3, 2, 2, 8, 8), torch.Generator().manual_seed(0))
    seen = inputs_of(model, x)
    functional.reset_net(model)
    assert seen["blocks.1.conv1"].max() > 1  # a sum of two spikes is one non-zero input
    found = operations(model, x, {}, 2)
    for name, values in seen.items():
        module = model.get_submodule(name)
        conv = module if isinstance(module, nn.Conv2d) else None
        expected = counted_by_hand(values, torch.ones(module.weight.shape, dtype=torch.bool), conv)
        assert found.layers[name].synops == pytest.approx(expected / 2)
    assert found.synops == pytest.approx(sum(layer.synops for layer in found.layers.values()))


def test_pictures_cost_multiplications_in_the_first_layer_alone() -> None:
    torch.manual_seed(0)
    model = conv_snn().eval()
    x = torch.rand(1, 5, 2, 12, 12, generator=torch.Generator().manual_seed(0)).expand(3, -1, -1, -1, -1)
    found = operations(model, x, {}, 5)
    # 3 x 3 kernels on 12 x 12, border of one: 10 x 10 places of 9, 40 of 6, 4 of 4; 2 x 5 kernels, T = 3.
    assert found.layers["0"].macs == (100 * 9 + 40 * 6 + 4 * 4) * 10 * 3
    assert found.layers["0"].synops == 0
    assert found.macs == found.layers["0"].macs
    assert found.energy() == pytest.approx(4.6 * found.macs + 0.9 * found.synops)
    assert found.energy(1.0, 0.0) == found.macs


def test_events_on_paper() -> None:
    model = nn.Sequential(nn.Linear(3, 4), lif(), nn.Linear(4, 2), lif())
    functional.set_step_mode(model, "m")
    with torch.no_grad():
        model[0].weight.fill_(1.0)  # every spike fires all 4 units
        model[0].bias.zero_()
    frames = torch.tensor([[[0.0, 1.0, 3.0]], [[2.0, 0.0, 0.0]]])  # T 2, one sample: 3 cells, 6 events
    first, second = operations(model, frames, {}, 1).layers.values()
    assert (first.synops, first.synops_by_events) == (3 * 4, 6 * 4)
    assert (second.synops, second.synops_by_events) == (2 * 4 * 2, 2 * 4 * 2)
    one = {"0": torch.tensor([True, False, False]).expand(4, 3)}  # only what the first input feeds is alive
    first = operations(model, frames, one, 1).layers["0"]
    assert (first.synops, first.synops_by_events) == (1 * 4, 2 * 4)


def test_by_events_is_by_cells_of_the_events_one_by_one() -> None:
    torch.manual_seed(0)
    model = Block(2, 3, 2, pool=True).eval()
    model.load_state_dict({name: torch.rand_like(value) for name, value in model.state_dict().items()})
    frames = torch.poisson(torch.full((2, 2, 2, 8, 8), 0.8), torch.Generator().manual_seed(0))
    assert frames.max() > 2
    # A time step for the first event of each cell, one for the second, and so on.
    alone = torch.cat([(frames > already).float() for already in range(int(frames.max()))])
    assert alone.sum() == frames.sum()
    found, streamed = operations(model, frames, {}, 2), operations(model, alone, {}, 2)
    assert found.layers["stem"].synops_by_events == streamed.layers["stem"].synops
    assert found.layers["stem"].synops < found.layers["stem"].synops_by_events
    for counted in (*list(found.layers.values())[1:], *streamed.layers.values()):
        assert counted.synops_by_events == counted.synops
    assert found.synops_by_events - found.synops == pytest.approx(
        found.layers["stem"].synops_by_events - found.layers["stem"].synops
    )


@pytest.mark.parametrize("change", [torch.rand_like, lambda x: x / 255, lambda x: x - x.mean()])
def test_what_is_no_count_has_no_events(change: Any) -> None:
    torch.manual_seed(0)
    x = change(torch.poisson(torch.ones(3, 2, 2, 12, 12)))
    first = operations(conv_snn().eval(), x, {}, 2).layers["0"]
    assert (first.synops, first.synops_by_events) == (0, 0)
    assert first.macs > 0


def test_spikingjelly_counts_the_same_where_no_cell_has_two_events() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        layer.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), lif(),
        layer.Conv2d(4, 6, 3, bias=False), lif(), layer.Flatten(), layer.Linear(54, 3, bias=False), lif(),
    ).eval()  # fmt: skip
    functional.set_step_mode(model, "m")
    x = (torch.rand(3, 2, 2, 9, 9) < 0.4).float()
    counter = SynOpCounter()
    with torch.no_grad(), DispatchCounterMode([counter]):
        model(x)
    functional.reset_net(model)
    found = operations(model, x, {}, 1)
    assert found.synops == found.synops_by_events == counter.get_total() > 0


def test_an_ann_costs_multiplications_everywhere() -> None:
    torch.manual_seed(0)
    model = conv_ann().eval()
    x = torch.rand(4, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    alive = {"8": torch.arange(20 * 54).view(20, 54) % 4 == 0}
    found = operations(model, x, alive, 4)
    assert found.synops == 0
    assert found.layers["8"].macs == 20 * 54 / 4
    assert found.layers["10"].macs == 80


class Step(nn.Module):
    """A user's own neuron: it fires from 1 on, and hands out its potential as well."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x >= 1.0).float(), x


class Half(nn.Module):
    """A user's own activation, which does not fire."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x / 2, x


@pytest.mark.parametrize("own", [Step, Half])
def test_neurons_of_others_spike_where_they_say_0_and_1(own: type[nn.Module]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.own, self.out = nn.Linear(2, 2, bias=False), own(), nn.Linear(2, 3)
            nn.init.eye_(self.fc.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.own(self.fc(x))[0])

    model, x = Net(), torch.tensor([[1.0, 0.0]])
    topology = discover(model, x, neurons=(own,))
    with SpikeCounter(model, topology) as counter, torch.no_grad():
        model(x)
    found = counter.operations(1)
    # One event reaches two synapses and one spike three, or all 4 + 6 weights are multiplied.
    assert (found.synops, found.macs) == ((5.0, 0.0) if own is Step else (0.0, 10.0))


def test_neurons_without_spikingjellys_base_spike() -> None:
    model = nn.Sequential(layer.Linear(2, 4, step_mode="m"), neuron.PSN(3), layer.Linear(4, 3, step_mode="m"))
    nn.init.ones_(model[0].weight)
    nn.init.ones_(model[0].bias)
    x = torch.ones(3, 1, 2)
    with torch.no_grad():
        spikes = model[:2](x).sum()
    found = operations(model, x, {}, 1)
    assert spikes > 0
    assert (found.layers["0"].synops, found.layers["2"].synops) == (3 * 2 * 4, 3 * float(spikes))


def test_step_by_step_is_all_at_once() -> None:
    x = torch.poisson(torch.ones(3, 2, 2, 12, 12), torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    whole = conv_snn().eval()
    single = conv_snn("s").eval()
    single.load_state_dict(whole.state_dict())
    topology = discover(single, x[0])
    with SpikeCounter(single, topology) as counter, torch.no_grad():
        for frame in x:
            single(frame)
    assert counter.operations(2) == operations(whole, x, {}, 2)
    assert not hooks(single)


def test_masks_leave_out_what_is_dead() -> None:
    torch.manual_seed(0)
    model = conv_snn().eval()
    x = torch.poisson(torch.ones(3, 2, 2, 12, 12), torch.Generator().manual_seed(1))
    topology = discover(model, x)
    masks = Masks(model, topology)
    population = topology.populations["0"]
    masks.keep_units(population, torch.tensor([True, False, True, True, True]))
    alive = {p.name: masks.alive(p) for p in topology.projections.values()}
    whole, left = (operations(model, x, a, 2) for a in ({}, alive))
    assert left.layers["0"].synops == pytest.approx(whole.layers["0"].synops * 4 / 5)
    assert left.layers["4"].synops < whole.layers["4"].synops
    assert left.layers["9"] == whole.layers["9"]


def test_no_samples_are_refused() -> None:
    model = conv_snn()
    with SpikeCounter(model, discover(model, torch.zeros(2, 1, 2, 12, 12))) as counter:
        pass
    with pytest.raises(ValueError, match="none was run"):
        counter.operations(1)
