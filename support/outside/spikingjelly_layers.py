"""SpikingJelly's layers and containers between layers that are understood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import layer, neuron, rnn
from torch import Tensor, nn

from support.outside.parts import IMAGE, ROWS, Steps, Taken, named
from support.outside.trial import SAMPLES, STEPS, Trial

if TYPE_CHECKING:
    from collections.abc import Callable

SERIES = (STEPS, SAMPLES, *ROWS)
FRAMES = (STEPS, SAMPLES, *IMAGE)


def lif(mode: str = "m") -> nn.Module:
    return neuron.LIFNode(v_threshold=0.3, step_mode=mode)


def conv(a: int, b: int, **options: Any) -> nn.Module:
    return layer.Conv2d(a, b, 3, padding=1, step_mode="m", **options)


def among(*middle: Callable[[], nn.Module], out: int = 8) -> Callable[[], nn.Module]:
    """Return a builder of two convolutions with layers between them; the last reads ``out`` channels."""
    return lambda: nn.Sequential(
        conv(2, 8), lif(), *(make() for make in middle), conv(out, 6), lif(),
        layer.AdaptiveAvgPool2d(1, step_mode="m"), nn.Flatten(2), nn.Linear(6, 4),
    )  # fmt: skip


def between(*middle: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return a builder of linear layers with layers between them that read and write 16 values."""
    return lambda: nn.Sequential(
        nn.Linear(20, 16), *(make() for make in middle), nn.Linear(16, 12), lif(), nn.Linear(12, 3)
    )


def kind(name: str, *given: Any, **options: Any) -> Callable[[], nn.Module]:
    """Return a builder of a layer in multi-step mode."""
    return lambda: getattr(layer, name)(*given, **{"step_mode": "m", **options})  # type: ignore[no-any-return]


def always(name: str, *given: Any) -> Callable[[], nn.Module]:
    """Return a builder of a layer that knows multi-step mode alone."""
    return lambda: getattr(layer, name)(*given)  # type: ignore[no-any-return]


def normed(norm: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(
        conv(2, 8, bias=False), norm(), lif(), conv(8, 6), lif(), nn.Flatten(2), nn.Linear(216, 3)
    )


class Attending(nn.Module):
    """Attention over places between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lif, self.out = conv(2, 8), lif(), nn.Linear(8, 3)
        self.attention = layer.SpikingSelfAttention(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.attention(self.lif(self.conv(x)).flatten(3)).mean(-1))
        return out


def contained() -> nn.Module:
    return nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8)), lif(),
        layer.SeqToANNContainer(nn.Conv2d(8, 6, 3)), lif(), nn.Flatten(2), nn.Linear(96, 3),
    )  # fmt: skip


def stepped() -> nn.Module:
    return layer.MultiStepContainer(
        nn.Conv2d(2, 8, 3, padding=1), lif("s"), nn.Conv2d(8, 6, 3), lif("s"), nn.Flatten(), nn.Linear(96, 3)
    )


def last() -> nn.Module:
    return layer.TLastMultiStepContainer(
        nn.Linear(20, 16), lif("s"), nn.Linear(16, 12), lif("s"), nn.Linear(12, 3)
    )


def modes() -> nn.Module:
    return nn.Sequential(
        layer.StepModeContainer(False, "m", nn.Conv2d(2, 8, 3, padding=1)), lif(),
        layer.StepModeContainer(True, "m", nn.Conv2d(8, 6, 3), lif("s")), nn.Flatten(2), nn.Linear(96, 3),
    )  # fmt: skip


def neu() -> nn.Module:
    return Steps(
        nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1), lif("s"), layer.NeuNorm(8, 6, 6), nn.Conv2d(8, 6, 3), lif("s"),
            nn.Flatten(), nn.Linear(96, 3),
        )
    )  # fmt: skip


def voting(inside: bool) -> Callable[[], nn.Module]:
    votes = kind("VotingLayer", 5)
    return lambda: nn.Sequential(
        nn.Linear(20, 20),
        lif(),
        *((votes(), nn.Linear(4, 3)) if inside else (nn.Linear(20, 20), lif(), votes())),
    )


def fed_back() -> nn.Module:
    return layer.LinearRecurrentContainer(lif("s"), 16, 16, step_mode="m")


def added() -> nn.Module:
    return layer.ElementWiseRecurrentContainer(lif("s"), torch.add, step_mode="m")


def fed_back_in() -> nn.Module:
    inside = nn.Sequential(nn.Linear(16, 16), lif("s"))
    return layer.LinearRecurrentContainer(inside, 16, 16, step_mode="m")


_NO_NEURON = "no neuron module reads"
_GROUPS = {"0": "2 is a grouped convolution", "2": "2 is a grouped convolution"}
_OWN_WAY = "computes its weight or its output in its own way"
TRIALS = named(
    (
        *(
            Trial(name, among(*middle), FRAMES, ("0", str(2 + len(middle))))
            for name, middle in {
                "SynapseFilter": (kind("SynapseFilter", tau=2.0),),
                "SynapseFilter, learnt": (kind("SynapseFilter", tau=2.0, learnable=True),),
                "Delay": (kind("Delay", 2),),
                "Dropout and Dropout2d": (kind("Dropout", 0.2), kind("Dropout2d", 0.2)),
                "MaxPool2d": (kind("MaxPool2d", 2),),
                "AvgPool2d": (kind("AvgPool2d", 2),),
                "AdaptiveAvgPool2d": (kind("AdaptiveAvgPool2d", 3),),
                "Upsample": (kind("Upsample", scale_factor=2),),
                "Upsample, bilinear": (kind("Upsample", scale_factor=2, mode="bilinear"),),
                "depthwise": (lambda: conv(8, 8, groups=8), lif),
                "depthwise, transposed": (kind("ConvTranspose2d", 8, 8, 2, stride=2, groups=8), lif),
            }.items()
        ),
        Trial("dilation", among(kind("Conv2d", 8, 8, 3, padding=2, dilation=2), lif), FRAMES,
              ("0", "2", "4")),
        Trial("groups", among(lambda: conv(8, 8, groups=2), lif), FRAMES, ("4",), _GROUPS),
        Trial("depthwise, two for each", among(lambda: conv(8, 16, groups=8), lif, out=16), FRAMES, ("4",),
              _GROUPS),
        Trial("ConvTranspose2d", among(kind("ConvTranspose2d", 8, 8, 2, stride=2), lif), FRAMES, ("0", "4"),
              {"2": "2 is a transposed convolution"}),
        Trial("ConvTranspose2d, two",
              among(kind("ConvTranspose2d", 8, 10, 2, stride=2), lif,
                    kind("ConvTranspose2d", 10, 8, 2, stride=2), lif),
              FRAMES, ("0", "6"), {"2": "2 is a transposed", "4": "4 is a transposed"}),
        Trial("WSConv2d", among(kind("WSConv2d", 8, 8, 3, padding=1), lif), FRAMES, ("4",),
              {"0": _OWN_WAY, "2": _OWN_WAY}, apart=("*.gain",)),
        Trial("WSLinear", between(lif, kind("WSLinear", 16, 16), lif), SERIES, ("4",),
              {"0": _OWN_WAY, "2": _OWN_WAY}, apart=("*.gain",)),
        Trial("DropConnectLinear", between(lif, kind("DropConnectLinear", 16, 16), lif), SERIES, ("4",),
              {"0": "control flow may depend on its values | it goes through linear()"}),
        Trial("TemporalWiseAttention", among(always("TemporalWiseAttention", STEPS, 2)), FRAMES,
              ("2.sharedMLP.0", "3"), {"0": "pools over channels", "2.sharedMLP.2": "on different axes"}),
        Trial("MultiDimensionalAttention", among(always("MultiDimensionalAttention", STEPS, 8, 2, 2)), FRAMES,
              ("2.ta.sharedMLP.0", "2.ca.sharedMLP.0", "3"),
              {"0": "pools over channels", "2.ta.sharedMLP.2": "on different axes",
               "2.ca.sharedMLP.2": "unknown origin", "2.sa.conv": "unknown origin"}),
        Trial("SpikingSelfAttention", Attending, FRAMES,
              ("conv", "attention.qkv_conv_bn.0.heads", "attention.qkv_conv_bn.0.channels",
               "attention.proj_conv_bn.0")),
        Trial("SpikeCountToBinary", among(always("SpikeCountToBinary", 2)), FRAMES, ("3",),
              {"0": "through lt()"}),
        *(
            Trial(name, normed(make), FRAMES, ("0", "3"), apart=("*.scale", "*.p"))
            for name, make in {
                "BatchNorm2d": kind("BatchNorm2d", 8),
                "ThresholdDependentBatchNorm2d": always("ThresholdDependentBatchNorm2d", 1.0, 0.3, 8),
                "TemporalEffectiveBatchNorm2d": always("TemporalEffectiveBatchNorm2d", STEPS, 8),
                "BatchNormThroughTime2d": kind("BatchNormThroughTime2d", STEPS, 8),
            }.items()
        ),
        Trial("GroupNorm", normed(kind("GroupNorm", 2, 8)), FRAMES, ("3",), {"0": "group_norm() mixes"}),
        Trial("NeuNorm", neu, FRAMES, ("net.3",), {"net.0": "indexed"}, series="loop", apart=("net.2.w",)),
        Trial("VotingLayer at the end", voting(inside=False), SERIES, ("0",)),
        Trial("VotingLayer inside", voting(inside=True), SERIES, (), {"0": "pools over channels"}),
        Trial("SeqToANNContainer", contained, FRAMES, ("0.0", "2.0")),
        Trial("MultiStepContainer", stepped, FRAMES, ("0", "2"), series="loop"),
        Trial("TLastMultiStepContainer", last, (SAMPLES, *ROWS, STEPS), ("0", "2"), series="loop"),
        Trial("StepModeContainer", modes, FRAMES, ("0.0", "2.0")),
        Trial("ElementWiseRecurrentContainer", between(added), SERIES, ("0", "2")),
        Trial("LinearRecurrentContainer", between(fed_back), SERIES, ("1.rc", "2"), {"0": _NO_NEURON}),
        Trial("LinearRecurrentContainer around a layer", between(lif, fed_back_in), SERIES,
              ("0", "2.sub_module.0", "3"), {"2.rc": _NO_NEURON}),
        Trial("SpikingLSTM", between(lif, lambda: Taken(rnn.SpikingLSTM(16, 16, 1))), SERIES,
              ("0", "2.module.cells.0.linear_ih", "3")),
    )
)  # fmt: skip
