"""Tables of weights, in the form that takes the fewest bytes.

Weights stand input by input: each input and place of the kernel has a row. A dense row holds the weights of
all units. Others hold those that are not zero: a listed row with the unit of each, a marked row behind a bit
for each unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from snnprune.engine.c.memory import block, loop
from snnprune.engine.c.values import BYTES, integer
from snnprune.engine.plan import Convolution

if TYPE_CHECKING:
    from snnprune.engine.c.memory import Memory
    from snnprune.engine.plan import Array, Layer, Shape

Form = Literal["dense", "listed", "marked"]

NIBBLE = 7
"""Largest magnitude of a weight of 4 bits."""


@dataclass(frozen=True)
class Table:
    """How the weights of a layer are written.

    Attributes:
        name: of the tables.
        kind: C type of a weight; "nibble" for two to a byte.
        units: number of units in a row.
        form: what a row holds; None if no row holds anything.
    """

    name: str
    kind: str
    units: int
    form: Form | None

    @property
    def said(self) -> str:
        """How weights stand, in words."""
        kind = "int4" if self.kind == "nibble" else self.kind.removesuffix("_t")
        return "none" if self.form is None else f"{self.form} {kind}"

    @property
    def empty(self) -> bool:
        """Whether there is no weight."""
        return self.form is None

    def added(self, row: str, target: str, first: str, factor: str | None) -> list[str]:
        """Return statements that add a row of weights, times ``factor``, to currents.

        Args:
            row: the row in C.
            target: the currents of a place in C.
            first: the unit of the row's first weight in C.
            factor: what arrives; None for 1.
        """
        place = "u" if first == "0" else f"{first} + u"
        start, times = f"start_{self.name}", "" if factor is None else f"{factor} * "
        row = row if row.isidentifier() else f"({row})"
        match self.form:
            case None:
                return []
            case "listed":
                add = f"{target}[unit_{self.name}[s]] += {times}{self._weight('s')};"
                return block(f"for (uint32_t s = {start}[{row}]; s < {start}[{row} + 1]; s++)", [add])
            case "marked":
                bits = f"mark_{self.name}[({row} * {marks(self.units)}) + (u / 8)]"
                adding = [f"{target}[{place}] += {times}{self._weight('s')};", "s++;"]
                each = block(f"if ((({bits} >> (u % 8)) & 1) != 0)", adding)
                return [f"uint32_t s = {start}[{row}];", *loop("u", self.units, each)]
            case "dense":
                add = f"{target}[{place}] += {times}{self._weight('w + u')};"
                return [f"const int32_t w = {row} * {self.units};", *loop("u", self.units, [add])]

    def _weight(self, index: str) -> str:
        if self.kind == "nibble":
            return f"nibble(weight_{self.name}, (uint32_t)({index}))"
        return f"weight_{self.name}[{index}]"


def table(memory: Memory, layer: Layer, shape: Shape, named: tuple[str, int, str], *, whole: bool) -> Table:
    """Write the weights of ``layer``, and return how.

    Args:
        memory: gets the tables.
        layer: a convolution or a linear layer.
        shape: of what it reads, before it was flattened.
        named: its name in C, its place and the C type of reals.
        whole: whether weights are whole numbers.
    """
    rows = _rows(layer, shape)
    name, owner, real = named
    alive = rows != 0
    if not alive.any():
        return Table(name, real, rows.shape[1], None)
    kind = real
    if whole:
        low, high = float(rows.min()), float(rows.max())
        kind = "nibble" if max(-low, high) <= NIBBLE else str(integer(low, high, "int8_t"))
    count, units = int(alive.sum()), _unit_index(layer, alive)
    index, start = _unsigned(int(units.max())), _unsigned(count)
    sparse = _bytes(count, kind) + (len(rows) + 1) * BYTES[start]
    sizes: dict[Form, int] = {
        "dense": _bytes(rows.size, kind),
        "listed": sparse + count * BYTES[index],
        "marked": sparse + len(rows) * marks(rows.shape[1]),
    }
    form = min(sizes, key=lambda one: sizes[one])
    _write_weights(memory, f"weight_{name}", kind, rows if form == "dense" else rows[alive], owner)
    if form == "listed":
        memory.constant(f"unit_{name}", index, units, owner)
    elif form == "marked":
        bits = np.packbits(alive, axis=1, bitorder="little")
        memory.constant(f"mark_{name}", "uint8_t", bits, owner)
    if form != "dense":
        ends = np.concatenate([[0], np.cumsum(alive.sum(1))])
        memory.constant(f"start_{name}", start, ends, owner)
    return Table(name, kind, rows.shape[1], form)


def marks(units: int) -> int:
    """Return the bytes of a bit for each unit of a row."""
    return (units + 7) // 8


def _rows(layer: Layer, shape: Shape) -> Array:
    """Return weights [inputs x places of the kernel, units], each input's units being those of its group."""
    weights = layer.weights
    if not isinstance(layer, Convolution):
        return weights.reshape(-1, *shape).transpose(2, 3, 1, 0).reshape(-1, len(weights))
    per = len(weights) // layer.groups
    grouped = weights.reshape(layer.groups, per, *weights.shape[1:])
    return grouped.transpose(0, 2, 3, 4, 1).reshape(-1, per)


def _unit_index(layer: Layer, alive: Array) -> Array:
    """Return the unit of each weight that is not zero, row by row."""
    rows, units = np.nonzero(alive)
    if isinstance(layer, Convolution):
        per = len(layer.weights) // layer.groups
        units = units + rows // (len(alive) // layer.groups) * per
    return units


def _unsigned(largest: int) -> str:
    return "uint8_t" if largest < 2**8 else "uint16_t" if largest < 2**16 else "uint32_t"


def _bytes(count: int, kind: str) -> int:
    return (count + 1) // 2 if kind == "nibble" else count * BYTES[kind]


def _write_weights(memory: Memory, name: str, kind: str, weights: Array, owner: int) -> None:
    flat = weights.reshape(-1)
    if kind == "nibble":
        padded = np.append(flat, np.zeros(len(flat) % 2, flat.dtype)).astype(np.int64) & 15
        memory.constant(name, "uint8_t", padded[::2] | padded[1::2] << 4, owner)
    else:
        memory.constant(name, kind, flat, owner)


NIBBLES = """\
/* The weight of 4 bits at place i, two to a byte, the lower half first. */
static int32_t nibble(const uint8_t *weights, uint32_t i)
{
    const int32_t half = (int32_t)((weights[i >> 1] >> ((i & 1U) * 4U)) & 15U);
    return (half ^ 8) - 8;
}
"""
