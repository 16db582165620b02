"""The papers' networks: shapes, weights, neurons, first rates, and that they can learn."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from spikingjelly.activation_based import functional
from torch import nn

from snnprune.common.errors import UserError
from snnprune.config.names import MODELS
from snnprune.config.schema import ModelConfig
from snnprune.network import discover, firing
from snnprune.nn.models import build
from snnprune.nn.models.kit import analogue, spiking
from snnprune.nn.models.lif import lif
from snnprune.nn.models.notation import network
from snnprune.pruning import Pruner
from support.hooks import hooks

SNNS = [name for name in MODELS if name.endswith("-snn")]  # rsnn is for sound: tests/test_rsnn.py
ANNS = [name for name in MODELS if name.endswith("ann")]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("shape", "classes"), [((1, 32, 32), 10), ((2, 35, 40), 3)])
def test_any_input_size_and_class_count(name: str, shape: tuple[int, int, int], classes: int) -> None:
    model = build(ModelConfig(name=name, hidden=20, readout="spikes"), shape, classes)
    if model.spiking:
        output = model(torch.rand(2, 3, *shape))
        assert output.shape == (2, 3, classes)
        if name == "rbm-snn":  # whose outputs are currents
            assert model.loss == "cross-entropy"
            return
        assert set(output.unique().tolist()) <= {0.0, 1.0}
        assert model.loss == "mse"
    else:
        assert model(torch.rand(3, *shape)).shape == (3, classes)
        assert model.loss == "cross-entropy"


@pytest.mark.parametrize(
    ("name", "shape", "layer", "share", "total"),
    [
        ("conv-snn", (1, 28, 28), "fc1", 0.986, 135 + 5400 + 40 * 49 * 300 + 3000),
        ("conv-snn", (2, 34, 34), "fc1", 0.989, 270 + 5400 + 40 * 64 * 300 + 3000),
        ("vgg-snn", (3, 32, 32), "fc1", 0.786, 21_356_928),
        ("mlp-snn", (1, 28, 28), "fc1", 784 / 794, 794 * 800),
        ("conv-ann", (1, 28, 28), "fc1", 0.986, 135 + 5400 + 40 * 49 * 300 + 3000),
        ("vgg-ann", (3, 32, 32), "fc1", 0.786, 21_356_928),
        ("lenet-ann", (1, 28, 28), "fc1", 400_000 / 430_500, 500 + 25_000 + 800 * 500 + 5000),
    ],
)
def test_weights_are_those_of_the_paper(
    name: str, shape: tuple[int, int, int], layer: str, share: float, total: int
) -> None:
    with torch.device("meta"):
        model = build(ModelConfig(name=name), shape, 10)
    sizes = {
        part: module.weight.numel()
        for part, module in model.named_children()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    assert sum(sizes.values()) == total
    assert sizes[layer] / total == pytest.approx(share, abs=5e-4)


def test_names_biases_and_hidden_units() -> None:
    small = build(ModelConfig(hidden=7), (2, 34, 34), 4)
    assert [name for name, _ in small.named_children()] == [
        *("conv1", "conv1_lif", "pool1", "conv2", "conv2_lif", "pool2"),
        *("flatten", "fc1", "fc1_lif", "out", "out_lif"),
    ]
    assert small.get_submodule("fc1").weight.shape == (7, 2560)
    assert all(module.bias is not None for module in small if isinstance(module, nn.Conv2d | nn.Linear))
    normed = network("4C3-BN-MaxPool2-Flatten-5FC", analogue(), (1, 8, 8), 2)
    assert normed.get_submodule("conv1").bias is None
    assert normed.get_submodule("fc1").bias is not None
    assert not any(name.startswith("out_") for name, _ in normed.named_children())


def test_lif_on_paper() -> None:
    """Input 0.3, 0.3, 0.5, 0, then silence: u = 0.3, 0.36, 0.572 (spike), 0, ..."""
    neuron = lif()
    neuron.store_v_seq = True
    spikes = neuron(torch.tensor([0.3, 0.3, 0.5, 0.4, 0.5]).view(5, 1))
    # 0.2 * 0.36 + 0.5 = 0.572 fires and resets; 0.4 is below, then 0.2 * 0.4 + 0.5 = 0.58 fires
    assert spikes.flatten().tolist() == [0, 0, 1, 0, 1]
    assert neuron.v_seq.flatten().tolist() == pytest.approx([0.3, 0.36, 0.0, 0.4, 0.0])


def test_lif_gradient_is_a_rectangle_and_the_reset_is_in_it() -> None:
    def slope(current: float, later: float, detach: bool) -> float:
        x = torch.tensor([[current], [later]], requires_grad=True)
        lif(detach)(x)[1].sum().backward()
        assert x.grad is not None
        return float(x.grad[0])

    # do[1]/dx[0] = surrogate(u[1]) * du[1]/du[0], with du[1]/du[0] = 0.2 * (1 - o) - 0.2 * u * do/du
    assert slope(0.3, 0.4, detach=False) == pytest.approx(0.2 - 0.2 * 0.3)
    assert slope(0.3, 0.4, detach=True) == pytest.approx(0.2)
    assert slope(0.3, 1.2, detach=False) == 0


@pytest.mark.parametrize("name", MODELS)
def test_small_frames_are_refused_in_a_sentence(name: str) -> None:
    if name in {"mlp-snn", "mlp-ann", "rsnn", "wta-snn", "rbm-snn"}:  # without convolutions
        assert build(ModelConfig(name=name), (1, 1, 1), 2)
        return
    with pytest.raises(UserError, match="frames of 3 x 3 pixels are too small"):
        build(ModelConfig(name=name), (1, 3, 3), 10)


def test_words_that_are_no_layers_are_refused() -> None:
    for text in ("15C", "C3", "FC", "AvgPool", "8X3", "", "3Flatten", "0C3", "Flatten-5FC-BN"):
        with pytest.raises(UserError, match="is not a layer"):
            network(text, analogue(), (1, 8, 8), 2)
    for text, message in (
        ("4C3-5FC", "'5FC' can stand only behind a Flatten"),
        ("Flatten-AvgPool2", "'AvgPool2' can stand only before a Flatten"),
        ("Flatten-Flatten", "'Flatten' can stand only before a Flatten"),
        ("4C3", "needs a Flatten"),
    ):
        with pytest.raises(UserError, match=message):
            network(text, analogue(), (1, 8, 8), 2)


def test_the_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'conv-snn'"):
        build(ModelConfig(name="conv-snm"), (1, 28, 28), 10)


def blobs(time: int, samples: int, scale: float, counts: bool) -> torch.Tensor:
    """Frames with something bright on dark ground: pixels in [0, 1], or counts of events."""
    generator = torch.Generator().manual_seed(1)
    places = torch.rand(samples, 2, 8, 8, generator=generator) > 0.7
    frames = nn.functional.interpolate(places.float(), (34, 34), mode="bilinear") * scale
    frames = frames.expand(time, -1, -1, -1, -1)
    return torch.poisson(frames, generator=generator) if counts else frames


@pytest.mark.parametrize("name", SNNS + ANNS)
@pytest.mark.parametrize(
    ("scale", "counts"), [(1.0, False), (0.3, True), (2.0, True)], ids=["image", "sparse", "dense"]
)
def test_no_layer_is_silent_or_saturated_at_first(name: str, scale: float, counts: bool) -> None:
    frames = blobs(5, 4, scale, counts)
    for seed in range(2):
        torch.manual_seed(seed)
        model = build(ModelConfig(name=name, hidden=100), (2, 34, 34), 10)
        reports = firing.check(model, frames if model.spiking else frames.sum(0))
        assert [str(report) for report in reports if report.state != "ok"] == []
        layers = [n for n, m in model.named_children() if n.endswith(("_lif", "_wta", "_relu"))]
        assert [report.layer for report in reports] == layers


def test_silent_and_saturated_layers_are_named() -> None:
    model = network("4C3-Flatten-6FC", spiking(), (1, 6, 6), 3)
    with torch.no_grad():
        model.get_submodule("conv1").weight.fill_(1.0)
        model.get_submodule("fc1").weight.fill_(-1.0)
    conv1, fc1, out = firing.check(model, torch.ones(3, 2, 1, 6, 6))
    assert (conv1.state, fc1.state, out.state) == ("saturated", "silent", "silent")
    assert "layer conv1_lif is saturated" in str(conv1)
    assert "layer fc1_lif is silent" in str(fc1)
    # A ReLU that always passes is linear, not saturated
    twin = network("4C3-Flatten", analogue(), (1, 6, 6), 3)
    with torch.no_grad():
        twin.get_submodule("conv1").weight.fill_(1.0)
    assert firing.check(twin, torch.ones(2, 1, 6, 6))[0].state == "ok"


def test_check_leaves_everything_as_it_was() -> None:
    model = network("4C3-BN-MaxPool2-Flatten-6FC", spiking(), (1, 8, 8), 3)
    model.add_module("dropout", nn.Dropout(0.5))
    model.eval()
    model.get_submodule("fc1_lif").train()
    model(torch.rand(2, 2, 1, 8, 8))
    neuron = model.get_submodule("fc1_lif")
    voltage, buffers = neuron.v.clone(), {name: value.clone() for name, value in model.named_buffers()}
    batch = torch.rand(4, 5, 1, 8, 8)
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    firing.check(model, batch)
    assert torch.equal(neuron.v, voltage)
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert not hooks(model)


def test_same_seed_same_weights() -> None:
    first, second, other = (weights(seed) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def weights(seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return nn.utils.parameters_to_vector(build(ModelConfig(hidden=9), (1, 12, 12), 3).parameters())


@pytest.mark.parametrize(("name", "epochs"), [("mlp-snn", 2), ("conv-snn", 1)])
def test_networks_learn_from_their_initial_weights(name: str, epochs: int) -> None:
    """With gain 2 or sqrt(2) up to the output most classes die at once, and accuracy stays below 0.6."""
    from sklearn.datasets import load_digits

    pixels, labels = (torch.tensor(a) for a in load_digits(return_X_y=True))
    images = nn.functional.interpolate(pixels.float().view(-1, 1, 8, 8) / 16, (24, 24), mode="bilinear")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:1400], order[1400:]
    torch.manual_seed(0)
    model = build(ModelConfig(name=name), (1, 24, 24), 10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for batch in [part for _ in range(epochs) for part in train.split(50)]:
        target = nn.functional.one_hot(labels[batch], 10)
        loss = ((rates(model, images[batch]) - target) ** 2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = (rates(model, images[test]).argmax(1) == labels[test]).float().mean()
    assert accuracy > 0.8


def rates(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    functional.reset_net(model)
    output: torch.Tensor = model(images.expand(4, *images.shape)).mean(0)
    return output


def test_anns_need_no_spikingjelly() -> None:
    code = (
        "import sys; sys.modules['spikingjelly'] = None\n"
        "import torch; from snnprune.config.schema import ModelConfig; from snnprune.nn.models import build\n"
        "from snnprune.network import firing\n"
        f"for name in {ANNS}:\n"
        "    model = build(ModelConfig(name=name, hidden=8), (1, 32, 32), 3)\n"
        "    firing.check(model, torch.rand(2, 1, 40, 40)[..., :32, :32])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("activation", ["relu", "gelu", "sigmoid"])
def test_a_network_without_time_has_the_activation_asked_for(activation: str) -> None:
    model = build(ModelConfig(name="mlp-ann", hidden=5, activation=activation), (1, 4, 4), 3)  # type: ignore[arg-type]
    assert [name for name, _ in model.named_children()] == ["flatten", "fc1", f"fc1_{activation}", "out"]


def test_a_spiking_network_has_no_activation() -> None:
    with pytest.raises(UserError, match=r"sigmoid is for networks without time, and model 'mlp-snn' spikes"):
        build(ModelConfig(name="mlp-snn", activation="sigmoid"), (1, 4, 4), 3)


@pytest.mark.parametrize("name", ["mlp-ann", "conv-snn"])
def test_dropout_leaves_hidden_units_out_while_training_and_hides_none_from_pruning(name: str) -> None:
    model = build(ModelConfig(name=name, hidden=400, dropout=0.5), (1, 8, 8), 3)
    x = torch.rand(2, 3, 1, 8, 8) if model.spiking else torch.rand(3, 1, 8, 8)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    model.fc1_dropout.register_forward_hook(lambda _, args, output: seen.append((args[0], output)))
    for training in (True, False):
        model.train(training)(x)
        functional.reset_net(model)
    (before, after), (same_before, same_after) = seen
    assert 0.35 < (after[before != 0] == 0).float().mean() < 0.65
    assert torch.equal(same_before, same_after)
    assert "fc1" in {population.name for population in discover(model.train(), x).free()}


@pytest.mark.parametrize("activation", ["gelu", "sigmoid"])
def test_dpap_takes_the_outputs_of_any_activation_for_traces(activation: str) -> None:
    model = build(ModelConfig(name="mlp-ann", hidden=40, activation=activation), (1, 6, 6), 3)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    x, y = torch.rand(30, 1, 6, 6), torch.arange(30) % 3
    with Pruner(model, x, "dpap", epochs=12, target=0.5) as pruner:
        for _ in range(12):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            pruner.step(optimizer)
            pruner.end_epoch()
        masked = model.eval()(x).detach()
        small = pruner.compact(optimizer)
        assert pruner.rates().synapses == pytest.approx(0.5, abs=0.02)
    assert small.fc1.out_features < 40
    torch.testing.assert_close(small(x), masked, rtol=0, atol=1e-5)
