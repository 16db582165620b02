"""Whole numbers and lists of connections: arithmetic that fits on paper, files that come back exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix
from spikingjelly.activation_based import layer, neuron
from test_export_nir import FRAMES, Residual, lived
from torch import nn

from snnprune.common.errors import UserError
from snnprune.export import connections
from snnprune.export.comparison import compare, spiking_run
from snnprune.export.demand import BUDGETS, budgets, check, demand, totals
from snnprune.export.quantisation import quantise
from support.networks import conv_snn

if TYPE_CHECKING:
    from pathlib import Path


def two_units(**constants: Any) -> nn.Sequential:
    """Two inputs, two units: weights (1.4, 0.21) and (-0.7, 0), biases 0.3 and -0.1."""
    model = nn.Sequential(layer.Linear(2, 2, step_mode="m"), neuron.LIFNode(step_mode="m", **constants))
    model[0].weight.data = torch.tensor([[1.4, 0.21], [-0.7, 0.0]])
    model[0].bias.data = torch.tensor([0.3, -0.1])
    return model


def test_weights_thresholds_and_leak_are_whole_numbers() -> None:
    """4 bits: 7 steps of 0.2 reach 1.4, and 7 of 0.1 reach 0.7; 0.21 is 1.05 steps, 0.55 2.75 or 5.5."""
    model = two_units(tau=1.25, decay_input=False, v_threshold=0.55, v_reset=0.0)
    grid = quantise(model, torch.rand(3, 1, 2), bits=4)
    layer_, neurons = grid.layers["0"], grid.neurons["1"]
    assert torch.allclose(layer_.steps, torch.tensor([0.2, 0.1], dtype=torch.float64))
    assert layer_.weights.tolist() == [[7, 1], [-7, 0]]
    assert layer_.biases.tolist() == [2, -1]  # 1.5 steps go to the even 2
    assert neurons.thresholds.tolist() in ([3, 5], [3, 6])  # 5.5 steps are a tie of floats
    assert neurons.resets.tolist() == [0, 0]
    assert neurons.leak == 3  # 1 - 1/1.25 = 0.2 is 3.2 sixteenths
    assert torch.allclose(layer_.values, torch.tensor([[1.4, 0.2], [-0.7, 0.0]], dtype=torch.float64))


def test_an_input_that_leaks_counts_in_smaller_steps() -> None:
    model = two_units(tau=2.0, decay_input=True, v_threshold=0.5, v_reset=None)
    neurons = quantise(model, torch.rand(3, 1, 2), bits=4).neurons["1"]
    assert neurons.thresholds.tolist() == [5, 10], "0.5 in halves of 0.2 and 0.1"
    assert neurons.resets is None
    assert neurons.leak == 8


def test_a_threshold_is_never_zero() -> None:
    model = two_units(v_threshold=0.01, decay_input=False)
    assert quantise(model, torch.rand(3, 1, 2), bits=4).neurons["1"].thresholds.tolist() == [1, 1]


@pytest.mark.parametrize("build", [lambda: conv_snn(norm=True), Residual])
def test_with_many_bits_nothing_changes(build: Any) -> None:
    model = lived(build())
    found = []
    for bits in (4, 8, 16):
        grid = quantise(model, FRAMES, bits)
        other = spiking_run(grid.model, grid.neurons)
        found.append(compare(spiking_run(model), other, [FRAMES]))
    assert found[0].flipped > found[1].flipped >= found[2].flipped
    assert found[2].flipped < found[2].spikes / 1000


@pytest.mark.parametrize(
    ("model", "bits", "told"),
    [
        (conv_snn(), 1, "--bits must be from 2 to 16, and is 1"),
        (nn.Sequential(neuron.KLIFNode(step_mode="m")), 8, "layer '0' is a KLIFNode, and only"),
        (nn.Sequential(nn.BatchNorm1d(3)), 8, "layer '0' is a norm without a layer right before it"),
    ],
)
def test_what_cannot_be_put_on_a_grid(model: nn.Module, bits: int, told: str) -> None:
    with pytest.raises(UserError, match=told):
        quantise(model, FRAMES, bits)


# --- connections


def sparse() -> nn.Sequential:
    model = conv_snn(norm=False)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data *= torch.rand(parameter.shape, generator=generator) < 0.4
    return model


@pytest.mark.parametrize("bits", [None, 3, 4, 8, 12])
def test_connections_come_back_exactly(bits: int | None, tmp_path: Path) -> None:
    model = sparse()
    grid = None if bits is None else quantise(model, FRAMES, bits)
    connections.write(model if grid is None else grid, tmp_path / "net.safetensors")
    read = connections.read(tmp_path / "net.safetensors")
    assert list(read) == ["0", "4", "9", "11"]
    for name, weight in read.items():
        mine = model.get_submodule(name).weight.detach() if grid is None else grid.layers[name].values
        assert np.array_equal(weight.astype(mine.numpy().dtype), mine.numpy()), name


def test_the_file_is_compressed_rows_as_others_know_them(tmp_path: Path) -> None:
    model = sparse()
    connections.write(model, tmp_path / "net.safetensors")
    raw = load_file(tmp_path / "net.safetensors")
    parts = (raw["9.weights"], raw["9.columns"], raw["9.rows"])
    assert np.array_equal(csr_matrix(parts, shape=(20, 54)).toarray(), model[9].weight.detach().numpy())
    alive = sum(int(p.count_nonzero()) for p in model.parameters() if p.ndim > 1)
    assert sum(len(raw[f"{name}.weights"]) for name in (0, 4, 9, 11)) == alive


def test_fewer_bits_are_fewer_bytes() -> None:
    model = sparse()
    sizes = [len(connections.content(quantise(model, FRAMES, bits))) for bits in (4, 8)]
    assert sizes[0] < sizes[1] < len(connections.content(model, FRAMES))


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot read connections from"):
        connections.read(tmp_path / "net.safetensors")


# --- what a chip is asked for


def test_demand_is_arithmetic() -> None:
    """A 3 x 3 convolution on 4 x 4 places: 16 places, at the border fewer synapses: 10 x 10 in all."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 3, bias=False))
    model[2].weight.data[0, 5] = 0.0
    conv, linear = demand(model, torch.rand(1, 1, 4, 4))
    assert (conv.neurons, conv.weights, conv.synapses) == (32, 18, 2 * 10 * 10)
    assert (conv.fan_in, conv.fan_out, conv.biases) == (9, 18, 2)
    assert (conv.channels, conv.kernel, conv.map) == (2, 3, 4)
    assert (linear.neurons, linear.weights, linear.synapses) == (3, 95, 95)
    assert (linear.fan_in, linear.fan_out) == (32, 3)
    assert (conv.bytes(8), conv.bytes(16)) == (20, 40)
    whole = totals([conv, linear])
    assert (whole["layers"], whole["neurons"], whole["weights"], whole["fan_in"]) == (2, 35, 113, 32)


def test_every_figure_of_a_chip_has_its_source() -> None:
    chips = budgets(BUDGETS)
    assert {"Loihi 2", "Speck"} <= chips.keys()
    for offered in chips.values():
        known = [entry for entry in offered.values() if entry != "unknown"]
        assert known
        assert all(entry["source"].startswith(("https://", "the package ")) for entry in known)


def test_budgets_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "chips.yaml"
    file.write_text(
        "mine: {neurons: {at_most: 34, source: me}, layers: {at_most: 2, source: me}, map: unknown}\n"
    )
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 3))
    verdicts = check(demand(model, torch.rand(1, 1, 4, 4)), budgets(file))
    assert [(c.figure, c.asked, c.verdict) for c in verdicts] == [
        ("neurons", 35, "too much"), ("layers", 2, "fits"), ("map", 4, "unknown"),
    ]  # fmt: skip


def spiking(made: Any) -> nn.Sequential:
    return nn.Sequential(
        layer.Conv2d(1, 2, 3, step_mode="m"), layer.BatchNorm2d(2, step_mode="m"), made(),
        layer.AvgPool2d(2, step_mode="m"), nn.Flatten(2), nn.Linear(2, 3),
    ).eval()  # fmt: skip


def test_speck_has_no_neurons_with_a_leak() -> None:
    example = torch.rand(2, 1, 1, 4, 4)
    for made, kind, verdict in (
        (lambda: neuron.LIFNode(step_mode="m"), "LIF", "has none"),
        (lambda: neuron.ParametricLIFNode(step_mode="m"), "LIF", "has none"),
        (lambda: neuron.IFNode(step_mode="m"), "IF", "fits"),
        (lambda: neuron.QIFNode(step_mode="m"), "QIFNode", "has none"),
    ):
        layers = demand(spiking(made), example)
        assert [one.neuron for one in layers] == [kind, ""]
        found = {c.chip: c for c in check(layers, budgets(BUDGETS)) if c.figure == "neuron"}
        assert (found["Speck"].asked, found["Speck"].offered, found["Speck"].verdict) == (kind, "IF", verdict)
        assert found["Loihi 2"].verdict == "unknown"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mine: 5", "must hold chips with figures"),
        ("[1, 2]", "must hold chips with figures"),
        ("mine: {nerves: unknown}", "has the figure 'nerves' for mine: expected one of layers, neurons"),
        ("mine: {neuron: {at_most: 5, source: me}}", r"must give mine `neuron: {kinds: \[IF, LIF\], "),
        ("mine: {neuron: {kinds: [], source: me}}", "must give mine `neuron: "),
        ("mine: {neuron: {kinds: [5], source: me}}", "must give mine `neuron: "),
        ("mine: {neurons: 5}", "must give mine `neurons: "),
        ("mine: {neurons: {at_most: 5}}", "must give mine `neurons: "),
        ("mine: {neurons: {at_most: 5, source: ''}}", "must give mine `neurons: "),
        ("a: [", "cannot read the budgets in"),
    ],
)
def test_budgets_that_say_something_else(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "chips.yaml").write_text(text)
    with pytest.raises(UserError, match=told):
        budgets(tmp_path / "chips.yaml")
