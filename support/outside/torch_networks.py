"""Plain torch: layers of every kind between layers that are understood."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support.outside.parts import IMAGE, ROWS, named
from support.outside.trial import SAMPLES, STEPS, Trial

if TYPE_CHECKING:
    from collections.abc import Callable

FLAT = (SAMPLES, *ROWS)
WORDS = (SAMPLES, STEPS, *ROWS)
IMAGES = (SAMPLES, *IMAGE)


def among(*middle: Callable[[], nn.Module], out: int = 8) -> Callable[[], nn.Module]:
    """Return a builder of two convolutions with layers between them; the last reads ``out`` channels."""
    return lambda: nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), *(make() for make in middle),
        nn.Conv2d(out, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


class Between(nn.Module):
    """A layer between two linear ones; ``call`` calls it."""

    def __init__(self, middle: nn.Module, call: Callable[[Any, Tensor], Tensor], width: int = 16) -> None:
        super().__init__()
        self.fc1, self.act1, self.middle = nn.Linear(20, 16), nn.ReLU(), middle
        self.fc2, self.act2, self.out = nn.Linear(width, 10), nn.ReLU(), nn.Linear(10, 3)
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.act2(self.fc2(self.call(self.middle, self.act1(self.fc1(x))))))
        return out


class Own(nn.Module):
    """Holds a matrix and does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.rand(16, 16))


def called(middle: Any, x: Tensor) -> Any:
    return middle(x)


def first(middle: Any, x: Tensor) -> Any:
    return middle(x)[0]


def around(
    make: Callable[[], nn.Module], call: Callable[[Any, Tensor], Tensor] = called, width: int = 16
) -> Callable[[], nn.Module]:
    return lambda: Between(make(), call, width)


class Embedded(nn.Module):
    """Words that are looked up."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.words, self.fc, self.act, self.out = kind(30, 16), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.words(x)
        out: Tensor = self.out(self.act(self.fc(y if y.ndim == 2 else y.mean(1))))
        return out


class Keywords(nn.Module):
    """Layers and activations that are called by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2, self.out = (
            nn.Linear(20, 16),
            nn.ReLU(),
            nn.Linear(16, 10),
            nn.Linear(10, 3),
        )
        self.also = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(input=self.fc1(input=x))
        out: Tensor = self.out(input=self.also(input=self.fc2(input=hidden)))
        return out


class UNet(nn.Module):
    """Down, up again by ``up``, and what was before beside it."""

    def __init__(self, *, transposed: bool) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2) if transposed else nn.MaxUnpool2d(2)
        self.a, self.b = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.c, self.out = nn.Conv2d(16, 6, 3, padding=1), nn.Conv2d(6, 3, 1)
        self.act1, self.act2, self.act3, self.act4 = (nn.ReLU() for _ in range(4))
        self.transposed = transposed

    def forward(self, x: Tensor) -> Tensor:
        wide = self.act1(self.a(x))
        deep, places = self.pool(wide)
        deep = self.act2(self.b(deep))
        deep = self.act4(self.up(deep)) if self.transposed else self.up(deep, places)
        out: Tensor = self.out(self.act3(self.c(torch.cat([deep, wide], 1))))
        return out


_ONE = partial(Trial, series="no time")
_WIRED = {"fc1": "wired to itself by the recurrent"}
TRIALS = named(
    (
        *(
            Trial(name, around(partial(make, batch_first=True), first), WORDS, ("fc2",), _WIRED,
                  "batch first")
            for name, make in {
                "RNN": partial(nn.RNN, 16, 16), "GRU": partial(nn.GRU, 16, 16),
                "LSTM": partial(nn.LSTM, 16, 16),
                "LSTM, two ways": partial(nn.LSTM, 16, 16, 2, bidirectional=True, proj_size=8),
            }.items()
        ),
        Trial("RNN, time first", around(partial(nn.RNN, 16, 16), first), (STEPS, SAMPLES, *ROWS), ("fc2",),
              _WIRED),
        _ONE("LSTMCell", around(partial(nn.LSTMCell, 16, 16), first), FLAT, ("fc2",), _WIRED),
        _ONE("GRUCell", around(partial(nn.GRUCell, 16, 16)), FLAT, ("fc2",), _WIRED),
        _ONE("MultiheadAttention",
             around(partial(nn.MultiheadAttention, 16, 2, batch_first=True), lambda m, x: m(x, x, x)[0]),
             WORDS, ("fc2",), {"fc1": "multi_head_attention_forward()"}),
        _ONE("TransformerEncoderLayer",
             around(partial(nn.TransformerEncoderLayer, 16, 2, 32, batch_first=True)), WORDS, ("fc2",),
             {"fc1": "multi_head_attention_forward()", "middle.linear1": "no neuron module reads",
              "middle.linear2": "unknown origin"}),
        _ONE("Bilinear", around(partial(nn.Bilinear, 16, 16, 16), lambda m, x: m(x, x)), FLAT, ("fc2",),
             {"fc1": "bilinear()"}),
        _ONE("F.linear", around(Own, lambda m, x: F.linear(x, m.w)), FLAT, ("fc2",), {"fc1": "linear()"}),
        _ONE("einsum", around(Own, lambda m, x: torch.einsum("bi,oi->bo", x, m.w)), FLAT, ("fc2",),
             {"fc1": "einsum()"}),
        *(
            _ONE(kind.__name__, partial(Embedded, kind), (SAMPLES, 5), ("fc",), apart=("words.weight",),
                 indices=30)
            for kind in (nn.Embedding, nn.EmbeddingBag)
        ),
        _ONE("called by keyword", Keywords, FLAT, ("fc1", "fc2")),
        _ONE("ConvTranspose2d", among(partial(nn.ConvTranspose2d, 8, 8, 2, stride=2), nn.ReLU), IMAGES,
             ("0", "4"), {"2": "2 is a transposed convolution"}),
        _ONE("ConvTranspose1d",
             lambda: nn.Sequential(nn.Conv1d(STEPS, 8, 3), nn.ReLU(), nn.ConvTranspose1d(8, 6, 3), nn.ReLU(),
                                   nn.Flatten(), nn.Linear(120, 3)),
             WORDS, ("0",), {"2": "2 is a transposed convolution"}),
        _ONE("groups", among(partial(nn.Conv2d, 8, 8, 3, groups=4, padding=1), nn.ReLU), IMAGES, ("4",),
             {"0": "2 is a grouped convolution", "2": "2 is a grouped convolution"}),
        _ONE("depthwise", among(partial(nn.Conv2d, 8, 8, 3, groups=8, padding=1), nn.ReLU), IMAGES,
             ("0", "4")),
        _ONE("U-Net, transposed", partial(UNet, transposed=True), IMAGES, ("b", "c"),
             {"a": "max_pool2d_with_indices()", "up": "up is a transposed convolution"}),
        _ONE("U-Net, MaxUnpool2d", partial(UNet, transposed=False), IMAGES, ("c",),
             {"a": "max_pool2d_with_indices()", "b": "max_unpool2d()"}),
        *(
            _ONE(name, among(make, out=out), IMAGES, ("3",), {"0": reason})
            for name, make, out, reason in (
                ("PixelShuffle", partial(nn.PixelShuffle, 2), 2, "pixel_shuffle()"),
                ("PixelUnshuffle", partial(nn.PixelUnshuffle, 2), 32, "pixel_unshuffle()"),
                ("ChannelShuffle", partial(nn.ChannelShuffle, 2), 8, "channel_shuffle()"),
                ("ConstantPad2d of ones", partial(nn.ConstantPad2d, 1, 1.0), 8, "at zero through pad()"),
                ("Softmax2d", nn.Softmax2d, 8, "softmax() mixes"),
                ("LocalResponseNorm", partial(nn.LocalResponseNorm, 2), 8, "local_response_norm() mixes"),
                ("GroupNorm", partial(nn.GroupNorm, 2, 8), 8, "group_norm() mixes"),
            )
        ),
        _ONE("Unfold", among(partial(nn.Unfold, 3, padding=1), partial(nn.Unflatten, 2, (6, 6)), out=72),
             IMAGES, ("4",), {"0": "unfold()"}),
        *(
            _ONE(name, among(make), IMAGES, ("0", "3"))
            for name, make in {
                "Upsample": partial(nn.Upsample, scale_factor=2, mode="bilinear"),
                "UpsamplingNearest2d": partial(nn.UpsamplingNearest2d, scale_factor=2),
                "LPPool2d": partial(nn.LPPool2d, 2, 2),
                "FractionalMaxPool2d": partial(nn.FractionalMaxPool2d, 2, output_size=3),
                "ZeroPad2d": partial(nn.ZeroPad2d, 1), "ReflectionPad2d": partial(nn.ReflectionPad2d, 1),
                "InstanceNorm2d": partial(nn.InstanceNorm2d, 8, affine=True),
            }.items()
        ),
        *(
            _ONE(name, around(make), FLAT, ("fc2",), {"fc1": f"{operation}() mixes"})
            for name, make, operation in (
                ("LayerNorm", partial(nn.LayerNorm, 16), "layer_norm"),
                ("RMSNorm", partial(nn.RMSNorm, 16), "rms_norm"),
            )
        ),
        _ONE("GLU", around(nn.GLU, width=8), FLAT, ("fc2",), {"fc1": "glu()"}),
        *(
            _ONE(f"{make.__name__} as the neuron",
                 lambda make=make: nn.Sequential(nn.Linear(20, 16), make(), nn.Linear(16, 3)), FLAT, ("0",))
            for make in (
                nn.ReLU, nn.PReLU, nn.RReLU, nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.LogSigmoid,
                nn.GELU, nn.Sigmoid, nn.Softplus,
            )
        ),
        _ONE("PReLU, a slope each", around(partial(nn.PReLU, 16)), FLAT, ("fc1", "fc2")),
    )
)  # fmt: skip
