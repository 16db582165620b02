"""NIR in the form that other tools read, and in forms that are asked for: the same spikes from each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import h5py
import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir
from torch import nn

from snnprune import cli
from snnprune.common.errors import UserError
from snnprune.export import nir_file
from snnprune.export.comparison import compare, spiking_run
from snnprune.nn.models.integrator import LeakyIntegrator
from snnprune.nn.recurrent import Recurrent

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.export.comparison import RoundTrip

FRAMES = torch.poisson(torch.full((6, 3, 2, 8, 8), 0.8), torch.Generator().manual_seed(0)).double()


def network() -> nn.Sequential:
    """Neurons without and with a factor of their input, a pool in front of a convolution and of a layer."""
    torch.manual_seed(3)
    return nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, step_mode="m"), neuron.IFNode(0.5, step_mode="m"),
        layer.AvgPool2d(2, step_mode="m"), layer.Conv2d(4, 5, 3, padding=1, step_mode="m"),
        neuron.LIFNode(3.0, True, 0.2, step_mode="m"), layer.AvgPool2d(2, step_mode="m"),
        layer.Flatten(step_mode="m"), layer.Linear(20, 7, step_mode="m"),
        Recurrent(neuron.LIFNode(2.5, False, 0.3), 7), layer.Linear(7, 3, step_mode="m"),
        neuron.LIFNode(2.0, False, 0.1, step_mode="m"),
    ).double().eval()  # fmt: skip


def round_trip(model: nn.Module, path: Path, form: nir_file.Form | None = None) -> RoundTrip:
    nir_file.write(model, FRAMES, path, form=form)
    again, _ = nir_file.read(path, torch.float64)
    return compare(spiking_run(model), nir_file.spiking_run(again, model), [FRAMES])


# --- what every file looks like


def test_pools_are_pairs_axes_count_from_the_end_and_ends_have_their_names(tmp_path: Path) -> None:
    nir_file.write(network(), FRAMES, tmp_path / "net.nir")
    graph = nir.read(str(tmp_path / "net.nir"))  # NIR's own check of all types runs here
    assert graph.check_types()
    pools = [node for node in graph.nodes.values() if isinstance(node, nir.AvgPool2d)]
    assert [(p.kernel_size.tolist(), p.stride.tolist(), p.padding.tolist()) for p in pools] == [
        ([2, 2], [2, 2], [0, 0])
    ] * 2
    (flatten,) = (node for node in graph.nodes.values() if isinstance(node, nir.Flatten))
    assert (flatten.start_dim, flatten.end_dim) == (-3, -1)
    assert isinstance(graph.nodes["input"], nir.Input)
    assert isinstance(graph.nodes["output"], nir.Output)
    assert graph.metadata["dt"] == nir_file.DT


def test_constants_have_the_type_of_the_weights(tmp_path: Path) -> None:
    for dtype in (torch.float32, torch.float64):
        nir_file.write(network().to(dtype), FRAMES.to(dtype), tmp_path / "net.nir")
        node = nir.read(str(tmp_path / "net.nir")).nodes["_4"]
        for name in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
            assert getattr(node, name).dtype == str(dtype).removeprefix("torch.")


def test_only_a_reset_that_is_not_zero_is_in_the_file(tmp_path: Path) -> None:
    """nir 1.0.4 cannot read a file with any, and takes what is missing for 0, as later versions do."""
    model = nn.Sequential(
        nn.Linear(2, 2), neuron.IFNode(step_mode="m"), nn.Linear(2, 2),
        neuron.IFNode(v_reset=-0.5, step_mode="m"),
    ).eval()  # fmt: skip
    nir_file.write(model, torch.rand(2, 1, 2), tmp_path / "net.nir")
    with h5py.File(tmp_path / "net.nir") as file:
        assert ["v_reset" in file[f"node/nodes/_{place}"] for place in (1, 3)] == [False, True]
    nodes = nir.read(str(tmp_path / "net.nir")).nodes
    assert [nodes[name].v_reset.tolist() for name in ("_1", "_3")] == [[0.0, 0.0], [-0.5, -0.5]]


def test_a_time_constant_comes_back_from_float32_as_it_was(tmp_path: Path) -> None:
    model = nn.Sequential(layer.Linear(2, 2, step_mode="m"), neuron.LIFNode(3.3, False, step_mode="m")).eval()
    nir_file.write(model, torch.rand(2, 1, 2), tmp_path / "net.nir")
    again, _ = nir_file.read(tmp_path / "net.nir")
    (node,) = (module for module in again.modules() if isinstance(module, neuron.LIFNode))
    assert node.tau == pytest.approx(3.3, rel=1e-12)


class Named(nn.Module):
    """Layers that are called as NIR's two ends are."""

    def __init__(self) -> None:
        super().__init__()
        self.input, self.output = nn.Linear(2, 3), nn.Linear(3, 3)
        self.last = neuron.IFNode(0.2, step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.output(self.input(x)))


def test_layers_may_have_the_names_of_the_ends(tmp_path: Path) -> None:
    frames, model = torch.rand(4, 2, 2), Named().eval()
    nir_file.write(model, frames, tmp_path / "net.nir")
    graph = nir.read(str(tmp_path / "net.nir"))
    assert isinstance(graph.nodes["input"], nir.Input)
    assert isinstance(graph.nodes["output"], nir.Output)
    again, _ = nir_file.read(tmp_path / "net.nir")
    found = compare(spiking_run(model), nir_file.spiking_run(again, model), [frames])
    assert found.flipped == found.difference == 0


def test_files_of_before_are_still_read(tmp_path: Path) -> None:
    """They have pools with one number, axes from the front, float64 constants, and SpikingJelly's names."""
    model = nn.Sequential(*list(network())[:8], neuron.LIFNode(2.0, False, 0.3, step_mode="m")).eval()
    graph = export_to_nir(model, FRAMES[:, :1])
    graph.metadata["snnprune"] = "a note"
    assert {"input_1", "output"} < set(graph.nodes)
    assert np.ndim(graph.nodes["_2"].kernel_size) == graph.nodes["_6"].start_dim == 0
    nir.write(str(tmp_path / "old.nir"), graph)
    again, about = nir_file.read(tmp_path / "old.nir", torch.float64)
    assert about == "a note"
    found = compare(spiking_run(model), nir_file.spiking_run(again, model), [FRAMES])
    assert found.flipped == 0
    assert found.difference == 0.0
    assert all(flips.spikes > 0 for flips in found.layers.values())


# --- forms


@pytest.mark.parametrize(
    ("r", "pool", "dt"), itertools.product(["own", "1"], ["average", "sum"], [1e-4, 1.0])
)
def test_every_form_holds_the_same_network(r: Any, pool: Any, dt: float, tmp_path: Path) -> None:
    found = round_trip(network(), tmp_path / "net.nir", nir_file.Form(dt, r, pool))
    assert found.flipped == found.answers == 0
    assert all(flips.spikes > 0 for flips in found.layers.values())
    nodes = nir.read(str(tmp_path / "net.nir")).nodes.values()
    rs = {round(float(x), 6) for node in nodes if hasattr(node, "r") for x in np.unique(node.r)}
    assert rs == ({1.0} if r == "1" else {round(1 / dt, 6), 1.0, 2.5, 2.0})
    pools = {type(node) for node in nodes if isinstance(node, nir.SumPool2d | nir.AvgPool2d)}
    assert pools == {nir.SumPool2d if pool == "sum" else nir.AvgPool2d}
    taus = sorted(float(node.tau.flat[0]) / dt for node in nodes if hasattr(node, "tau"))
    assert taus == pytest.approx([2.0, 2.5, 3.0])


def paper(*, decay_input: bool) -> tuple[nn.Sequential, torch.Tensor]:
    """A pool of four pixels, a layer of weight 8 and bias 1, neurons of 4 time steps."""
    model = nn.Sequential(
        layer.Conv2d(1, 1, 1, bias=False, step_mode="m"), layer.AvgPool2d(2, step_mode="m"),
        layer.Flatten(step_mode="m"), layer.Linear(1, 1, step_mode="m"),
        neuron.LIFNode(4.0, decay_input, step_mode="m"),
    ).eval()  # fmt: skip
    model[3].weight.data.fill_(8.0)
    model[3].bias.data.fill_(1.0)
    return model, torch.ones(1, 1, 1, 2, 2)


@pytest.mark.parametrize(
    ("form", "decay_input", "held"),
    [
        (nir_file.Form(), False, (8.0, 1.0, 4.0)),  # tau v' = -v + 4 I: an input is added as it is
        (nir_file.Form(r="1"), False, (32.0, 4.0, 1.0)),
        (nir_file.Form(r="1"), True, (8.0, 1.0, 1.0)),
        (nir_file.Form(pool="sum"), False, (2.0, 1.0, 4.0)),  # a sum is four averages, and the bias stays
        (nir_file.Form(r="1", pool="sum"), False, (8.0, 4.0, 1.0)),
        (nir_file.Form(neurons="if"), False, (8.0, 1.0, 1e4)),  # in a step of 0.1 ms, 1e4 adds the input once
        (nir_file.Form(neurons="if"), True, (2.0, 0.25, 1e4)),  # which a LIF neuron divides by its 4 steps
        (nir_file.Form(neurons="if", dt=1.0), True, (2.0, 0.25, 1.0)),
    ],
)
def test_factors_are_arithmetic(
    form: nir_file.Form, decay_input: Any, held: tuple[float, float, float], tmp_path: Path
) -> None:
    model, example = paper(decay_input=decay_input)
    nir_file.write(model, example, tmp_path / "net.nir", form=form)
    nodes = nir.read(str(tmp_path / "net.nir")).nodes
    fc, sn = nodes["_3"], nodes["_4"]
    assert [fc.weight.item(), fc.bias.item(), sn.r.item()] == pytest.approx(list(held), rel=1e-7)
    assert isinstance(sn, nir.IF if form.neurons == "if" else nir.LIF)


def test_neurons_without_their_leak_are_those_of_spikingjelly(tmp_path: Path) -> None:
    def built(made: Any) -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(
            layer.Conv2d(2, 4, 3, step_mode="m"), made(), layer.Flatten(step_mode="m"),
            layer.Linear(144, 3, step_mode="m"), made(),
        ).double().eval()  # fmt: skip

    leaky = built(lambda: neuron.LIFNode(2.0, False, 0.6, step_mode="m"))
    without = built(lambda: neuron.IFNode(0.6, step_mode="m"))
    nir_file.write(leaky, FRAMES, tmp_path / "net.nir", form=nir_file.Form(neurons="if"))
    again, _ = nir_file.read(tmp_path / "net.nir", torch.float64)
    found = compare(spiking_run(without), nir_file.spiking_run(again, without), [FRAMES])
    assert found.flipped == 0
    assert found.spikes > 0
    assert compare(spiking_run(leaky), nir_file.spiking_run(again, leaky), [FRAMES]).flipped > 0


class Shortcut(nn.Module):
    """Neurons that read spikes beside synapses."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.sn1 = nn.Linear(2, 2), neuron.LIFNode(2.0, False, step_mode="m")
        self.fc2, self.sn2 = nn.Linear(2, 2), neuron.LIFNode(2.0, False, step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.sn1(self.fc1(x))
        return self.sn2(x + self.fc2(x))


@pytest.mark.parametrize(
    ("model", "example", "form", "told"),
    [
        (Shortcut(), torch.rand(2, 1, 2), nir_file.Form(r="1"), "'sn1' leads to .*'sn2'.*different factors"),
        (
            nn.Sequential(layer.Conv2d(2, 2, 3, step_mode="m"), neuron.IFNode(step_mode="m"),
                          layer.AvgPool2d(2, step_mode="m"), neuron.IFNode(step_mode="m")),
            FRAMES.float(), nir_file.Form(pool="sum"), "'_3' reads a pool beside or without synapses",
        ),
        (
            nn.Sequential(layer.Conv2d(2, 2, 3, step_mode="m"), neuron.IFNode(step_mode="m"),
                          layer.AvgPool2d(2, step_mode="m"), neuron.IFNode(step_mode="m")),
            FRAMES.float(), nir_file.Form(r="1"), "the neurons behind '_1' read it without synapses",
        ),
        (
            nn.Sequential(nn.Linear(2, 2), LeakyIntegrator(0.5)), torch.rand(2, 1, 2),
            nir_file.Form(neurons="if"), "'_1' are leaky integrators, .*--model.readout spikes",
        ),
    ],
)  # fmt: skip
def test_what_has_no_such_form_is_named(
    model: nn.Module, example: torch.Tensor, form: nir_file.Form, told: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"NIR cannot hold this network in the form.*{told}"):
        nir_file.write(model.eval(), example, tmp_path / "net.nir", form=form)
    assert not (tmp_path / "net.nir").exists()


# --- files of others


def of_others(path: Path, middle: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    nodes = {"input": nir.Input(np.array([1])), **middle, "output": nir.Output(np.array([1]))}
    chain = list(nodes)
    nir.write(str(path), nir.NIRGraph(nodes, list(itertools.pairwise(chain)), metadata=metadata or {}))


@pytest.mark.parametrize(
    ("node", "dt", "currents"),
    [
        (nir.IF(np.ones(1), np.full(1, 9.0)), 1.0, [3.0, 3.0]),  # sinabs and spyx write time steps as seconds
        (nir.IF(np.full(1, 2.0), np.full(1, 9.0)), 1.0, [6.0, 6.0]),
        (nir.LIF(np.full(1, 2e-4), np.full(1, 8.0), np.zeros(1), np.full(1, 99.0)), 1e-4, [12.0, 6.0]),
    ],
)
def test_r_of_others_is_multiplied_into_the_weights(
    node: Any, dt: float, currents: list[float], tmp_path: Path
) -> None:
    """An input of 1 through a weight of 3: what one step adds to the potential, and what two leave of it."""
    of_others(tmp_path / "net.nir", {"fc": nir.Linear(np.full((1, 1), 3.0)), "sn": node})
    again, _ = nir_file.read(tmp_path / "net.nir", torch.float64, dt)
    again.requires_grad_(requires_grad=False)
    _, states = again(torch.ones(1, 1, 1, dtype=torch.float64))
    (first,) = (state[0] for state in states.values() if isinstance(state, tuple))
    _, states = again(torch.zeros(1, 1, 1, dtype=torch.float64), states)
    (second,) = (state[0] for state in states.values() if isinstance(state, tuple))
    assert [float(first), float(second)] == pytest.approx(currents)


def test_the_file_says_how_long_a_step_is(tmp_path: Path) -> None:
    node = {
        "fc": nir.Linear(np.ones((1, 1))),
        "sn": nir.LIF(np.full(1, 0.02), *np.ones((1, 1)), np.zeros(1), np.ones(1)),
    }
    for metadata, dt, tau in (({"dt": 0.01}, None, 2.0), ({}, 0.005, 4.0), ({"dt": 0.01}, 0.001, 20.0)):
        of_others(tmp_path / "net.nir", node, metadata)
        again, _ = nir_file.read(tmp_path / "net.nir", dt=dt)
        (found,) = (module for module in again.modules() if isinstance(module, neuron.LIFNode))
        assert found.tau == pytest.approx(tau)


# --- the command line


@pytest.mark.parametrize("option", ["r=1", "pool=sum", "dt=1", "neurons=if"])
def test_a_form_needs_its_format(option: list[str], tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert cli.main(["export", str(tmp_path / "model.safetensors"), "--to", "onnx", f"--nir-{option}"]) == 2
    assert "go with --to nir" in capsys.readouterr().err


def test_a_length_of_time_is_a_number_above_nothing(tmp_path: Path, capsys: Any) -> None:
    assert cli.main(["export", str(tmp_path), "--to", "nir", "--nir-dt", "0"]) == 2
    assert "--nir-dt must be a number above 0, and is '0'" in capsys.readouterr().err


def test_a_network_that_begins_with_a_pool_is_one_sentence(tmp_path: Path) -> None:
    model = nn.Sequential(layer.AvgPool2d(2, step_mode="m"), neuron.IFNode(step_mode="m"))
    with pytest.raises(UserError, match=r"NIR cannot hold this network: .*no defined input_type"):
        nir_file.write(model.eval(), FRAMES.float(), tmp_path / "net.nir")
