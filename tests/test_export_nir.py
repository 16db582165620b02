"""NIR: what is written comes back spike for spike, and what cannot be written is named by its layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import snnprune
from snnprune.common import extras
from snnprune.common.errors import UserError
from snnprune.export import nir_file
from snnprune.export.comparison import compare, spiking_run
from snnprune.export.graph import folded
from snnprune.export.limits import check_nir
from snnprune.network import discover
from snnprune.pruning import Masks
from support.networks import conv_snn

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.export.comparison import RoundTrip

FRAMES = torch.poisson(torch.full((4, 3, 2, 12, 12), 0.7), torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """Two convolutions whose spikes are added, an adaptive pool, a flatten that is a function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = layer.Conv2d(2, 6, 3, padding=1, bias=False, step_mode="m")
        self.bn1 = layer.BatchNorm2d(6, step_mode="m")
        self.sn1 = neuron.IFNode(v_threshold=0.5, step_mode="m")
        self.conv2 = layer.Conv2d(6, 6, 3, padding=1, step_mode="m")
        self.bn2 = layer.BatchNorm2d(6, step_mode="m")
        self.sn2 = neuron.ParametricLIFNode(v_threshold=0.5, step_mode="m")
        self.pool = layer.AdaptiveAvgPool2d((2, 2), step_mode="m")
        self.drop = layer.Dropout(0.5, step_mode="m")
        self.fc = layer.Linear(24, 3, step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.sn1(self.bn1(self.conv1(x)))
        x = x + self.sn2(self.bn2(self.conv2(x)))
        return self.fc(self.drop(torch.flatten(self.pool(x), 2)))


def lived(model: nn.Module) -> nn.Module:
    """A network whose norms have seen data and whose layers fire."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 2.0)
            nn.init.constant_(module.bias, 0.3)
    model.train()(FRAMES)
    functional.reset_net(model)
    return model.eval()


def round_trip(model: nn.Module, path: Path, frames: torch.Tensor = FRAMES) -> RoundTrip:
    nir_file.write(model, frames, path, "a note")
    again, about = nir_file.read(path, frames.dtype)
    assert about == "a note"
    return compare(spiking_run(model), nir_file.spiking_run(again, model), [frames])


@pytest.mark.parametrize("build", [lambda: conv_snn(norm=True), Residual])
def test_every_spike_comes_back(build: Any, tmp_path: Path) -> None:
    found = round_trip(lived(build()).double(), tmp_path / "net.nir", FRAMES.double())
    assert found.flipped == found.answers == 0
    assert found.difference < 1e-9
    assert found.samples == 3
    assert all(flips.spikes > 0 for flips in found.layers.values())


def test_a_compact_accelerated_network_is_written_as_it_computes(tmp_path: Path) -> None:
    model = lived(conv_snn(norm=True))
    masks = Masks(model, discover(model, FRAMES))
    for population in masks.topology.free():
        masks.keep_units(population, torch.arange(population.size) % 3 > 0)
    small = snnprune.accelerate(snnprune.compact(model, masks).eval())
    found = round_trip(small, tmp_path / "net.nir")
    assert found.flipped == found.answers == 0
    assert found.spikes > 100
    import nir

    graph = nir.read(str(tmp_path / "net.nir"))
    assert graph.nodes["_4"].weight.shape == (4, 3, 3, 3)
    assert type(small[6]).__module__.startswith("snnprune"), "the network itself stays accelerated"


def test_a_folded_norm_is_arithmetic() -> None:
    """2x + 1 into a norm of mean 3, variance 4, weight 6, bias 5: (2x + 1 - 3) / 2 * 6 + 5 = 6x - 1."""
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1, eps=0.0)).eval()
    for tensor, value in zip(
        (model[0].weight, model[0].bias, model[1].running_mean, model[1].running_var),
        (2.0, 1.0, 3.0, 4.0),
        strict=True,
    ):
        tensor.data.fill_(value)
    model[1].weight.data.fill_(6.0)
    model[1].bias.data.fill_(5.0)
    small = folded(model)
    assert (small[0].weight.item(), small[0].bias.item()) == (6.0, -1.0)
    assert isinstance(small[1], nn.Identity)
    assert model[0].weight.item() == 2.0


def test_a_norm_that_cannot_be_folded_stays() -> None:
    class Branched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            return x + self.norm(x)

    assert isinstance(folded(Branched()).norm, nn.BatchNorm2d)


def wrong(place: int, module: nn.Module, *, norm: bool = True) -> nn.Sequential:
    model = conv_snn(norm=norm)
    model[place] = module
    return model


class Own(neuron.LIFNode):
    """A neuron that may do something else than its base."""


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (wrong(3, layer.MaxPool2d(2, step_mode="m")), r"layer '3': it is a MaxPool2d.*use AvgPool2d"),
        (wrong(2, neuron.LIFNode(v_reset=None, step_mode="m")), r"layer '2': its neurons reset softly"),
        (wrong(2, Own(step_mode="m")), r"layer '2': it is an Own"),
        (wrong(2, nn.ReLU()), r"layer '2': it is a ReLU, and NIR has no activations other than spiking"),
        (
            wrong(4, layer.Conv2d(5, 5, 3, groups=5, step_mode="m"), norm=False),
            r"layer '4': it is a convolution of 5 groups",
        ),
        (
            wrong(4, layer.Conv2d(5, 6, 3, padding=1, padding_mode="circular", step_mode="m")),
            r"layer '4': it pads with 'circular'",
        ),
        (wrong(3, layer.AvgPool2d(2, ceil_mode=True, step_mode="m")), r"layer '3': it averages over less"),
        (wrong(3, layer.BatchNorm2d(5, step_mode="m")), r"layer '3': it is a BatchNorm2d, which can only be"),
    ],
)
def test_what_nir_cannot_hold_is_named(model: nn.Module, told: str) -> None:
    with pytest.raises(UserError, match=f"NIR cannot hold {told}"):
        check_nir(model)


def test_a_product_is_named_and_a_condition_too() -> None:
    class Product(Residual):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.sn1(self.conv1(x)) * 2

    class Condition(Residual):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.sn1(self.conv1(x)) if x.sum() > 0 else x

    with pytest.raises(UserError, match="it is the operation 'mul'"):
        check_nir(Product())
    with pytest.raises(UserError, match="cannot be followed layer by layer"):
        check_nir(Condition())


def test_an_uneven_adaptive_pool_is_refused(tmp_path: Path) -> None:
    model = Residual()
    model.pool.output_size = (5, 5)
    model.fc = layer.Linear(150, 3, step_mode="m")
    with pytest.raises(UserError, match=r"layer 'pool': it pools \(12, 12\) places to \(5, 5\)"):
        nir_file.write(model.eval(), FRAMES, tmp_path / "net.nir")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_something_else_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "net.nir").write_bytes(b"no HDF5")
    with pytest.raises(UserError, match=r"cannot read a network from .*expected a file of NIR"):
        nir_file.read(tmp_path / "net.nir")
    with pytest.raises(UserError, match="cannot read a network from"):
        nir_file.read(tmp_path / "none.nir")


def test_a_missing_extra_says_what_to_install() -> None:
    with pytest.raises(UserError, match=r"dancing needs no_such_package: pip install 'snnprune\[export\]'"):
        extras.need("export", "dancing", "torch", "no_such_package")
