"""Pools: the average or the maximum of each window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnprune.engine.c.memory import block, loop
from snnprune.engine.c.terms import Term
from snnprune.engine.c.values import integer, literal

if TYPE_CHECKING:
    from snnprune.engine.c.memory import Memory
    from snnprune.engine.c.schedule import Kept
    from snnprune.engine.plan import Array, Pool


@dataclass(frozen=True)
class PoolWriter:
    """Writes one pool.

    Attributes:
        memory: gets its constants.
        name: of the pool in C.
        place: of the pool in its plan.
        real: C type of reals.
    """

    memory: Memory
    name: str
    place: int
    real: str

    def lines(self, node: Pool, source: Kept, out: Kept) -> list[str]:
        """Return statements that compute the pool.

        Args:
            node: the pool.
            source: what it reads.
            out: where its results go.
        """
        channels, _, width = source.shape
        top, bottom = self._windows("rows", node.rows, "oy")
        left, right = self._windows("columns", node.columns, "ox")
        first = f"in[(((({top}) * {width}) + ({left})) * {channels}) + c]"
        before, each, result = self._reduced(node, source, out, first)
        window = block(
            f"for (int32_t iy = {top}; iy < {bottom}; iy++)",
            block(
                f"for (int32_t ix = {left}; ix < {right}; ix++)",
                [f"const {source.kind} v = in[(((iy * {width}) + ix) * {channels}) + c];", each],
            ),
        )
        store = f"out[(((oy * {node.shape[2]}) + ox) * {channels}) + c] = {result};"
        return [
            f"const {source.kind} *const in = {source.at()};",
            f"{out.kind} *const out = {out.at()};",
            *loop(
                "oy", node.shape[1], loop("ox", node.shape[2], loop("c", channels, [before, *window, store]))
            ),
        ]

    def _reduced(self, node: Pool, source: Kept, out: Kept, first: str) -> tuple[str, str, str]:
        """Return what begins a window, what takes a number v in, and the result."""
        if node.kind == "maximum":
            return f"{source.kind} most = {first};", "most = (v > most) ? v : most;", "most"
        if out.values.whole:
            kind = str(integer(out.values.low, out.values.high, "int32_t"))
            return f"{kind} sum = 0;", f"sum += ({kind})v;", f"({out.kind})sum"
        value = Term("v", source.values, source.kind).real(self.real)
        if np.ptp(node.divisors) == 0:
            divisor = literal(float(node.divisors.reshape(-1)[0]), self.real)
        else:
            name = self.memory.constant(f"divisor_{self.name}", self.real, node.divisors, self.place)
            divisor = f"{name}[(oy * {node.shape[2]}) + ox]"
        return f"{self.real} sum = {literal(0.0, self.real)};", f"sum += {value};", f"sum / {divisor}"

    def _windows(self, what: str, windows: Array, index: str) -> tuple[str, str]:
        """Return where a window begins and ends, as expressions of its index."""
        begins, sizes = windows[:, 0], np.diff(windows, axis=1)[:, 0]
        stride = int(begins[1]) if len(begins) > 1 else 0
        if np.array_equal(begins, np.arange(len(begins)) * stride) and np.ptp(sizes) == 0:
            begin = f"{index} * {stride}"
            return begin, f"({begin}) + {sizes[0]}"
        name = self.memory.constant(f"{what}_{self.name}", "uint16_t", windows, self.place)
        return f"{name}[{index} * 2]", f"{name}[({index} * 2) + 1]"
