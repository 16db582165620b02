"""Synapses: loops that add what arrives to a row of currents.

Only inputs that are not zero are looked at, in the order height, width, channels. Each current is the sum of
its contributions in this order, from zero; the bias comes last (`snnprune.engine.c.terms`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnprune.engine.c.memory import block, loop
from snnprune.engine.c.values import literal
from snnprune.engine.plan import PLACES, Convolution

if TYPE_CHECKING:
    from snnprune.engine.c.schedule import Kept
    from snnprune.engine.c.tables import Table
    from snnprune.engine.plan import Layer


@dataclass(frozen=True)
class Synapses:
    """The synapses of a layer.

    Attributes:
        layer: a convolution or a linear layer.
        table: its weights.
        row: name of the array of a row of currents, unit by unit at each place.
        kind: C type of the currents.
        source: where its inputs are.
        real: C type of reals.
        whole: whether weights are whole numbers.
    """

    layer: Layer
    table: Table
    row: str
    kind: str
    source: Kept
    real: str
    whole: bool

    def lines(self) -> list[str]:
        """Return statements that sum the currents of row oy."""
        layer = self.layer
        clear = loop("j", layer.shape[0] * layer.shape[2], [f"{self.row}[j] = {literal(0, self.kind)};"])
        if self.table.empty:
            return clear
        if isinstance(layer, Convolution):
            return [*clear, *self._convolved(layer)]
        body = self._event("in[i]", self.table.added("i", self.row, "0", self._factor))
        return [*clear, *block("", [self._input(self.source.at()), *loop("i", self.source.count, body)])]

    def _convolved(self, layer: Convolution) -> list[str]:
        channels, height, width = self.source.shape
        units, inputs, tall, broad = layer.weights.shape
        first = "0" if layer.groups == 1 else f"(c / {inputs}) * {units // layer.groups}"
        place = f"(((c * {tall}) + ky) * {broad}) + kx"
        (sy, sx), (up, left), (dy, dx) = layer.stride, layer.padding, layer.dilation
        at = f"{self.kind} *const at = &{self.row}[ox * {units}];"
        adding = [at, *self.table.added(place, "at", first, self._factor)]
        across = _inside(f"ix + {left} - (kx * {dx})", sx, layer.shape[2], adding)
        event = self._event(f"in[(ix * {channels}) + c]", loop("kx", broad, across))
        index = f"(iy * {width * channels})"
        offset = f"{self.source.offset} + " if self.source.offset else ""
        pointer = self._input(f"&{self.source.array}[{offset}{index}]")
        along = [pointer, *loop("ix", width, loop("c", channels, event))]
        down = [
            f"const int32_t iy = (oy * {sy}) - {up} + (ky * {dy});",
            *block(f"if ((iy >= 0) && (iy < {height}))", along),
        ]
        return loop("ky", tall, down)

    def _input(self, address: str) -> str:
        return f"const {self.source.kind} *const in = {address};"

    def _event(self, number: str, adding: list[str]) -> list[str]:
        """Return what is done with a number that may be zero."""
        kind = self.source.kind
        lines = [] if self._factor is None else [f"const {self.kind} x = {self._arriving};", *adding]
        return [f"const {kind} v = {number};", *block(f"if (v != {literal(0, kind)})", lines or adding)]

    @property
    def _factor(self) -> str | None:
        """What weights are multiplied with; None for 1."""
        values = self.source.values
        spikes = values.whole and values.places == 0 and (values.low, values.high) == (0.0, 1.0)
        return None if spikes else "x"

    @property
    def _arriving(self) -> str:
        """What arrives of a number v, in the type of the currents."""
        values = self.source.values
        if not self.whole:
            scale = f" * {literal(2.0**-values.places, self.real)}" if values.places else ""
            return f"({self.real})v{scale}"
        if not values.whole:
            return f"({self.kind})nearest_real(v * {literal(2.0**PLACES, 'double')})"
        if values.places > PLACES:
            return f"({self.kind})nearest((int64_t)v, {values.places - PLACES})"
        return f"({self.kind})v"


def _inside(number: str, stride: int, count: int, lines: list[str]) -> list[str]:
    """Return lines that are run where ``number`` is ``stride`` times a place ox from 0 to count - 1."""
    if stride == 1:
        return [f"const int32_t ox = {number};", *block(f"if ((ox >= 0) && (ox < {count}))", lines)]
    inner = [f"const int32_t ox = across / {stride};", *block(f"if (ox < {count})", lines)]
    condition = f"if ((across >= 0) && ((across % {stride}) == 0))"
    return [f"const int32_t across = {number};", *block(condition, inner)]
