"""Where the synapses of a layer lie: the weights and currents that an event of a pixel and channel reaches.

Along one axis of a convolution with stride s, padding p and dilation d, the tap k leads from the place y to
the output (y + p - k d) / s, if that is a whole number. With q = (y + p) // s and r = (y + p) % s the output
is q + o, where o = (r - k d) / s depends on r alone. Places with the same r form a class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.engine.lanes import BROAD, ENTRY, LANES
from snnprune.engine.plan import Convolution

if TYPE_CHECKING:
    import numpy.typing as npt

    from snnprune.engine.plan import Layer, Shape

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Axis:
    """One axis of a convolution.

    Attributes:
        size, outputs, taps, stride, padding, dilation: of the convolution along this axis.
    """

    size: int
    outputs: int
    taps: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def reached(self, remainder: int) -> list[tuple[int, int]]:
        """Return (o, tap) of each tap that leads from places of a class to an output, o rising."""
        s, d = self.stride, self.dilation
        return sorted(((remainder - k * d) // s, k) for k in range(self.taps) if (remainder - k * d) % s == 0)

    @property
    def before(self) -> int:
        """The places in front of the first output that currents may be added to."""
        return max((-o for r in range(self.stride) for o, _ in self.reached(r)), default=0)

    @property
    def after(self) -> int:
        """The places behind the last output that currents may be added to."""
        return max((self.size - 1 + self.padding) // self.stride - (self.outputs - 1), 0)

    @property
    def spanned(self) -> int:
        """Places that are read, with their border."""
        read = (self.outputs - 1) * self.stride + (self.taps - 1) * self.dilation + 1
        return max(read, self.size + self.padding)


@dataclass(frozen=True)
class Geometry:
    """How a layer lies on what it reads.

    A linear layer is a convolution on one pixel, whose channels are all numbers that it reads.

    Attributes:
        down, right: its axes.
        channels: of what it reads.
        groups: of channels and units.
        inputs, units: of a group.
        weights: [units, inputs, taps down, taps right], the inputs in the order in which they are listed.
        merged: whether all pixels of what it reads are one.
    """

    down: Axis
    right: Axis
    channels: int
    groups: int
    inputs: int
    units: int
    weights: Array
    merged: bool

    @classmethod
    def of(cls, layer: Layer, read: Shape) -> Geometry:
        """Describe a layer that reads numbers of a shape (channels, height, width)."""
        c, h, w = read
        units = layer.shape[0]
        if isinstance(layer, Convolution):
            (sy, sx), (py, px), (dy, dx) = layer.stride, layer.padding, layer.dilation
            _, inputs, tall, broad = layer.weights.shape
            down = Axis(h, layer.shape[1], tall, sy, py, dy)
            right = Axis(w, layer.shape[2], broad, sx, px, dx)
            return cls(down, right, c, layer.groups, inputs, units // layer.groups, layer.weights, False)
        ordered = layer.weights.reshape(units, c, h * w).transpose(0, 2, 1).reshape(units, -1, 1, 1)
        one = Axis(1, 1, 1)
        return cls(one, one, c * h * w, 1, c * h * w, units, ordered, True)

    @property
    def padded(self) -> int:
        """Units of a pixel, in whole vectors."""
        return -(-self.units * self.groups // LANES) * LANES

    @property
    def pitch(self) -> int:
        """Currents from a row to the next."""
        return (self.right.before + self.right.outputs + self.right.after) * self.padded

    @property
    def first(self) -> int:
        """Where the currents of the first pixel begin."""
        return self.down.before * self.pitch + self.right.before * self.padded

    @property
    def currents(self) -> int:
        """The number of currents, with those that no unit reads."""
        return (self.down.before + self.down.outputs + self.down.after) * self.pitch

    def pixels(self) -> Array:
        """Return [2, pixels]: for each pixel that is read where its first current lies, and its class."""
        y, x = np.arange(self.down.size) + self.down.padding, np.arange(self.right.size) + self.right.padding
        at = (y // self.down.stride * self.pitch)[:, None] + (x // self.right.stride * self.padded)[None]
        kind = (y % self.down.stride * self.right.stride)[:, None] + (x % self.right.stride)[None]
        return np.stack([at.reshape(-1), kind.reshape(-1)])

    def columns(self) -> Array:
        """Return [2, columns]: where the first current of each lies in a line, and its class."""
        x = np.arange(self.right.size) + self.right.padding
        return np.stack([x // self.right.stride * self.padded, x % self.right.stride])

    def segments(self) -> tuple[Array, Array, Array]:
        """Return rows of weights for each channel, in runs of neighbouring currents of a line.

        Returns:
            Where the segments of each tap down and class of columns begin; for each segment its currents, its
            weights, and how many vectors it has; and the weights of each, [channels, vectors * BROAD], those
            beyond its units 0.
        """
        begins: list[int] = [0]
        entries: list[tuple[int, ...]] = []
        blocks, at = [], 0
        for tap_down in range(self.down.taps):
            for remainder in range(self.right.stride):
                for run in self._runs(remainder):
                    block = self._block(tap_down, [tap for _, tap in run])
                    entries.append((run[0][0] * self.padded, at, block.shape[1] // BROAD))
                    blocks.append(block.reshape(-1))
                    at += block.size
                begins.append(len(entries))
        return (
            np.array(begins),
            np.array(entries, np.int64).reshape(-1, ENTRY),
            np.concatenate(blocks) if blocks else np.zeros(0, self.weights.dtype),
        )

    @property
    def single(self) -> bool:
        """Whether an event has one segment in a line, wherever it is."""
        return self.groups == self.right.stride == len(self._runs(0)) == 1

    def _runs(self, remainder: int) -> list[list[tuple[int, int]]]:
        """Return (o, tap) of the columns of a class, in runs of outputs side by side."""
        runs: list[list[tuple[int, int]]] = []
        for o, tap in self.right.reached(remainder):
            if self.groups == 1 and runs and runs[-1][-1][0] == o - 1:
                runs[-1].append((o, tap))
            else:
                runs.append([(o, tap)])
        return runs

    def _block(self, tall: int, taps: list[int]) -> Array:
        width = self.padded if self.groups == 1 else -(-self.units // LANES) * LANES
        block = np.zeros((self.groups, self.inputs, len(taps), width), self.weights.dtype)
        for i, tap in enumerate(taps):
            own = self.weights[:, :, tall, tap].reshape(self.groups, self.units, self.inputs)
            block[:, :, i, : self.units] = own.transpose(0, 2, 1)
        rows = block.reshape(self.channels, -1)
        return np.pad(rows, ((0, 0), (0, -rows.shape[1] % BROAD)))

    def synapses(self) -> tuple[Array, Array, Array]:
        """Return the weights that are not 0.

        Returns:
            [classes, channels + 1], where the synapses of each class and channel begin; for each synapse its
            current; and its weight.
        """
        pointers, offsets, weights, at = [], [], [], 0
        grouped = self.weights.reshape(self.groups, self.units, self.inputs, *self.weights.shape[2:])
        classes = [
            (self.down.reached(r), self.right.reached(q))
            for r in range(self.down.stride)
            for q in range(self.right.stride)
        ]
        for rows, columns in classes:
            own = np.zeros((self.channels, 0), self.weights.dtype)
            places = np.zeros((self.channels, 0), np.int64)
            group = (np.arange(self.channels) // self.inputs * self.units)[:, None]
            for down, tall in rows:
                for right, tap in columns:
                    part = grouped[:, :, :, tall, tap].transpose(0, 2, 1).reshape(self.channels, self.units)
                    own = np.concatenate([own, part], 1)
                    place = down * self.pitch + right * self.padded + np.arange(self.units)
                    places = np.concatenate([places, place + group], 1)
            alive = own != 0
            pointers.append(at + np.concatenate([[0], np.cumsum(alive.sum(1))]))
            at = int(pointers[-1][-1])
            offsets.append(places[alive])
            weights.append(own[alive])
        return np.concatenate(pointers), np.concatenate(offsets), np.concatenate(weights)

    def taps(self) -> Array:
        """Return the weights for a dense product: [groups, taps down, taps right, inputs, padded units]."""
        width = -(-self.units // LANES) * LANES
        shape = self.weights.shape[2:]
        grouped = self.weights.reshape(self.groups, self.units, self.inputs, *shape)
        taps = np.zeros((self.groups, *shape, self.inputs, width), self.weights.dtype)
        taps[..., : self.units] = grouped.transpose(0, 3, 4, 2, 1)
        return taps.reshape(-1)
