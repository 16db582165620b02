"""Compaction: arithmetic on paper, the same outputs and spikes as masking, and what is refused."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

import snnprune
from snnprune.common.errors import CompactionError, UserError
from snnprune.network import discover
from snnprune.pruning import Masks, Pruner
from support.networks import ResidualSNN, conv_ann, conv_snn, lif


def masked(model: nn.Module, x: Tensor, dead: dict[str, list[int]], **options: Any) -> Masks:
    """Masks of ``model`` in which units of some populations are dead."""
    masks = Masks(model, discover(model, x, **options))
    for name, units in dead.items():
        alive = torch.ones(masks.topology.populations[name].size, dtype=torch.bool)
        alive[units] = False
        masks.keep_units(masks.topology.populations[name], alive)
    masks.refresh()
    return masks


# --- on paper


def test_rows_columns_and_sizes_on_paper() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        model[0].bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
        model[2].weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    small = snnprune.compact(model, masked(model, torch.rand(1, 2), {"0": [1]}))
    assert small[0].weight.tolist() == [[1.0, 2.0], [5.0, 6.0]]
    assert small[0].bias.tolist() == pytest.approx([0.1, 0.3])
    assert small[2].weight.tolist() == [[1.0, 3.0], [4.0, 6.0]]
    assert (small[0].out_features, small[2].in_features) == (2, 2)
    assert model[0].weight.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]  # a copy was cut


def test_a_channel_takes_its_pixels_through_a_flatten() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 6, 2))
    with torch.no_grad():
        model[4].weight.copy_(torch.arange(36.0).view(2, 18))
        model[1].running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
        model[1].running_var.copy_(torch.tensor([4.0, 5.0, 6.0]))
    small = snnprune.compact(model, masked(model, torch.rand(1, 1, 2, 3), {"0": [1]}))
    assert small[4].weight[0].tolist() == [*range(6), *range(12, 18)]
    assert small[1].running_mean.tolist() == [1.0, 3.0]
    assert small[1].running_var.tolist() == [4.0, 6.0]
    assert (small[0].out_channels, small[1].num_features, small[4].in_features) == (2, 2, 12)


def test_units_that_nothing_reads_go_until_none_is_left() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    masks = masked(model, torch.rand(1, 2), {})
    last, middle = (masks.topology.projections[n] for n in ("4", "2"))
    keep = torch.ones(3, 3, dtype=torch.bool)
    keep[[1, 2], 0] = False  # unit 0 of the first layer is read by unit 0 of the second alone ...
    masks.keep_synapses(middle, keep)
    assert last.output
    masks.synapses["4"] = torch.tensor([[False, True, True], [False, True, True]])  # ... which nothing reads
    small = snnprune.compact(model, masks)
    assert small[0].weight.shape == (2, 2)
    assert small[2].weight.shape == (2, 2)
    x = torch.rand(5, 2)
    masks.refresh()
    masks.apply()
    torch.testing.assert_close(model(x), small(x))


def test_round_to_and_min_alive() -> None:
    model = nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 2))
    x = torch.rand(3, 4)
    masks = masked(model, x, {"0": list(range(3, 20))})
    with torch.no_grad():
        model[0].weight[11] = 9.0  # the strongest of the dead fill up
    rounded = snnprune.compact(model, masks, round_to=8)
    assert rounded[0].out_features == 8
    assert not rounded[0].weight[3:].any()  # and stay, with weights of zero
    assert 11 in rounded.snnprune_survivors["0"].tolist()  # type: ignore[union-attr]
    assert snnprune.compact(model, masks, round_to=64)[0].out_features == 20  # never above the dense size
    assert snnprune.compact(model, masks, min_alive=5)[0].out_features == 5
    assert snnprune.compact(model, masks)[0].out_features == 3


def test_at_least_one_unit_stays_that_nothing_reads() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    masks = masked(model, torch.rand(1, 4), {})
    masks.synapses["2"] = torch.zeros(2, 6, dtype=torch.bool)
    assert snnprune.compact(model, masks)[0].out_features == 1


# --- masked = compacted


class Cat(nn.Module):
    """Two branches side by side, read together behind a flatten of 5 x 3 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = layer.Conv2d(2, 5, 3, padding=1), layer.Conv2d(2, 7, 1)
        self.bn, self.sn, self.out_sn = layer.BatchNorm2d(12), lif(), lif()
        self.mix, self.mix_sn = layer.Conv2d(12, 6, 3, padding=1), lif()
        self.fc, self.out = layer.Linear(6 * 15, 17), layer.Linear(17, 4)
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        x = self.sn(self.bn(torch.cat([self.a(x), self.b(x)], 2)))
        x = self.mix_sn(self.mix(x)).flatten(2)
        return self.out(self.out_sn(self.fc(x)))


class Threshold(nn.Module):
    """A user's own neuron with a threshold per channel."""

    def __init__(self, channels: int, height: float = 0.3) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.linspace(height, 2 * height, channels).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x >= self.threshold).to(x.dtype)


def own_neuron() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), Threshold(8), nn.Flatten(), nn.Linear(8 * 144, 4)
    )


NETWORKS: dict[str, tuple[Any, tuple[int, ...], int, dict[str, Any]]] = {
    "conv": (conv_snn, (3, 4, 2, 12, 12), 1, {}),
    "conv-norm": (lambda: conv_snn(norm=True), (3, 4, 2, 12, 12), 1, {}),
    "single-step": (lambda: conv_snn("s", norm=True), (4, 2, 12, 12), 4, {}),
    "residual": (ResidualSNN, (3, 4, 2, 8, 8), 1, {}),
    "concatenation": (Cat, (3, 4, 2, 5, 3), 1, {}),
    "ann": (conv_ann, (4, 2, 12, 12), 1, {}),
    "own-neuron": (own_neuron, (4, 2, 12, 12), 1, {"neurons": (Threshold,)}),
}


def lively(name: str, dtype: torch.dtype) -> tuple[nn.Module, Tensor, int, dict[str, Any]]:
    """A network whose norms have lived, whose biases push, and whose layers all fire."""
    build, shape, steps, options = NETWORKS[name]
    torch.manual_seed(1)
    model: nn.Module = build().to(dtype)
    x = torch.poisson(torch.rand(shape) * 2).to(dtype)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.weight.uniform_(1.0, 2.0)
                module.bias.uniform_(-0.2, 0.6)
                module.momentum = 0.5
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight.mul_(1.5)
                if module.bias is not None:
                    module.bias.uniform_(-0.1, 0.3)
        for _ in range(3):
            model(x)
            functional.reset_net(model)
    return model, x, steps, options


def half_dead(model: nn.Module, x: Tensor, options: dict[str, Any], synapses: float = 0.7) -> Masks:
    masks = Masks(model, discover(model, x, **options))
    generator = torch.Generator().manual_seed(7)
    for population in masks.topology.free():
        order = torch.randperm(population.size, generator=generator)
        masks.keep_units(population, order < math.ceil(population.size / 2))
    for p in masks.topology.projections.values():
        if p.kind == "linear" and p.frozen is None:
            masks.keep_synapses(p, torch.rand(p.shape, generator=generator) < synapses)
    masks.refresh()
    return masks


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_masked_and_compact_network_agree(name: str, dtype: torch.dtype) -> None:
    model, x, steps, options = lively(name, dtype)
    masks = half_dead(model, x, options)
    small = snnprune.compact(model, masks)
    masks.apply()
    report = snnprune.verify(model, small, x, steps=steps, **options)
    assert not report.silent
    assert masks.topology.free()
    weights = [sum(p.numel() for p in net.parameters()) for net in (model, small)]
    assert weights[1] < 0.65 * weights[0]
    if dtype == torch.float64:
        assert report.difference < 1e-9
        assert report.flipped == 0
        assert all(layer.difference < 1e-9 for layer in report.layers.values())
    else:
        assert report.share <= 1e-5
        assert report.flipped > 0 or report.difference < 1e-5


@pytest.mark.parametrize("name", ["conv-norm", "residual", "concatenation"])
def test_they_train_alike(name: str) -> None:
    # float64, training mode: batch statistics and gradients, too
    model, x, _, options = lively(name, torch.float64)
    masks = half_dead(model, x, options, synapses=1.0)
    small = snnprune.compact(model, masks)
    masks.apply()
    for net in (model, small):
        net.train()
        net(x).square().sum().backward()
    optimizer = torch.optim.SGD(model.parameters())
    assert snnprune.compact(model, masks, inplace=True, optimizer=optimizer) is model
    for (key, a), b in zip(model.named_parameters(), small.parameters(), strict=True):
        assert b.grad.any(), key
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-9, msg=key)
    for (key, a), b in zip(model.named_buffers(), small.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9, msg=key)


def test_a_compact_network_is_compacted_again() -> None:
    model, x, _, _ = lively("conv-norm", torch.float64)
    first = snnprune.compact(model, masked(model, x, {"0": [1], "9": [0, 5, 19]}))
    second = snnprune.compact(first, masked(first, x, {"0": [0], "9": [4, 16]}))
    assert second.snnprune_survivors["0"].tolist() == [2, 3, 4]  # type: ignore[union-attr]
    assert not {0, 5, 19} & set(second.snnprune_survivors["9"].tolist())  # type: ignore[union-attr]
    masks = masked(model, x, {"0": [0, 1], "9": [0, 5, 6, 18, 19]})
    masks.apply()
    assert snnprune.verify(model, second, x).difference < 1e-9


# --- what happens to the network around it


def test_the_network_is_left_as_it_is_and_the_copy_has_no_hooks() -> None:
    model, x, _, _ = lively("conv", torch.float32)
    with Pruner(model, x, "dpap", epochs=3) as pruner:
        model.train()
        model(x)  # states that carry a graph
        state = model[2].v
        assert state.grad_fn is not None
        pruner.masks.keep_units(pruner.topology.populations["0"], torch.arange(5) > 1)
        small = snnprune.compact(model, pruner.masks)
        assert model[2].v is state
        assert model[0].out_channels == 5
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in small.modules())
        assert not isinstance(small[2].v, Tensor)  # at rest
        assert all(m._forward_hooks for m in [model[2], model[6]])
    small(x)
    functional.reset_net(small)
    assert not isinstance(small[2].v, Tensor)
    assert list(small.state_dict()) == list(model.state_dict())
    copy.deepcopy(small)


def test_an_optimiser_goes_on() -> None:
    model, x, _, _ = lively("conv-norm", torch.float64)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    model(x).square().sum().backward()
    optimizer.step()
    functional.reset_net(model)
    masks = masked(model, x, {"0": [1], "4": [0, 5], "9": [3]})
    before = {k: optimizer.state[p]["exp_avg"].clone() for k, p in model.named_parameters()}
    parameters = list(model.parameters())
    assert snnprune.compact(model, masks, inplace=True, optimizer=optimizer) is model
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    moment = optimizer.state[model[4].weight]["exp_avg"]
    assert torch.equal(moment, before["4.weight"][1:5][:, [0, 2, 3, 4]])
    assert model[4].weight.grad.shape == moment.shape == (4, 4, 3, 3)
    assert masks.topology.populations["4"].size == 4
    model(x).square().sum().backward()
    optimizer.step()


# --- what rests away from zero


@pytest.mark.parametrize("activation", [nn.Sigmoid(), nn.Softplus(), nn.GELU()])
def test_units_that_rest_above_zero_go_where_nothing_reads_them(activation: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(4, 3), activation, nn.Linear(3, 2)).double()
    x = torch.rand(5, 4, dtype=torch.float64)
    masks = masked(model, x, {"0": [1]})
    small = snnprune.compact(model, masks)
    masks.apply()
    assert small[0].out_features == 2
    torch.testing.assert_close(small(x), model(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("threshold", "rest"), [(0.0, 0.0), (-0.5, None), (0.5, 0.7)])
def test_so_do_neurons_that_fire_without_input(threshold: float, rest: float | None) -> None:
    node = neuron.IFNode(v_threshold=threshold, v_reset=rest, step_mode="m")
    model = nn.Sequential(layer.Linear(4, 3, step_mode="m"), node, layer.Linear(3, 2, step_mode="m"))
    x = torch.rand(6, 5, 4)
    masks = masked(model, x, {"0": [1]})
    small = snnprune.compact(model, masks)
    masks.apply()
    report = snnprune.verify(model, small, x)
    assert report.flipped == 0
    assert report.difference < 1e-6


def test_a_norm_and_a_residual_add_on_the_way_change_nothing() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(16, 3)
            self.one, self.two, self.norm = nn.Sigmoid(), nn.Sigmoid(), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(self.a(x))
            return self.c(torch.flatten(self.norm(y + self.two(self.b(y))), 1))

    model, x = Joined().double(), torch.rand(7, 2, 2, 2, dtype=torch.float64)
    for _ in range(3):
        model(x)
    masks = masked(model.eval(), x, {"a": [0, 2]})
    small = snnprune.compact(model, masks)
    masks.apply()
    assert small.b.weight.shape == (2, 2, 3, 3)
    torch.testing.assert_close(small(x), model(x), rtol=0, atol=1e-12)


# --- what is refused


def test_a_slow_neuron_that_fires_in_the_end_is_refused() -> None:
    class Pacemaker(nn.Module):
        v = 0.0

        def forward(self, x: Tensor) -> Tensor:
            self.v = self.v + 0.05
            return (x + self.v >= 1.0).to(x.dtype)

    model = nn.Sequential(nn.Linear(4, 3), Pacemaker(), nn.Linear(3, 2))
    with pytest.raises(CompactionError, match=r"1 \(Pacemaker\) outputs 1 without input"):
        snnprune.compact(model, masked(model, torch.rand(1, 4), {"0": [1]}, neurons=(Pacemaker,)))


def test_only_the_dead_channels_of_an_own_neuron_have_to_be_silent() -> None:
    model = own_neuron()
    x = torch.rand(1, 2, 12, 12)
    with torch.no_grad():
        model[2].threshold[3] = -0.1
    dead = masked(model, x, {"0": [0, 5]}, neurons=(Threshold,))
    assert snnprune.compact(model, dead)[2].threshold.shape == (6, 1, 1)
    with pytest.raises(ValueError, match=r"population 0.* 2 \(Threshold\) outputs 1"):
        snnprune.compact(model, masked(model, x, {"0": [0, 3]}, neurons=(Threshold,)))


def test_a_living_unit_that_nothing_reads_needs_no_silence() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2))
    masks = masked(model, torch.rand(1, 4), {})
    masks.synapses["2"] = torch.tensor([[True, False, True], [True, False, True]])
    assert snnprune.compact(model, masks)[0].out_features == 2


def test_dead_weights_that_are_not_numbers_go_like_all_others() -> None:
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.rand(1, 4)
    masks = masked(model, x, {"0": [1]})
    masks.apply()
    answer = model(x)
    with torch.no_grad():
        model[0].bias[1] = torch.nan
        model[2].weight[:, 1] = torch.inf
    assert torch.equal(snnprune.compact(model, masks)(x), answer)


def test_in_place_and_as_a_copy() -> None:
    model, x, _, _ = lively("conv", torch.float64)
    masks = masked(model, x, {"0": [1]})
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(UserError, match=r"returns a copy.*inplace=True"):
        snnprune.compact(model, masks, optimizer=optimizer)
    copied = snnprune.compact(model, masks)
    assert copied is not model
    assert (model[0].out_channels, masks.topology.populations["0"].size) == (5, 5)
    assert snnprune.compact(model, masks, inplace=True) is model
    assert (model[0].out_channels, masks.topology.populations["0"].size) == (4, 4)
    torch.testing.assert_close(model(x), copied(x), rtol=0, atol=0)


def test_an_optimiser_of_another_model_and_strange_states_are_refused() -> None:
    model, x, _, _ = lively("conv", torch.float32)
    masks = masked(model, x, {"0": [1]})
    stranger = torch.optim.SGD(copy.deepcopy(model).parameters(), 0.1)
    with pytest.raises(ValueError, match="holds no parameter of the network"):
        snnprune.compact(model, masks, inplace=True, optimizer=stranger)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    optimizer.state[model[0].weight]["curvature"] = torch.ones(7, 7)
    with pytest.raises(ValueError, match=r"a cut of 0\.weight, because it keeps 'curvature'"):
        snnprune.compact(model, masks, inplace=True, optimizer=optimizer)
    assert model[0].out_channels == 5
    assert model[0].weight.shape[0] == 5


def test_masks_of_another_network_are_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    masks = masked(model, torch.rand(1, 4), {"0": [1]})
    other = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r"another network: layer 0 has a weight of shape \(3, 4\)"):
        snnprune.compact(other, masks)


def test_what_holds_the_network_is_not_the_network() -> None:
    class Task(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

    task = Task()
    masks = masked(task.model, torch.rand(1, 4), {"0": [1]})
    with pytest.raises(
        CompactionError, match=r"none in this Task: pass the network itself, which is its 'model'"
    ):
        snnprune.compact(task, masks)


def test_a_frozen_population_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="cannot be pruned: it is the output"):
        masked(model, torch.rand(1, 4), {"2": [1]})


def test_verify_prints_a_table() -> None:
    model, x, _, _ = lively("conv", torch.float64)
    masks = masked(model, x, {"0": [1]})
    small = snnprune.compact(model, masks)
    masks.apply()
    lines = str(snnprune.verify(model, small, x)).splitlines()
    assert lines[0].split() == ["neurons", "active", "flipped", "share", "difference"]
    assert [line.split()[0] for line in lines[1:5]] == ["2", "6", "10", "12"]
    assert lines[5].startswith("largest difference of the outputs: 0")
