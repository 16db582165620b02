"""Networks in the notation of the papers: 15C3-AvgPool2-40C3-AvgPool2-Flatten-300FC."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from torch import nn

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from snnprune.nn.models.kit import Kit

N = "[1-9][0-9]*"
LAYER = re.compile(f"(?P<C>{N}C{N}(-BN)?)|(?P<FC>{N}FC)|(?P<Pool>(?:Avg|Max)Pool{N})|(?P<Flatten>Flatten)")


class Network(nn.Sequential):
    """A sequence of layers, with attributes that say how it is called and trained.

    Attributes:
        spiking: True: frames [T, B, C, H, W] in, output spikes [T, B, K] out.
            False: images [B, C, H, W] in, logits [B, K] out.
        loss: "mse" on output rates, or "cross-entropy" on logits.
    """

    spiking: bool
    loss: str


class Walk:
    """Builds the layers of a network's text from left to right, and tracks the shape of one sample."""

    def __init__(self, kit: Kit, shape: tuple[int, ...], padding: Literal["same", "valid"]) -> None:
        self.kit = kit
        self.shape = shape
        self.padding = padding
        self.layers: dict[str, nn.Module] = {}
        self.latest = ""
        self.counts = {"conv": 0, "fc": 0, "pool": 0}

    def number(self, kind: str) -> str:
        """Return the name of the next layer of this kind: conv1, conv2, ..."""
        self.counts[kind] += 1
        return f"{kind}{self.counts[kind]}"

    def convolution(self, units: int, size: int, norm: bool) -> None:
        """Add a convolution, its norm if there is one, and its neurons."""
        margin = size // 2 if self.padding == "same" else 0
        channels, height, width = self.shape
        self.latest = self.number("conv")
        self.layers[self.latest] = self.kit.weighted(
            "Conv2d", channels, units, size, padding=margin, bias=not norm
        )
        self.resize(units, *(side + 2 * margin - size + 1 for side in (height, width)))
        if norm:
            self.layers[f"{self.latest}_bn"] = self.kit.make("BatchNorm2d", units)
        self.neurons()

    def pool(self, kind: str, size: int) -> None:
        """Add an average or maximum pool over squares of ``size``, without incomplete ones at the border."""
        self.layers[self.number("pool")] = self.kit.make(f"{kind}2d", size)
        self.resize(self.shape[0], self.shape[1] // size, self.shape[2] // size)

    def flatten(self) -> None:
        """Add a flatten layer, from channels and places to one row of units."""
        self.layers["flatten"] = self.kit.make("Flatten")
        channels, height, width = self.shape
        self.shape = (channels * height * width,)

    def linear(self, units: int) -> None:
        """Add a fully connected layer and its neurons."""
        self.latest = self.number("fc")
        self.layers[self.latest] = self.kit.weighted("Linear", self.shape[0], units)
        self.shape = (units,)
        self.neurons()
        if self.kit.dropout:
            self.layers[f"{self.latest}_dropout"] = self.kit.make("Dropout", self.kit.dropout)

    def output(self, classes: int) -> None:
        """Add the output layer. It spikes in a spiking network, and returns logits in another."""
        self.latest = "out"
        self.layers["out"] = self.kit.weighted("Linear", self.shape[0], classes, output=True)
        if self.kit.spiking:
            self.neurons()

    def neurons(self) -> None:
        """Add a layer of neurons after the latest layer with weights."""
        self.layers[f"{self.latest}_{self.kit.suffix}"] = self.kit.neuron()

    def resize(self, channels: int, height: int, width: int) -> None:
        """Set the output shape of the layer that was just added."""
        if min(height, width) < 1:
            raise TooSmallError
        self.shape = (channels, height, width)


class TooSmallError(Exception):
    """No pixel of a frame is left."""


def network(
    text: str,
    kit: Kit,
    shape: tuple[int, int, int],
    classes: int,
    padding: Literal["same", "valid"] = "same",
) -> Network:
    """Build and initialise the network that ``text`` describes, followed by an output layer.

    ``15C3`` is a convolution of 15 channels and 3 x 3 weights with stride 1, ``AvgPool2`` and ``MaxPool2``
    pool squares of 2 x 2, ``300FC`` is a fully connected layer of 300 units, ``BN`` after a convolution
    adds a batch norm (the convolution then has no bias). Neurons follow each convolution and each fully
    connected layer.

    Args:
        text: the network without its output layer.
        kit: spiking or plain layers.
        shape: channels, height and width of a frame.
        classes: units of the output layer.
        padding: "same" keeps height and width in a convolution, "valid" uses no pixel from outside.

    Returns:
        Layers named conv1, conv1_bn, conv1_lif (or _relu), pool1, flatten, fc1, fc1_lif, ..., out, out_lif.

    Raises:
        UserError: a word that is not a layer, or is at the wrong place; frames that are too small; no class.
    """
    check_sizes(shape, classes)
    walk = Walk(kit, shape, padding)
    try:
        for token in re.split("-(?!BN)", text):
            step(walk, token)
    except TooSmallError:
        raise UserError(
            f"frames of {shape[1]} x {shape[2]} pixels are too small for the network {text}, which leaves "
            "no pixel of them: choose a smaller model or larger frames"
        ) from None
    if len(walk.shape) == 3:
        raise UserError(f"the network {text} needs a Flatten before its output layer")
    walk.output(classes)
    built = Network()
    for name, layer in walk.layers.items():
        built.add_module(name, layer)
    built.spiking, built.loss = kit.spiking, kit.loss
    return built


def check_sizes(shape: tuple[int, int, int], classes: int) -> None:
    """Check that there are classes and pixels.

    Raises:
        UserError: there are none.
    """
    if classes < 1 or min(shape) < 1:
        raise UserError(
            f"expected at least one class and one pixel, got {classes} classes and frames of {shape}"
        )


def step(walk: Walk, token: str) -> None:
    """Add the layers of one word of the notation.

    Raises:
        UserError: the word is not part of the notation, or is at the wrong place.
    """
    match = LAYER.fullmatch(token)
    if match is None:
        raise UserError(
            f"'{token}' is not a layer: write 15C3, 15C3-BN, AvgPool2, MaxPool2, Flatten or 300FC, "
            "joined by '-'"
        )
    kind = next(name for name, part in match.groupdict().items() if part)
    numbers = [int(number) for number in re.findall(N, token)]
    if (kind == "FC") == (len(walk.shape) == 3):
        where = "behind" if kind == "FC" else "before"
        raise UserError(f"'{token}' can stand only {where} a Flatten: write 15C3-Flatten-300FC, for instance")
    if kind == "C":
        walk.convolution(numbers[0], numbers[1], norm=token.endswith("BN"))
    elif kind == "FC":
        walk.linear(numbers[0])
    elif kind == "Pool":
        walk.pool(token[:7], numbers[0])
    else:
        walk.flatten()
