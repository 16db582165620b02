"""Saving a compact network and building it again: nothing is unpickled, nothing wrong is accepted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.config.names import MODELS, NIR_MODEL
from snnprune.config.schema import ModelConfig, RunConfig
from snnprune.network import discover
from snnprune.nn import Recurrent, models
from snnprune.pruning import Masks
from snnprune.runs.about import About
from support.networks import ResidualSNN, conv_snn

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = torch.poisson(torch.full((3, 4, 2, 12, 12), 0.7), torch.Generator().manual_seed(0))


def small(model: nn.Module, x: torch.Tensor = FRAMES) -> nn.Module:
    """A compact network whose norms have lived and whose layers fire."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.weight.fill_(2.0)
                module.bias.fill_(0.3)
            elif isinstance(module, nn.Linear):
                module.bias.uniform_(0.0, 0.4)
    model(x)
    functional.reset_net(model)
    masks = Masks(model, discover(model, x))
    for population in masks.topology.free():
        masks.keep_units(population, torch.arange(population.size) % 3 > 0)
    return snnprune.compact(model, masks).eval()


def built(**changes: Any) -> Any:
    """A builder of the network of ``small``, with some constant changed."""

    def build() -> nn.Sequential:
        model = conv_snn(norm=True)
        for name, value in changes.items():
            setattr(model[6], name, value)
        return model

    return build


@pytest.fixture
def saved(tmp_path: Path) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    model = small(conv_snn(norm=True))
    snnprune.save(model, tmp_path / "net.safetensors")
    return model, tmp_path / "net"


def test_it_comes_back_spike_for_spike(saved: tuple[nn.Module, Path]) -> None:
    model, path = saved
    assert sorted(p.name for p in path.parent.iterdir()) == ["net.json", "net.safetensors"]
    again = snnprune.load(path, built()).eval()
    out = model(FRAMES)
    assert out.any()
    assert torch.equal(out, again(FRAMES))
    assert (again[4].in_channels, again[5].num_features, again[9].in_features) == (3, 4, 36)
    assert again.snnprune_survivors["0"].tolist() == [1, 2, 4]
    functional.reset_net(again)
    again.train()(FRAMES).sum().backward()  # and it can be trained on
    assert all(p.grad is not None and p.grad.shape == p.shape for p in again.parameters())


def test_the_files_are_readable_without_us(saved: tuple[nn.Module, Path]) -> None:
    model, path = saved
    tensors = load_file(f"{path}.safetensors")
    assert torch.equal(tensors["4.weight"], model[4].weight)
    described = json.loads(path.with_suffix(".json").read_text())
    assert described["tensors"]["4.weight"] == {
        "shape": [4, 3, 3, 3], "dense": [6, 5, 3, 3], "dtype": "float32",
    }  # fmt: skip
    assert described["kept"]["0"] == {"dense": 5, "units": [1, 2, 4]}
    constants = described["modules"]["6"]["constants"]
    assert (constants["v_threshold"], constants["tau"], constants["v_reset"]) == (0.5, 1.25, 0.0)
    assert constants["step_mode"] == "m"


def test_a_network_that_was_loaded_is_saved_and_compacted_again(saved: tuple[nn.Module, Path]) -> None:
    _, path = saved
    again = snnprune.load(path, built())
    snnprune.save(small(again), path.with_name("smaller"))
    third = snnprune.load(path.with_name("smaller"), built())
    assert third.snnprune_survivors["0"].tolist() == [2, 4]
    assert third[0].out_channels == 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_types_and_a_whole_network_are_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    model = ResidualSNN().to(dtype)
    snnprune.save(model, tmp_path / "v1.5")
    again = snnprune.load(str(tmp_path / "v1.5.safetensors"), ResidualSNN)
    for (key, a), b in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
        assert a.dtype == b.dtype


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    def build(tie: bool = True) -> nn.Sequential:
        model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
        if tie:
            model[2].weight = model[0].weight
        return model

    model = build()
    snnprune.save(model, tmp_path / "tied")
    again = snnprune.load(tmp_path / "tied", build)
    assert again[2].weight is again[0].weight
    assert torch.equal(again[0].weight, model[0].weight)
    with pytest.raises(UserError, match=r"'2\.weight' and '0\.weight' are one tensor in the file"):
        snnprune.load(tmp_path / "tied", lambda: build(tie=False))


def test_buffers_that_no_state_dict_has_are_kept(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("threshold", torch.linspace(0.1, 0.5, 6), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x >= self.threshold).to(x.dtype)

    def build() -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 6), Fixed(), nn.Linear(6, 2))

    model, x = build(), torch.rand(5, 4)
    masks = Masks(model, discover(model, x, neurons=(Fixed,)))
    masks.keep_units(masks.topology.populations["0"], torch.arange(6) % 2 == 0)
    compact = snnprune.compact(model, masks)
    snnprune.save(compact, tmp_path / "fixed")
    again = snnprune.load(tmp_path / "fixed", build)
    assert torch.equal(again[1].threshold, model[1].threshold[::2])
    assert torch.equal(again(x), compact(x))


# --- what is refused, by the first layer that differs


@pytest.mark.parametrize(
    ("builder", "told"),
    [
        (built(v_threshold=0.7), r"layer '6' has v_threshold = 0\.7, and 0\.5 in the file"),
        (built(tau=2.0), r"layer '6' has tau = 2\.0, and 1\.25 in the file"),
        (built(v_reset=None), r"layer '6' has v_reset = None, and 0\.0 in the file"),
        (built(step_mode="s"), r"layer '6' has step_mode = 's', and 'm' in the file"),
        (
            lambda: conv_snn(norm=False),
            r"layer '1' is of class Identity, and of class BatchNorm2d in the file",
        ),
        (lambda: nn.Sequential(*list(built()())[:-1]), r"layer '12' \(LIFNode\) is missing"),
        (lambda: nn.Sequential(*built()(), neuron.IFNode()), r"layer '13' \(IFNode\) is not in the file"),
        (ResidualSNN, r"the network itself is of class ResidualSNN, and of class Sequential in the file"),
    ],
)
def test_a_wrong_builder_is_refused(saved: tuple[nn.Module, Path], builder: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        snnprune.load(saved[1], builder)


@pytest.mark.parametrize(("saving", "loading"), [(True, False), (False, True), (True, True)])
def test_how_a_network_computes_is_not_saved_with_it(tmp_path: Path, saving: bool, loading: bool) -> None:
    def build(fast: bool) -> nn.Module:
        model = conv_snn(norm=True)
        return snnprune.accelerate(model, channels_last=True) if fast else model

    torch.manual_seed(0)
    model = build(saving).eval()
    model(FRAMES)
    functional.reset_net(model)
    snnprune.save(model, tmp_path / "net")
    again = snnprune.load(tmp_path / "net", lambda: build(loading)).eval()
    assert torch.equal(again(FRAMES), model(FRAMES))


@pytest.mark.parametrize(
    ("builder", "told"),
    [
        (
            conv_snn(norm=True),
            r"expected a function .* got a Sequential itself: write load\(path, lambda: network\)",
        ),
        (lambda: None, "expected a function .* returned NoneType"),
    ],
)
def test_what_builds_no_network_is_refused(saved: tuple[nn.Module, Path], builder: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        snnprune.load(saved[1], builder)


def test_a_builder_of_another_width_is_refused_though_the_weights_would_fit(
    saved: tuple[nn.Module, Path],
) -> None:
    def wider() -> nn.Sequential:
        model = built()()
        model[11] = layer.Linear(20, 5, step_mode="m")
        return model

    with pytest.raises(UserError, match=r"layer '11' has a weight of shape \(5, 20\).* had \(4, 20\)"):
        snnprune.load(saved[1], wider)


def test_files_that_are_damaged_or_mixed_are_refused(saved: tuple[nn.Module, Path], tmp_path: Path) -> None:
    _, path = saved
    snnprune.save(ResidualSNN(), tmp_path / "other")
    (tmp_path / "other.safetensors").replace(tmp_path / "net.safetensors")
    with pytest.raises(UserError, match=r"is not the file that net\.json describes"):
        snnprune.load(path, built())
    path.with_suffix(".json").write_text('{"format": "something"}')
    with pytest.raises(UserError, match="does not describe a network"):
        snnprune.load(path, built())
    path.with_suffix(".json").write_text("{")
    with pytest.raises(UserError, match="cannot read the network"):
        snnprune.load(path, built())
    with pytest.raises(UserError, match="No such file"):
        snnprune.load(tmp_path / "nothing", built())


def test_the_step_mode_within_a_recurrent_layer_is_no_constant(tmp_path: Path) -> None:
    """It is set when the layer is called, and a builder may call `set_step_mode`."""

    def built() -> nn.Module:
        model = nn.Sequential(nn.Linear(3, 2), Recurrent(neuron.LIFNode(step_mode="m"), 2))
        functional.set_step_mode(model, "m")
        return model

    model = built()
    model(torch.rand(3, 1, 3))
    functional.reset_net(model)
    snnprune.save(model, tmp_path / "net")
    assert torch.equal(snnprune.load(tmp_path / "net", built)[1].feedback.weight, model[1].feedback.weight)


def test_a_file_of_a_run_needs_no_builder(tmp_path: Path) -> None:
    """It says which of the package's own models it holds."""
    config = RunConfig(model=ModelConfig("mlp-snn", hidden=7))
    net = models.build(config.model, (2, 3, 3), 4)
    snnprune.save(net, tmp_path / "net", about=About(config, (2, 3, 3), 4, spiking=True).text())
    again: Any = snnprune.load(tmp_path / "net")
    assert again.fc1.out_features == 7
    assert all(torch.equal(again.state_dict()[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", sorted(name for name in MODELS if name != NIR_MODEL))
def test_no_memory_is_taken_for_what_a_file_claims(name: str, tmp_path: Path) -> None:
    huge = About(RunConfig(model=ModelConfig(name, hidden=10**6)), (2, 60_000, 60_000), 60_000, spiking=True)
    snnprune.save(nn.Linear(2, 2), tmp_path / "net", about=huge.text())
    with pytest.raises(
        UserError, match=r"names a network of [\d,]+ numbers, more than .*pass load a builder"
    ):
        snnprune.load(tmp_path / "net")


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ("", "does not say how its network is built"),
        ("by hand", "does not say how its network is built"),
        ("os:getcwd", "holds a 'os:getcwd', which is no model of snnprune's own"),
        (NIR_MODEL, "which is no model of snnprune's own"),
    ],
)
def test_without_a_builder_no_code_is_run_that_a_file_names(about: str, told: str, tmp_path: Path) -> None:
    if ":" in about:
        about = About(RunConfig(model=ModelConfig(about)), (2, 3, 3), 4, spiking=True).text()
    snnprune.save(nn.Linear(2, 2), tmp_path / "net", about=about)
    with pytest.raises(UserError, match=f"{told}.*pass load a builder"):
        snnprune.load(tmp_path / "net")
