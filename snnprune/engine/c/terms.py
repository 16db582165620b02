"""What is made of a row of currents, number by number: sums, norms, neurons, integrators.

Each operation is rounded by itself, in the order that `snnprune.engine.plan` gives it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnprune.engine.c.bounds import potentials
from snnprune.engine.c.memory import loop
from snnprune.engine.c.values import LARGEST, Values, integer, literal, real_of
from snnprune.engine.plan import PLACES

if TYPE_CHECKING:
    from snnprune.engine.c.memory import Memory
    from snnprune.engine.plan import Array, Integrators, Layer, Neurons, Norm, Plan

SCALE = 2**PLACES

PARTED = 2.0**47
"""Bound of potentials that are kept in 48 bits: 32 before the binary point, 16 behind it."""


@dataclass(frozen=True)
class Term:
    """A number in C.

    Attributes:
        text: an expression without side effects, or a name.
        values: what it may be.
        kind: C type.
    """

    text: str
    values: Values
    kind: str

    def real(self, real: str) -> str:
        """Return it as a value of the type ``real``."""
        if not self.values.whole:
            return self.text
        scale = self.values.places
        power = "" if scale == 0 else f" * {literal(2.0**-scale, real)}"
        return f"({real}){self.text}{power}"

    def current(self, kind: str) -> str:
        """Return it rounded to the nearest whole number, ties to even."""
        if not self.values.whole:
            return f"({kind})nearest_real({self.text})"
        if self.values.places:
            return f"({kind})nearest((int64_t){self.text}, {self.values.places})"
        return f"({kind}){self.text}"


@dataclass
class Terms:
    """Writes the operations of the nodes of one group.

    Attributes:
        plan: the network.
        memory: gets constants and states.
        name: of the node that is written.
        place: of the node that is written.
        notes: gets what a user has to know.
    """

    plan: Plan
    memory: Memory
    name: str
    place: int
    notes: list[str]

    @property
    def real(self) -> str:
        """C type of reals."""
        return real_of(self.plan)

    def layer(self, node: Layer, sums: str, shift: int, values: Values) -> Term:
        """Return what a layer hands on, from its sums."""
        if self.plan.bits is None:
            text = sums
            if node.biases is not None:
                text = f"{sums} + {self._each('bias', node.biases)}"
            return Term(text, values, self.real)
        assert node.steps is not None
        steps = self._each("value", node.steps / SCALE) if not node.whole else ""
        wide = "int64_t" if not node.whole else str(integer(values.low, values.high, "int32_t"))
        text = f"({wide}){sums}" + (f" * {2**shift}" if shift else "")
        if node.biases is not None:
            text = f"({text}) + {self._scaled('bias', node.biases, wide)}"
        if node.whole:
            return Term(text, values, wide)
        return Term(f"(double)({text}) * {steps}", values, "double")

    def sum(self, terms: list[Term], values: Values) -> Term:
        """Return the sum of terms, added from the first to the last."""
        if not values.whole:
            return Term(" + ".join(f"({term.real(self.real)})" for term in terms), values, self.real)
        kind = str(integer(values.low, values.high, "int32_t"))
        parts = [f"(({kind}){t.text} * {2 ** (values.places - t.values.places)})" for t in terms]
        return Term(" + ".join(parts), values, kind)

    def norm(self, node: Norm, x: Term, values: Values) -> Term:
        """Return a number, normalised."""
        mean, scale, shift = (self._each(name, getattr(node, name)) for name in ("mean", "scale", "shift"))
        text = f"(({x.real(self.real)} - {mean}) * {scale}) + {shift}"
        return Term(text, values, self.real)

    def neurons(self, node: Neurons, x: Term) -> list[str]:
        """Return statements that charge neuron n, and make ``fired`` 1 or 0."""
        if node.kind == "whole":
            return self._whole(node, x)
        if node.kind == "adaptive":
            return self._adaptive(node, x)
        real = self.real
        rest = np.zeros(1) if node.reset is None else node.reset
        threshold = self._each("threshold", node.threshold)
        halved = node.kind == "lif" and bool((np.frexp(node.leak)[0] == 0.5).all())
        leak = "" if node.kind == "if" else self._each("leak", 1 / node.leak if halved else node.leak)
        v = f"{self._potentials(real, rest)}[n]"
        back = self._each("rest", rest)
        away = f"({v} - {back})" if np.any(rest) else v
        sign = f"x - {away}" if node.decay_input else away
        match node.kind:
            case "if":
                h = f"{v} + x"
            case "heterogeneous":
                h = f"({leak} * {v}) + ({self._rest_of('input', node.leak)} * x)"
            case "lif" | "plif":
                by = "/" if node.kind == "lif" and not halved else "*"
                leaked = f"(({sign}) {by} {leak})"
                h = f"{v} + {leaked}" if node.decay_input else f"({v} - {leaked}) + x"
            case _:
                raise AssertionError(node.kind)
        lines = [f"const {real} x = {x.real(real)};", f"const {real} h = {h};"]
        return [*lines, *self._fire(v, threshold, "h - " + threshold if node.reset is None else back)]

    def integrators(self, node: Integrators, x: Term) -> tuple[list[str], str]:
        """Return statements that charge integrator n, and what it hands on."""
        if self.plan.bits is None:
            v = f"{self._potentials(self.real, np.zeros(1))}[n]"
            leak, gain = self._each("leak", node.leak), self._rest_of("input", node.leak)
            return [f"{v} = ({leak} * {v}) + ({gain} * {_bracketed(x.real(self.real))});"], v
        assert node.steps is not None
        bounds = potentials(self.plan, node, x.values)
        kind = self._kind(bounds.low, bounds.high, bounds.steps)
        v = f"{self._potentials(kind, np.zeros(1))}[n]"
        left = self._left(v, node.leak, kind, bounds.above)
        value = self._each("value", node.steps / SCALE)
        return [f"{v} = {left} + {x.current(kind)};"], f"(double){v} * {value}"

    def _whole(self, node: Neurons, x: Term) -> list[str]:
        bounds = potentials(self.plan, node, x.values)
        kind = self._kind(bounds.low, bounds.high, bounds.steps)
        rest = np.zeros(1, np.int64) if node.reset is None else node.reset
        parted = kind == "int64_t" and bounds.low >= -PARTED and bounds.high < PARTED
        name = self._potentials("int32_t" if parted else kind, rest, 1 if parted else SCALE)
        back = self._scaled("rest", rest, kind)
        threshold = self._scaled("threshold", node.threshold, kind)
        left = self._left(f"(v - {back})" if np.any(rest) else "v", node.leak, kind, bounds.above)
        h = f"{left} + {x.current(kind)}"
        after = f"h - {threshold}" if node.reset is None else back
        load, store = f"{name}[n]", [f"{name}[n] = (fired != 0U) ? ({after}) : h;"]
        if parted:
            low = self.memory.state(f"fraction_{self.name}", "uint16_t", self._count, self.place)
            load = f"((int64_t){name}[n] * {SCALE}) + {low}[n]"
            store = [
                f"const int64_t next = (fired != 0U) ? ({after}) : h;",
                f"{name}[n] = (int32_t)shifted(next, {PLACES});",
                f"{low}[n] = (uint16_t)((uint64_t)next & {SCALE - 1}U);",
            ]
        return [
            f"const {kind} v = {load};",
            f"const {kind} h = {f'{back} + {h}' if np.any(rest) else h};",
            f"const uint8_t fired = (h >= {threshold}) ? 1U : 0U;",
            *store,
        ]

    def _adaptive(self, node: Neurons, x: Term) -> list[str]:
        assert node.adaptation is not None
        real = self.real
        v, b, y = (
            f"{self.memory.state(f'{what}_{self.name}', kind, self._count, self.place)}[n]"
            for what, kind in (("potential", real), ("adaptation", real), ("spike", "uint8_t"))
        )
        keep, gain = self._each("memory", node.adaptation), self._rest_of("renewal", node.adaptation)
        leak, input_ = self._each("leak", node.leak), self._rest_of("input", node.leak)
        threshold, rise = self._each("threshold", node.threshold), literal(node.rise, real)
        return [
            f"const {real} x = {x.real(real)};",
            f"const {real} last = ({real}){y};",
            f"const {real} b = ({keep} * {b}) + ({gain} * last);",
            f"const {real} limit = {threshold} + ({rise} * b);",
            f"const {real} h = (({leak} * {v}) + ({input_} * x)) - (limit * last);",
            "const uint8_t fired = (h >= limit) ? 1U : 0U;",
            f"{b} = b;",
            f"{v} = h;",
            f"{y} = fired;",
        ]

    def _fire(self, v: str, threshold: str, after: str) -> list[str]:
        return [
            f"const uint8_t fired = (h >= {threshold}) ? 1U : 0U;",
            f"{v} = (fired != 0U) ? ({after}) : h;",
        ]

    def _kind(self, low: float, high: float, steps: int | None) -> str:
        if steps is not None:
            self.notes.append(
                f"Potentials of '{self.plan.nodes[self.place].name}' do not leak: they are proven to fit for "
                f"{steps:,} time steps after a reset."
            )
        return str(integer(low, high, "int32_t"))

    def _left(self, above: str, leak: Array, kind: str, product: float) -> str:
        """Return what is left of a potential above rest after a step."""
        bits = self.plan.bits
        assert bits is not None
        if np.all(leak == 2**bits):
            return above
        each = self._each("leak", leak, "int32_t")
        if product >= LARGEST:
            return f"({kind})left((int64_t){above}, {each}, {bits})"
        if kind == "int32_t" and product < 2.0**31:
            return f"shifted32({each} * {above}, {bits})"
        return f"({kind})shifted(({each} * (int64_t){above}), {bits})"

    def _potentials(self, kind: str, rest: Array, scale: int = 1) -> str:
        """Add potentials that begin at rest, and return the name of their array."""
        name, count, away = f"potential_{self.name}", self._count, bool(np.any(rest))
        self.memory.state(name, kind, count, self.place, rest=not away)
        if away:
            units = self.plan.nodes[self.place].shape[0]
            own = "int32_t" if kind == "int64_t" else kind
            back = self._each("rest", rest, own, unit=f"n % {units}")
            back = back if scale == 1 else f"({kind}){back} * {scale}"
            self.memory.starts += loop("n", count, [f"{name}[n] = {back};"])
        return name

    @property
    def _count(self) -> int:
        return math.prod(self.plan.nodes[self.place].shape)

    def _rest_of(self, what: str, share: Array) -> str:
        """Return 1 - a share, rounded once."""
        one = np.asarray(1, share.dtype)
        return self._each(what, one - share)

    def _each(self, what: str, numbers: Array, kind: str | None = None, unit: str = "u") -> str:
        return self.memory.each(f"{what}_{self.name}", kind or self.real, numbers, self.place, unit)

    def _scaled(self, what: str, numbers: Array, kind: str) -> str:
        """Return a whole number of each unit times 2^16."""
        if len(np.unique(numbers)) == 1:
            return f"({kind}){literal(int(numbers.reshape(-1)[0]) * SCALE, kind)}"
        return f"(({kind}){self._each(what, numbers, 'int32_t')} * {SCALE})"


def _bracketed(text: str) -> str:
    return text if text.isidentifier() else f"({text})"


FUNCTIONS = {
    "shifted32": """\
/* v / 2^places, rounded down. */
static int32_t shifted32(int32_t v, int32_t places)
{
    return (v < 0) ? ~((~v) >> places) : (v >> places);
}
""",
    "shifted": """\
/* v / 2^places, rounded down. */
static int64_t shifted(int64_t v, int32_t places)
{
    return (v < 0) ? ~((~v) >> places) : (v >> places);
}
""",
    "left": """\
/* leak v / 2^places, rounded down, where the product could exceed 64 bits. */
static int64_t left(int64_t v, int32_t leak, int32_t places)
{
    const int64_t high = shifted(v, places);
    const int64_t low = v - (high * ((int64_t)1 << places));
    return (leak * high) + ((leak * low) >> places);
}
""",
    "nearest": """\
/* v / 2^places, rounded to the nearest whole number, ties to even. */
static int64_t nearest(int64_t v, int32_t places)
{
    const int64_t one = (int64_t)1 << places;
    const int64_t down = shifted(v, places);
    const int64_t twice = 2 * (v - (down * one));
    return ((twice > one) || ((twice == one) && ((down % 2) != 0))) ? (down + 1) : down;
}
""",
    "nearest_real": """\
/* x rounded to the nearest whole number, ties to even; its magnitude is below 2^51. */
static int64_t nearest_real(double x)
{
    const double shift = 6755399441055744.0;
    return (int64_t)((x + shift) - shift);
}
""",
}
"""Functions that whole numbers need, each behind those that it calls."""
