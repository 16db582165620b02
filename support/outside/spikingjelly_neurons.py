"""SpikingJelly's neurons in small networks, each in multi-step mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import layer, neuron, surrogate
from torch import nn

from support.outside.parts import IMAGE, ROWS, Steps, mlp, named
from support.outside.trial import SAMPLES, STEPS, Series, Trial

if TYPE_CHECKING:
    from collections.abc import Callable

SERIES = (STEPS, SAMPLES, *ROWS)
FRAMES = (STEPS, SAMPLES, *IMAGE)
LOW: dict[str, Any] = {"v_threshold": 0.3, "step_mode": "m"}


def low(kind: str, *given: Any, **more: Any) -> Callable[[int], nn.Module]:
    """Return a builder of a neuron with a low threshold."""
    return lambda _: getattr(neuron, kind)(*given, **{**LOW, **more})  # type: ignore[no-any-return]


def plain(kind: str, *given: Any, **more: Any) -> Callable[[int], nn.Module]:
    return lambda _: getattr(neuron, kind)(*given, **more)  # type: ignore[no-any-return]


def wide(kind: str, name: str, **more: Any) -> Callable[[int], nn.Module]:
    """Return a builder of a neuron that is told how many units it has."""
    return lambda width: getattr(neuron, kind)(**{name: width}, **more)  # type: ignore[no-any-return]


def convolutions(make: Callable[[int], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(
        layer.Conv2d(2, 8, 3, padding=1, step_mode="m"), make(8),
        layer.Conv2d(8, 5, 3, padding=1, step_mode="m"), make(5), nn.Flatten(2), nn.Linear(180, 4),
    )  # fmt: skip


def each(width: int) -> nn.Module:
    threshold, offset = torch.full((width,), 0.3), torch.full((width,), 0.1)
    return neuron.ActivationAwareIFNode(threshold, offset, step_mode="m")


def current(_: int) -> nn.Module:
    made = neuron.CUBALIFNode(v_threshold=0.3)
    made.step_mode = "m"  # it takes none when it is made
    return made


def few(_: int) -> nn.Module:
    table = neuron.FewSpikeTable(*([0.5**n for n in range(STEPS)] for _ in range(3)))
    return neuron.FewSpikeNode(table, step_mode="m")


def readout(kind: str, decode: str | None) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(
        nn.Linear(20, 16), neuron.LIFNode(**LOW), nn.Linear(16, 4), getattr(neuron, kind)(decode=decode)
    )


def online(kind: str, sequential: type[nn.Module]) -> Callable[[], nn.Module]:
    """Return a builder of a network that is trained online, step by step."""
    return mlp(lambda _: getattr(neuron, kind)(v_threshold=0.3), lambda *parts: Steps(sequential(*parts)))


_POINTS: dict[str, Callable[[int], nn.Module]] = {
    "IFNode": low("IFNode"),
    "LIFNode": low("LIFNode"),
    "SimpleIFNode": low("SimpleIFNode"),
    "SimpleLIFNode": low("SimpleLIFNode", 2.0, True),
    "ParametricLIFNode": low("ParametricLIFNode"),
    "QIFNode": low("QIFNode", v_c=0.1),
    "EIFNode": low("EIFNode", theta_rh=0.2),
    "IzhikevichNode": low("IzhikevichNode", v_c=0.1),
    "LIAFNode": low("LIAFNode", nn.ReLU(), True),
    "LIAFNode, sigmoid": low("LIAFNode", torch.sigmoid, False),
    "KLIFNode": low("KLIFNode"),
    "CUBALIFNode": current,
    "ComplementaryLIFNode": low("ComplementaryLIFNode"),
    "HalfThresholdIFNode": low("HalfThresholdIFNode"),
    "ActivationAwareIFNode": low("ActivationAwareIFNode"),
    "ActivationAwareIFNode, values each": each,
    "TernaryIFNode": low("TernaryIFNode"),
    "TernaryLIFNode": low("TernaryLIFNode"),
    "RAFNode": low("RAFNode"),
    "ILIFNode": plain("ILIFNode", step_mode="m"),
    "DSRIFNode": plain("DSRIFNode", STEPS, 0.3),
    "DSRLIFNode": plain("DSRLIFNode", STEPS, 0.3),
    "FewSpikeNode": few,
    "SlidingPSN": plain("SlidingPSN", k=2, step_mode="m"),
    "PSN": plain("PSN", STEPS),
    "MaskedPSN": plain("MaskedPSN", 2, STEPS, step_mode="m"),
}
_MASKED = {"MaskedPSN": ("1.weight", "3.weight")}  # what is multiplied with is computed of them
_TRAINED = "tensors in training and 1 in evaluation"
_SHAPE = "changes the shape of its input"
_NORM = "holds a layer of its own (vbn)"
_ONLINE: tuple[tuple[str, str, type[nn.Module], tuple[str, ...], dict[str, str], Series], ...] = (
    ("SLTTLIFNode", "SLTTLIFNode", nn.Sequential, ("net.0", "net.2"), {}, "loop"),
    ("OTTTLIFNode", "OTTTLIFNode", layer.OTTTSequential, (), {"net.0": _TRAINED, "net.2": _TRAINED}, "loop"),
)
TRIALS = named(
    (
        *(
            Trial(name, mlp(make), SERIES, ("0", "2"), apart=("*.bias", *_MASKED.get(name, ())))
            for name, make in _POINTS.items()
        ),
        *(
            Trial(f"{name}, convolutions", convolutions(make), FRAMES, ("0", "2"),
                  apart=("*.bias", "*.conduct"))
            for name, make in {
                **{n: _POINTS[n] for n in ("LIFNode", "KLIFNode", "PSN", "SlidingPSN", "DSRLIFNode")},
                "GatedLIFNode": plain("GatedLIFNode", STEPS, step_mode="m"),
                "GatedLIFNode, values each": wide("GatedLIFNode", "inplane", T=STEPS, step_mode="m"),
            }.items()
        ),
        Trial("MPBNLIFNode", mlp(wide("MPBNLIFNode", "out_features", step_mode="m")), SERIES, (),
              {"0": _NORM, "2": _NORM}),
        Trial("ILCLIFNode", mlp(lambda width: neuron.ILCLIFNode(width // 4, 4)), SERIES, (),
              {"0": "holds a layer of its own (conn)", "2": "holds a layer of its own (conn)"}),
        Trial("NonSpikingLIFNode inside, mean", mlp(plain("NonSpikingLIFNode", decode="mean-mem")), SERIES,
              (), {"0": _SHAPE, "2": _SHAPE}),
        *(
            Trial(f"{kind} as the readout, {decode or 'a list'}", readout(kind, decode), SERIES, ("0",))
            for kind in ("NonSpikingIFNode", "NonSpikingLIFNode")
            for decode in (None, "max-mem", "max-abs-mem", "mean-mem", "last_mem")
        ),
        *(
            Trial(name, online(kind, sequential), SERIES, free, kept, series)
            for name, kind, sequential, free, kept, series in _ONLINE
        ),
        Trial("LIFNode, another surrogate",
              mlp(low("LIFNode", surrogate_function=surrogate.PiecewiseLeakyReLU())), SERIES, ("0", "2")),
    )
)  # fmt: skip
