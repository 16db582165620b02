"""The networks that people have, narrowed: SpikingJelly's, torchvision's, and what neither of them ships."""

from __future__ import annotations

import copy
import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from snnprune.config.schema import ModelConfig
from snnprune.network.firing import most_active
from snnprune.network.leaves import leaf_kind
from snnprune.nn import models
from snnprune.nn.recurrent import Recurrent
from snnprune.pruning import Masks
from support.attention import transformer
from support.networks import ResidualSNN, conv_ann, conv_snn, lif

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnprune.network import Topology

WIDE = 64
STEPS = 3
"""Time steps of the tests."""

SHARE = 0.1
"""Active outputs of a layer that fires; half of them may be dead."""

_ATTEMPTS = 400
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_NORMS = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True)
class Family:
    """A network, how it is run, and what should be found in it.

    Attributes:
        name: of the family.
        build: makes the network.
        shape: of one sample at one time step.
        free: number of populations that may be cut.
        modes: step modes that it has: "m", "s", both; "" for a network without time.
        neurons: classes that discovery has to be told of.
        frozen: words of the reasons of what is frozen, by population, beside the output.
        rate: of learning. Many norms over few samples make rounding errors grow with every large step.
        slow: modes whose tests are left out of the daily suite: a wide network of a kind that is in it.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    free: int
    modes: str = "ms"
    neurons: tuple[type[nn.Module], ...] = ()
    frozen: tuple[tuple[str, str], ...] = ()
    rate: float = 1e-3
    slow: str = ""

    def network(self, mode: str = "", seed: int = 0) -> nn.Module:
        """Return a network in step mode ``mode``, whose layers all fire."""
        return copy.deepcopy(_network(self, mode, seed))

    def newborn(self, mode: str = "", seed: int = 0) -> nn.Module:
        """Return a network in step mode ``mode`` as its builder makes it."""
        return copy.deepcopy(_newborn(self, mode, seed))

    def example(self, mode: str = "", steps: int = 3, batch: int = 2) -> Tensor:
        """Return an input: [T, B, ...] in multi-step mode, [B, ...] otherwise."""
        generator = torch.Generator().manual_seed(steps + batch)
        leading = (steps, batch) if mode == "m" else (batch,)
        return torch.rand(*leading, *self.shape, generator=generator) * 2

    def enliven(self, net: nn.Module, mode: str = "") -> None:
        """Let every layer of ``net`` fire, whatever is dead in it: see `enliven`."""
        enliven(net, self.example(mode, batch=4), STEPS if mode == "s" else 1, self.neurons)


@functools.cache
def _newborn(family: Family, mode: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = family.build()
    if "s" in family.modes:  # those of one mode bring it along
        functional.set_step_mode(net, mode)
    return net


@functools.cache
def _network(family: Family, mode: str, seed: int) -> nn.Module:
    net = family.newborn(mode, seed)
    family.enliven(net, mode)
    return net


def half_dead(net: nn.Module, topology: Topology) -> Masks:
    """Let half of every free population die, drawn by lot."""
    masks = Masks(net, topology)
    for number, population in enumerate(topology.free()):
        generator = torch.Generator().manual_seed(number)
        alive = torch.zeros(population.size, dtype=torch.bool)
        alive[torch.randperm(population.size, generator=generator)[: (population.size + 1) // 2]] = True
        masks.keep_units(population, alive)
    masks.refresh()
    masks.apply()
    return masks


def enliven(net: nn.Module, x: Tensor, calls: int, neurons: tuple[type[nn.Module], ...]) -> None:
    """Let every layer of neurons fire on ``x``, in training mode and with the norms' running statistics.

    In the order of the forward, what feeds a neuron (norms where there are any, else layers) gets a larger
    gain, and a shift upwards, until `SHARE` of the neuron's outputs are active. Channels of
    weight zero are dead, and stay so.

    Raises:
        AssertionError: a layer stays silent.
    """
    norms = [(m, m.momentum) for m in net.modules() if isinstance(m, _NORMS)]
    for norm, _ in norms:
        norm.momentum = 1.0
    for _ in range(_ATTEMPTS):
        faint = next((fed for fed, share in _activity(net, x, calls, neurons) if share < SHARE), None)
        if faint is None:
            break
        for module in [m for m in faint if isinstance(m, _NORMS)] or faint:
            _push(module)
    else:
        raise AssertionError(f"what {faint} feed stays silent")
    for norm, momentum in norms:
        norm.momentum = momentum


def _activity(
    net: nn.Module, x: Tensor, calls: int, neurons: tuple[type[nn.Module], ...]
) -> list[tuple[list[nn.Module], float]]:
    """Return, neuron by neuron, the layers and norms that feed it, and the share of its active outputs."""
    owners = {p: m for m in net.modules() if isinstance(m, (*_LAYERS, *_NORMS)) for p in m.parameters()}
    fed: dict[nn.Module, list[nn.Module]] = {}
    counts: dict[nn.Module, list[int]] = {}
    known: set[nn.Module] = set()

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        outputs = output if isinstance(output, tuple) else (output,)
        if module not in fed:
            sources = [owners[p] for p in _parameters_behind(args[0]) if p in owners]
            fresh = [m for m in dict.fromkeys(sources) if m not in known]
            fed[module] = fresh or sources or list(fed.values())[-1]  # attention is fed by spikes alone
            known.update(sources)
        active, size = counts.get(module, [0, 0])
        most = most_active(module, outputs[0])
        counts[module] = [active + int(outputs[0].count_nonzero()), size + most]
        cut = tuple(o.detach().requires_grad_() for o in outputs)  # the next neuron is fed by what follows
        return cut if isinstance(output, tuple) else cut[0]

    found = [m for m in net.modules() if leaf_kind(m, neurons) == "neuron"]
    handles = [m.register_forward_hook(hook) for m in found]
    functional.reset_net(net.train())
    for _ in range(calls):
        net(x)
    functional.reset_net(net)
    for handle in handles:
        handle.remove()
    return [(fed[m], active / size) for m, (active, size) in counts.items()]


def _parameters_behind(tensor: Tensor) -> list[nn.Parameter]:
    """Return the parameters that ``tensor`` was computed of."""
    found, seen, waiting = [], set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            found += [node.variable] if hasattr(node, "variable") else []
            waiting += [next_ for next_, _ in node.next_functions]
    return found


@torch.no_grad()
def _push(module: Any) -> None:
    """Widen what ``module`` says, and shift it up by a share of its spread; zeros stay zeros."""
    spread = module.weight.flatten(1).norm(dim=1) if module.weight.ndim > 1 else module.weight.abs()
    module.weight.mul_(1.2)
    if module.bias is not None and len(module.bias) == len(spread):
        module.bias.mul_(1.2).add_(0.15 * spread)


def narrowed(net: nn.Module, by: int = 8) -> nn.Module:
    """Divide every width that is a multiple of 64: hidden ones, not input channels or classes."""

    def narrow(width: int) -> int:
        return width // by if width % WIDE == 0 else width

    for module in net.modules():
        for attribute in (
            "in_channels",
            "out_channels",
            "in_features",
            "out_features",
            "num_features",
            "groups",
        ):
            if isinstance(getattr(module, attribute, None), int):
                setattr(module, attribute, narrow(getattr(module, attribute)))
        for kind in (module._parameters, module._buffers):
            for name, tensor in kind.items():
                if tensor is not None and tensor.ndim and isinstance(module, (*_LAYERS, *_NORMS)):
                    cut = tensor.detach()[tuple(slice(narrow(n)) for n in tensor.shape[:2])].clone()
                    kind[name] = nn.Parameter(cut) if kind is module._parameters else cut
    return net


def from_library(module: str, name: str, **arguments: Any) -> Callable[[], nn.Module]:
    """Return a builder of a network of another library; the test skips where that cannot be imported."""

    def build() -> nn.Module:
        try:
            library = importlib.import_module(module)
        except (ImportError, OSError, RuntimeError) as why:
            pytest.skip(f"{module} cannot be imported: {why}")
        return narrowed(getattr(library, name)(**arguments))

    return build


def spiking(module: str, name: str, node: type[nn.Module] = neuron.LIFNode, **arguments: Any) -> Any:
    """Return a builder of one of SpikingJelly's networks."""
    place = f"spikingjelly.activation_based.model.{module}"
    return from_library(
        place, name, spiking_neuron=node, surrogate_function=surrogate.ATan(), detach_reset=True, **arguments
    )


def torchvision(name: str) -> Any:
    """Return a builder of one of torchvision's networks."""
    return from_library("torchvision.models", name, num_classes=10)


def paper(name: str, shape: tuple[int, int, int]) -> Any:
    """Return a builder of one of the papers' networks."""
    return lambda: narrowed(models.build(ModelConfig(name, hidden=64), shape, 10))


def competing() -> nn.Module:
    """Units that compete, with thresholds apart and a readout that was set."""
    net = models.build(ModelConfig("wta-snn", hidden=16, membrane=2.0), (2, 6, 6), 4)
    nn.init.normal_(net.get_submodule("out").weight)
    nn.init.uniform_(net.get_submodule("fc1_wta").theta)
    return net


def boltzmann() -> nn.Module:
    """A spiking Boltzmann machine whose hidden neurons fire."""
    net = models.build(ModelConfig("rbm-snn", hidden=16, membrane=2.0), (2, 6, 6), 4)
    nn.init.normal_(net.get_submodule("fc1").weight, std=0.3)
    return net


# --- networks of the tests' own


class Loop(nn.Module):
    """A single-step network run over time by itself, read out by the mean."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.net(step) for step in x]).mean(0)


def folded() -> nn.Module:
    """Stateless parts in SeqToANNContainer, as older SpikingJelly code is written."""
    return nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)),
        neuron.IFNode(step_mode="m"),
        layer.SeqToANNContainer(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8)),
        neuron.IFNode(step_mode="m"),
        layer.SeqToANNContainer(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)),
        neuron.IFNode(step_mode="m"),
    )


class Branches(nn.Module):
    """Two branches side by side on the channel axis, a norm and a neuron over both, flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.left_lif = layer.Conv2d(2, 4, 3, padding=1), lif()
        self.right, self.right_bn = layer.Conv2d(2, 6, 1), layer.BatchNorm2d(6)
        self.bn, self.lif = layer.BatchNorm2d(10), lif()
        self.pool, self.flatten, self.out = layer.AvgPool2d(4), layer.Flatten(), layer.Linear(40, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.left_lif(self.left(x)), self.right_bn(self.right(x))], -3)
        return self.out(self.flatten(self.pool(self.lif(self.bn(both)))))


def depthwise() -> nn.Module:
    """A convolution, a depthwise one with its own norm and neuron, a pointwise one."""
    return nn.Sequential(
        layer.Conv2d(2, 8, 3, padding=1, bias=False), layer.BatchNorm2d(8), lif(),
        layer.Conv2d(8, 8, 3, padding=1, groups=8), layer.BatchNorm2d(8), lif(),
        layer.Conv2d(8, 12, 1), layer.BatchNorm2d(12), lif(),
        layer.AdaptiveAvgPool2d(1), layer.Flatten(), layer.Linear(12, 4), lif(),
    )  # fmt: skip


def grouped() -> nn.Module:
    """A grouped and a transposed convolution among plain ones."""
    return nn.Sequential(
        layer.Conv2d(2, 8, 3, padding=1), layer.BatchNorm2d(8), lif(),
        layer.Conv2d(8, 8, 3, padding=1), layer.BatchNorm2d(8), lif(),
        layer.Conv2d(8, 8, 3, padding=1, groups=2), layer.BatchNorm2d(8), lif(),
        layer.Conv2d(8, 6, 3, padding=1), layer.BatchNorm2d(6), lif(),
        layer.ConvTranspose2d(6, 5, 2, stride=2), layer.BatchNorm2d(5), lif(),
        layer.AdaptiveAvgPool2d(1), layer.Flatten(), layer.Linear(5, 4), lif(),
    )  # fmt: skip


def sequence() -> nn.Module:
    """One-dimensional convolutions with tdBN, plain linear layers on [T, B, N], BatchNorm1d and PLIF."""
    return nn.Sequential(
        layer.Conv1d(2, 6, 3, padding=1, step_mode="m"), layer.ThresholdDependentBatchNorm1d(1.0, 0.5, 6),
        neuron.ParametricLIFNode(step_mode="m"),
        layer.Conv1d(6, 8, 3, padding=1, step_mode="m"), layer.BatchNorm1d(8, step_mode="m"),
        neuron.ParametricLIFNode(step_mode="m"),
        nn.Flatten(2), nn.Linear(8 * 10, 12), layer.BatchNorm1d(12, step_mode="m"),
        neuron.ParametricLIFNode(step_mode="m"), nn.Linear(12, 4),
    )  # fmt: skip


class Leaky(nn.Module):
    """A neuron as snntorch has it: its state goes in and comes out beside the spikes."""

    def __init__(self, beta: float = 0.9) -> None:
        super().__init__()
        self.register_buffer("beta", torch.tensor(beta))
        self.spike = surrogate.ATan()

    def forward(self, x: Tensor, mem: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mem = x if mem is None else self.beta * mem + x
        spikes = self.spike(mem - 1.0)
        return spikes, mem - spikes.detach()


class Foreign(nn.Module):
    """As snntorch's tutorials write it: a loop over time, states by hand, both recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(12, 10), Leaky()
        self.fc2, self.lif2 = nn.Linear(10, 8), Leaky()
        self.fc3, self.lif3 = nn.Linear(8, 4), Leaky()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1 = mem2 = mem3 = None
        spikes, membranes = [], []
        for step in x:
            spk1, mem1 = self.lif1(self.fc1(step), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk3, mem3 = self.lif3(self.fc3(spk2), mem3)
            spikes.append(spk3)
            membranes.append(mem3)
        return torch.stack(spikes), torch.stack(membranes)


class Adaptive(nn.Module):
    """A user's own neuron: a threshold for each channel, and its state in an attribute."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.linspace(0.5, 1.0, channels).view(-1, 1, 1))
        self.spike = surrogate.ATan()
        self.reset()

    def reset(self) -> None:
        self.v: Tensor | float = 0.0

    reset_mem = reset

    def forward(self, x: Tensor) -> Tensor:
        v = 0.5 * self.v + x if isinstance(self.v, Tensor) and self.v.shape == x.shape else x
        spikes = self.spike(v - self.threshold)
        self.v = (v * (1 - spikes)).detach()
        return spikes


def own_neurons() -> nn.Module:
    """Channels with thresholds of their own."""
    return Loop(
        nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), Adaptive(6), nn.AvgPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), Adaptive(8), nn.AvgPool2d(2),
            nn.Flatten(), nn.Linear(72, 4),
        )
    )  # fmt: skip


def loop() -> nn.Module:
    return Loop(conv_snn("s", norm=True))


# --- recurrent


def recurrent() -> nn.Module:
    """Two layers that are wired to themselves, in series."""
    return nn.Sequential(
        layer.Linear(6, 10), Recurrent(node("s"), 10), layer.Linear(10, 8), Recurrent(node("s"), 8),
        layer.Linear(8, 4),
    )  # fmt: skip


class Twice(nn.Module):
    """A layer that is called in two places, and reads another population in each."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.shared, self.last, self.out = (
            layer.Linear(*n) for n in ((6, 8), (8, 8), (8, 10), (10, 4))
        )
        self.lif = nn.ModuleList(node("s") for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.lif[0](self.fc(x))
        x = self.lif[2](self.shared(self.lif[1](self.shared(x))))
        return self.out(self.lif[3](self.last(x)))


def node(step_mode: str = "m") -> nn.Module:
    return neuron.LIFNode(step_mode=step_mode, v_threshold=0.5, surrogate_function=surrogate.ATan())


def line(inside: int, outside: int) -> nn.Module:
    return layer.Linear(inside, outside, step_mode="m")


def linear_container() -> nn.Module:
    """SpikingJelly's containers with a linear layer: around neurons, and around a layer with neurons."""
    return nn.Sequential(
        line(6, 8), node(), layer.LinearRecurrentContainer(node("s"), 8, 8, step_mode="m"),
        layer.LinearRecurrentContainer(
            nn.Sequential(nn.Linear(8, 10), node("s")), 8, 10, bias=False, step_mode="m"
        ),
        line(10, 4),
    )  # fmt: skip


def elementwise_container() -> nn.Module:
    """SpikingJelly's container in which each neuron hears itself."""
    return nn.Sequential(
        line(6, 8), layer.ElementWiseRecurrentContainer(node("s"), torch.add, step_mode="m"), line(8, 4)
    )


class ByHand(nn.Module):
    """A loop over time with a bias and a norm; the recurrent layer is left out until there are spikes.

    Args:
        delay: after how many time steps spikes come back.
        neurons: makes the layer of neurons.
    """

    def __init__(self, delay: int = 1, neurons: Callable[[], nn.Module] = lambda: node("s")) -> None:
        super().__init__()
        self.fc, self.bn, self.neurons = nn.Linear(6, 10), nn.BatchNorm1d(10), neurons()
        self.back, self.out = nn.Linear(10, 10), nn.Linear(10, 4)
        self.delay = delay

    def forward(self, x: Tensor) -> Tensor:
        told: list[Tensor] = []
        for step in x:
            current = self.bn(self.fc(step))
            if len(told) >= self.delay:
                current = current + self.back(told[-self.delay])
            told.append(self.neurons(current))
        return torch.stack([self.out(spikes) for spikes in told])


class AcrossLayers(nn.Module):
    """The second layer speaks back to the first one: zeros, before it has spoken."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1, self.fc2, self.lif2 = nn.Linear(6, 10), node("s"), nn.Linear(10, 8), node("s")
        self.back, self.out = nn.Linear(8, 10, bias=False), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        second, outputs = x.new_zeros(x.shape[1], self.back.in_features), []
        for step in x:
            first = self.lif1(self.fc1(step) + self.back(second))
            second = self.lif2(self.fc2(first))
            outputs.append(self.out(second))
        return torch.stack(outputs)


_APART = "takes apart"
_LINEAR = "no neuron module reads"
_BOTTLENECKS = tuple(f"features.{n}.conv.{1 if n == 1 else 2}" for n in (1, 2, 4, 7, 11, 14, 17))
_IMAGE, _EVENTS = (3, 32, 32), (2, 128, 128)
_PLIF = neuron.ParametricLIFNode
_DIGITS = (2, 14, 14)
_FAMILIES = (
    *(Family(name, paper(name, _DIGITS), _DIGITS, n) for name, n in (("conv-snn", 3), ("mlp-snn", 1))),
    Family("wta-snn", competing, (2, 6, 6), 1),
    Family("rbm-snn", boltzmann, (2, 6, 6), 1),
    Family("vgg-snn", paper("vgg-snn", (3, 16, 16)), (3, 16, 16), 7),
    *(
        Family(name, paper(name, shape), shape, n, "")
        for name, shape, n in (
            ("conv-ann", _DIGITS, 3), ("mlp-ann", _DIGITS, 1), ("vgg-ann", (3, 16, 16), 7),
            ("lenet-ann", (1, 28, 28), 3), ("vgg16-ann", _IMAGE, 15),
        )
    ),
    Family("residual", ResidualSNN, (2, 8, 8), 3, "m"),
    Family("four layers", lambda: conv_snn(norm=True), (2, 12, 12), 3),
    Family(
        "spiking_vgg11_bn", spiking("spiking_vgg", "spiking_vgg11_bn", num_classes=10), _IMAGE, 10,
        rate=1e-4,  # at 1e-3 two orders of a batch are 4e-9 apart after 200 steps, at 1e-4 1e-14
        slow="s",
    ),
    *(
        Family(
            f"sew_resnet18 {f}", spiking("sew_resnet", "sew_resnet18", cnf=f, num_classes=10), _IMAGE, 12,
            slow=slow,
        )
        for f, slow in (("ADD", "s"), ("AND", "ms"), ("IAND", "s"))
    ),
    Family(
        "spiking_resnet18", spiking("spiking_resnet", "spiking_resnet18", num_classes=10), _IMAGE, 12,
        slow="s",
    ),
    Family("ms_resnet18", spiking("ms_resnet", "ms_resnet18", T=3, num_classes=10), _IMAGE, 13, "m"),
    Family("NMNISTNet", spiking("parametric_lif_net", "NMNISTNet", _PLIF), (2, 34, 34), 3),
    Family("DVSGestureNet", spiking("parametric_lif_net", "DVSGestureNet", _PLIF), _EVENTS, 6, slow="ms"),
    Family("CIFAR10DVSNet", spiking("parametric_lif_net", "CIFAR10DVSNet", _PLIF), _EVENTS, 5, slow="ms"),
    Family(
        "Spikformer",
        spiking(
            "spikformer", "Spikformer", T=3, img_size_h=16, img_size_w=16, patch_size=4,
            num_classes=10, embed_dims=32, num_heads=2, depths=2,
        ),
        (3, 16, 16), 10, "m",
    ),
    Family("attention", transformer, (5, 6), 6, "m"),
    Family("SeqToANNContainer", folded, (2, 12, 12), 2, "m"),
    Family("concatenation", Branches, (2, 8, 8), 2),
    Family("depthwise", depthwise, (2, 8, 8), 2),
    Family(
        "grouped, transposed", grouped, (2, 8, 8), 2,
        frozen=(("3", "6 is a grouped"), ("6", "6 is a grouped"), ("12", "12 is a transposed")),
    ),
    Family("Conv1d, tdBN, PLIF", sequence, (2, 10), 3, "m"),
    Family("a loop over time", loop, (2, 12, 12), 3, "m"),
    Family("snntorch's way", Foreign, (12,), 2, "m", (Leaky,)),
    Family("own neuron", own_neurons, (2, 12, 12), 2, "m", (Adaptive,)),
    Family(
        "called twice", Twice, (6,), 1, frozen=tuple((n, "wires it to itself") for n in ("fc", "shared"))
    ),
    Family("recurrent", recurrent, (6,), 2),
    Family(
        "LinearRecurrentContainer", linear_container, (6,), 3, "m", frozen=(("3.rc", _LINEAR),)
    ),
    Family("ElementWiseRecurrentContainer", elementwise_container, (6,), 1, "m"),
    Family("recurrent by hand", ByHand, (6,), 1, "m"),
    Family("recurrent across layers", AcrossLayers, (6,), 2, "m"),
    Family("recurrent, two steps later", lambda: ByHand(2), (6,), 1, "m"),
    Family("recurrent ANN", lambda: ByHand(1, nn.ReLU), (6,), 1, "m"),
    Family("plain ANN", conv_ann, (2, 12, 12), 3, ""),
    Family("torchvision resnet18", torchvision("resnet18"), _IMAGE, 12, "", rate=1e-4),
    Family("torchvision vgg16_bn", torchvision("vgg16_bn"), _IMAGE, 15, ""),
    Family(
        "torchvision mobilenet_v2", torchvision("mobilenet_v2"), _IMAGE, 18, "",
        frozen=tuple((name, _LINEAR) for name in _BOTTLENECKS),
        rate=2e-6,  # at 1e-3 its 52 norms make a rounding error ten times as large in each step
    ),
)  # fmt: skip
FAMILIES = {family.name: family for family in _FAMILIES}


def in_modes() -> list[Any]:
    """Return every family in each of its modes, as parameters of a test."""
    return [
        pytest.param(
            family, mode, id=f"{family.name}-{mode or 'no time'}",
            marks=[pytest.mark.slow] if mode and mode in family.slow else [],
        )
        for family in FAMILIES.values()
        for mode in family.modes or [""]
    ]  # fmt: skip
