"""A network on a grid is what its exported file says: a simulator in integers, which reads only that file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from safetensors import safe_open
from spikingjelly.activation_based import layer, neuron
from torch import nn

from snnprune.common.errors import UserError
from snnprune.export import connections
from snnprune.export.comparison import spiking_run
from snnprune.export.quantisation import quantise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS, SAMPLES = 8, 16


class Chip:
    """What a file of connections holds, and a plain loop over it in int64."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, framework="numpy") as file:
            self.about = json.loads(file.metadata()["network"])
            self.held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.one = 2 ** self.about["places"]
        self.ties = 0

    def weight(self, name: str) -> np.ndarray:
        """Return the dense weight in whole numbers."""
        shape, values = self.about["layers"][name]["shape"], self.held[f"{name}.weights"]
        if self.about["bits"] <= 4:
            halves = [n for byte in values.tolist() for n in (byte & 15, byte >> 4)]
            values = np.array([n - 16 if n > 7 else n for n in halves])
        if f"{name}.rows" not in self.held:
            return values[: int(np.prod(shape))].astype(np.int64).reshape(shape)
        rows, columns = (self.held[f"{name}.{part}"] for part in ("rows", "columns"))
        dense = np.zeros((shape[0], int(np.prod(shape[1:]))), dtype=np.int64)
        for unit in range(shape[0]):
            mine = slice(int(rows[unit]), int(rows[unit + 1]))
            dense[unit, columns[mine]] = values[mine]
        return dense.reshape(shape)

    def sums(self, name: str, x: np.ndarray) -> np.ndarray:
        """Return the currents of a layer, [T, B, units, ...], of inputs in units of 2^-16."""
        weight, about = self.weight(name), self.about["layers"][name]
        bias = self.held.get(f"{name}.biases", np.zeros(len(weight))).astype(np.int64) * self.one
        if weight.ndim == 2:
            return np.einsum("tbi,oi->tbo", x, weight) + bias
        pad, stride, groups = about["padding"][0], about["stride"][0], about["groups"]
        x = np.pad(x, [(0, 0)] * 3 + [(pad, pad)] * 2)
        seen = sliding_window_view(x, weight.shape[2:], (3, 4))[:, :, :, ::stride, ::stride]
        parts = zip(np.split(seen, groups, 2), np.split(weight, groups), strict=True)
        return np.concatenate([np.einsum("tbchwij,ocij->tbohw", *p) for p in parts], 2) + bias[:, None, None]

    def fire(self, name: str, currents: np.ndarray) -> np.ndarray:
        """Return the spikes of neurons, [T, B, units, ...]."""
        units = (-1, *(1 for _ in currents.shape[3:]))
        threshold = self.held[f"{name}.thresholds"].astype(np.int64).reshape(units) * self.one
        soft = f"{name}.resets" not in self.held
        rest = 0 if soft else self.held[f"{name}.resets"].astype(np.int64).reshape(units) * self.one
        v, spikes = np.zeros_like(currents[0]) + rest, []
        for current in currents:
            h = rest + (self.about["leaks"][name] * (v - rest)) // 2 ** self.about["bits"] + current
            self.ties += int((h == threshold).sum())
            y = (h >= threshold).astype(np.int64)
            v = h - y * threshold if soft else np.where(y > 0, rest, h)
            spikes.append(y)
        return np.stack(spikes)

    def run(self, model: nn.Sequential, frames: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the answers and the spikes of each layer; ``model`` says only what stands between layers."""
        x, spikes = (frames * self.one).astype(np.int64), {}
        for name, module in model.named_children():
            if name in self.about["layers"]:
                x = self.sums(name, x)
                if self.about["layers"][name]["neurons"] is None:
                    return x * (self.held[f"{name}.steps"].astype(np.float64) / self.one), spikes
            elif name in self.about["leaks"]:
                spikes[name] = self.fire(name, x)
                x = spikes[name] * self.one
            elif isinstance(module, nn.Flatten):
                x = x.reshape(*x.shape[:2], -1)
            else:
                size = module.kernel_size
                window = sliding_window_view(x, (size, size), (3, 4))[:, :, :, ::size, ::size]
                mean = isinstance(module, nn.AvgPool2d)
                x = nearest(window.sum((-1, -2)), size**2) if mean else window.max((-1, -2))
        return x / self.one, spikes


def nearest(n: np.ndarray, over: int) -> np.ndarray:
    """Return n / over, rounded to the nearest whole number, ties to even."""
    quotient, rest = n // over, n % over
    return quotient + ((2 * rest > over) | ((2 * rest == over) & (quotient % 2 == 1)))


NEURONS: dict[str, Callable[[], nn.Module]] = {
    f"{kind} {'hard' if reset is not None else 'soft'} {reset} {decay}": made
    for reset in (-0.25, None)
    for decay in (True, False)
    for kind, made in {
        "LIF": lambda reset=reset, decay=decay: neuron.LIFNode(
            2.0, decay, v_threshold=0.5, v_reset=reset, step_mode="m"
        ),
        "PLIF": lambda reset=reset, decay=decay: neuron.ParametricLIFNode(
            2.0, decay, v_threshold=0.5, v_reset=reset, step_mode="m"
        ),
        "IF": lambda reset=reset: neuron.IFNode(v_threshold=1.0, v_reset=reset, step_mode="m"),
    }.items()
    if kind != "IF" or decay
}


def linear(bias: bool, make: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(2), nn.Linear(32, 12, bias), make(), nn.Linear(12, 9, bias), make(), nn.Linear(9, 4, bias)
    )


def convolutions(pool: Callable[[], nn.Module]) -> Callable[[bool, Callable[[], nn.Module]], nn.Sequential]:
    def built(bias: bool, make: Callable[[], nn.Module]) -> nn.Sequential:
        return nn.Sequential(
            layer.Conv2d(2, 6, 3, padding=1, bias=bias, step_mode="m"), make(), pool(),
            layer.Conv2d(6, 6, 3, padding=1, stride=2, groups=2, bias=bias, step_mode="m"), make(),
            nn.Flatten(2), nn.LazyLinear(5, bias), make(),
        )  # fmt: skip

    return built


def pooled_currents(bias: bool, make: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1, bias=bias, step_mode="m"), layer.AvgPool2d(3, step_mode="m"), make(),
        nn.Flatten(2), nn.LazyLinear(4, bias), make(),
    )  # fmt: skip


NETWORKS = {
    "linear": linear,
    "average pool": convolutions(lambda: layer.AvgPool2d(2, step_mode="m")),
    "pool of nine": convolutions(lambda: layer.AvgPool2d(3, stride=3, step_mode="m")),
    "maximum pool": convolutions(lambda: layer.MaxPool2d(2, step_mode="m")),
    "pooled currents": pooled_currents,
}


def network(kind: str, make: Callable[[], nn.Module], bias: bool, bits: int) -> nn.Sequential:
    """Return a network whose weights are few quarters, so that potentials often equal thresholds."""
    model = NETWORKS[kind](bias, make)
    model(torch.zeros(1, 1, 2, 4, 4))
    coin, most = torch.Generator().manual_seed(bits), 2 ** (bits - 1) - 1
    with torch.no_grad():
        for module in model:
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                weight = torch.randint(-3, 4, module.weight.shape, generator=coin).clamp(-most, most)
                weight.flatten(1)[:, 0] = most  # a step is a quarter, and these read what is silent:
                weight[::3] = -most
                module.weight.copy_(weight / 4)
                if bias:
                    module.bias.copy_(torch.randint(-1, 2, module.bias.shape, generator=coin) / 4)
    return model


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("make", NEURONS.values(), ids=NEURONS)
def test_every_spike_is_what_the_file_says(make: Callable[[], nn.Module], kind: str, tmp_path: Path) -> None:
    number = list(NEURONS.values()).index(make) + list(NETWORKS).index(kind)
    bits, bias = (3, 8, 4, 12)[number % 4], number % 3 > 0
    model = network(kind, make, bias, bits)
    assert agree(model, bits, tmp_path) > 0 or kind == "pooled currents", "ties are what floats get wrong"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["linear", "average pool", "maximum pool"])
def test_every_spike_of_any_weights(kind: str, seed: int, tmp_path: Path) -> None:
    """Steps of 4 bits are no powers of 2 here: in floats a potential may miss the threshold that it meets."""
    torch.manual_seed(seed)
    model = network(kind, lambda: neuron.IFNode(v_threshold=0.5, v_reset=None, step_mode="m"), True, 4)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    assert agree(model, 4, tmp_path) > 0


def agree(model: nn.Sequential, bits: int, folder: Path) -> int:
    """Hold a network on a grid to its file; return how many potentials were exactly on the threshold."""
    frames = torch.randint(0, 3, (STEPS, SAMPLES, 2, 4, 4), generator=torch.Generator().manual_seed(1)) / 2
    frames[..., 0, :3, :3] = 0.0
    grid = quantise(model, frames[:, :1], bits)
    connections.write(grid, folder / "net.safetensors")
    chip = Chip(folder / "net.safetensors")
    answers, spikes = chip.run(model, frames.numpy().astype(np.float64))
    mine, fired = spiking_run(grid.model, grid.neurons)(frames)
    assert fired.keys() == spikes.keys()
    for name, theirs in spikes.items():
        assert np.array_equal(fired[name].numpy(), theirs), name
    assert np.array_equal(mine.numpy(), answers)
    assert any(s.any() and not s.all() for s in spikes.values())
    return chip.ties


# --- numbers that do not fit


def one_layer(weight: list[float], bias: float | None, **constants: Any) -> nn.Sequential:
    """A unit with ``weight`` and ``bias``, and beside it one with weights of 1."""
    model = nn.Sequential(
        nn.Linear(2, 2, bias is not None), neuron.LIFNode(2.0, False, step_mode="m", **constants)
    )
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([weight, [1.0, 1.0]]))
        if bias is not None:
            model[0].bias.copy_(torch.tensor([bias, 0.0]))
    return model


ODD = {
    "zero": [0.0, 0.0], "tiny": [1e-12, -1e-13], "subnormal": [1e-42, 0.0], "huge": [1e30, 1e30],
    "huge and negative": [-1e30, -1e30], "dominated": [1e9, 1e-3],
}  # fmt: skip
CONSTANTS = {
    "plain": {"v_threshold": 0.5, "v_reset": 0.0},
    "soft": {"v_threshold": 0.5, "v_reset": None},
    "close": {"v_threshold": 0.5, "v_reset": 0.4999},
    "below": {"v_threshold": -0.5, "v_reset": -0.5001},
    "tiny": {"v_threshold": 1e-30, "v_reset": 0.0},
    "fires at rest": {"v_threshold": 0.0, "v_reset": 0.0},
    "fires at rest, negative": {"v_threshold": -0.5, "v_reset": None},
    "huge": {"v_threshold": 1e20, "v_reset": 0.0},
}


@pytest.mark.parametrize("bits", [2, 8, 16])
@pytest.mark.parametrize("constants", CONSTANTS)
def test_a_unit_fires_as_in_floats_whatever_its_weights(constants: str, bits: int) -> None:
    """What is silent stays so, and so does what always fires; inputs of 0 and of ones are shown."""
    units = [(w, b) for n, w in ODD.items() for b in ((0.0,) if "hu" in n or "do" in n else (0.0, 0.2, -1e6))]
    model = nn.Sequential(
        nn.Linear(2, len(units)), neuron.LIFNode(2.0, False, step_mode="m", **CONSTANTS[constants])
    ).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([w for w, _ in units]))
        model[0].bias.copy_(torch.tensor([b for _, b in units]))
    for frames in (torch.zeros(4, 1, 2), torch.ones(4, 1, 2)):
        grid = quantise(model, frames, bits)
        mine, other = spiking_run(model)(frames.double()), spiking_run(grid.model, ["1"])(frames)
        for unit, (one, two) in enumerate(
            zip(*(run[1]["1"].mean((0, 1)) for run in (mine, other)), strict=True)
        ):
            assert float(one) not in (0.0, 1.0) or one == two, units[unit]
        assert grid.neurons["1"].thresholds.abs().max() <= 2**30
        assert grid.layers["0"].weights.abs().max() <= 2 ** (bits - 1) - 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e300])
@pytest.mark.parametrize("where", ["weight", "bias", "v_threshold", "v_reset"])
def test_what_is_no_number_is_refused(where: str, bad: float) -> None:
    constants = {"v_threshold": 0.5, "v_reset": 0.0} | ({where: bad} if where.startswith("v_") else {})
    model = one_layer([1.0, 0.5], 0.0, **constants).double()
    if where in ("weight", "bias"):
        model[0].get_parameter(where).data.view(-1)[0] = bad
    with pytest.raises(UserError, match="layer '0' cannot be put on a grid: a weight or bias of it, or a"):
        quantise(model, torch.rand(3, 1, 2), 8)


@pytest.mark.parametrize("frame", [float("nan"), float("inf"), 1e12])
def test_an_input_that_is_too_large_is_refused(frame: float) -> None:
    grid = quantise(one_layer([1.0, 0.5], 0.0), torch.rand(3, 1, 2), 16)
    with pytest.raises(UserError, match=r"layer '0' reads values of up to .* sums are not exact"):
        grid.model(torch.full((3, 1, 2), frame))


def test_potentials_that_could_overflow_are_refused() -> None:
    grid = quantise(one_layer([1.0, 0.5], 0.0), torch.rand(3, 1, 2), 16)
    with pytest.raises(UserError, match=r"neurons '1' read currents of up to .* potentials are not exact"):
        grid.model[1](torch.full((3, 1, 2), 2.0**53))


# --- networks that whole numbers cannot say


class Added(nn.Module):
    """Adds what ``make`` returns to the currents that the second layer of neurons reads."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.la = nn.Linear(4, 6), neuron.IFNode(v_threshold=0.1, step_mode="m")
        self.b, self.lb = nn.Linear(6, 6), neuron.IFNode(v_threshold=0.1, step_mode="m")
        self.c, self.lc = nn.Linear(6, 6), neuron.IFNode(v_threshold=0.1, step_mode="m")
        self.out, self.norm = nn.Linear(6, 2), nn.LayerNorm(6)
        self.gain = nn.Parameter(torch.ones(6) / 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = self.la(self.a(x))
        y = self.b(s)
        if self.kind == "spikes":
            y = y + s
        if self.kind == "a parameter":
            y = y * self.gain
        if self.kind == "a constant":
            y = y + 0.3
        if self.kind == "bent":
            y = torch.tanh(y)
        if self.kind == "a norm":
            y = self.norm(y)
        z = self.lb(y)
        if self.kind == "neurons alone":
            return self.out(self.lc(z))
        if self.kind == "neurons twice":
            return self.out(self.lb(self.c(z)))
        w = self.c(z)
        if self.kind == "another layer's currents":
            w = w + y
        return self.out(self.lc(w))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("spikes", "layer 'lb' reads more than sums and pools"),
        ("a constant", "layer 'lb' reads more than sums and pools"),
        ("bent", "layer 'lb' reads more than sums and pools"),
        ("another layer's currents", "layer '.*' "),
        ("a norm", "'norm' is a LayerNorm with parameters that the network computes with"),
        ("a parameter", "'gain' is a tensor that the network computes with, for which there is no grid"),
        ("neurons alone", "layer 'lc' does not read the units of one layer"),
        ("neurons twice", "layer 'lb' stands in several places"),
    ],
)
def test_what_has_no_steps_is_refused(kind: str, told: str) -> None:
    torch.manual_seed(0)
    model = Added(kind)
    with pytest.raises(UserError, match=told):
        quantise(model, torch.rand(3, 2, 4), 8)


def test_layers_that_are_not_called_do_not_matter() -> None:
    assert quantise(Added("nothing"), torch.rand(3, 2, 4), 8).neurons.keys() == {"la", "lb", "lc"}


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
            "layer '1' is a ReLU, which puts out no",
        ),
        (
            nn.Sequential(
                nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), neuron.IFNode(step_mode="m")
            ),
            "the weight of 0 is computed by a parametrisation",
        ),
        (
            nn.Sequential(layer.ConvTranspose2d(2, 3, 2, step_mode="m"), neuron.IFNode(step_mode="m")),
            "layer '0' is a ConvTranspose2d, and only convolutions",
        ),
        (
            nn.Sequential(nn.Conv1d(3, 5, 1), nn.Flatten(1), neuron.IFNode(step_mode="m"), nn.Linear(20, 2)),
            "layer '2' does not read the units of one layer",
        ),
    ],
)
def test_layers_that_have_no_grid_are_refused(model: nn.Module, told: str) -> None:
    shape = {"ConvTranspose2d": (3, 1, 2, 4, 4)}.get(type(model[0]).__name__, (3, 3, 4))
    with pytest.raises(UserError, match=told):
        quantise(model, torch.rand(shape), 8)
