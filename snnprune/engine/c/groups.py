"""The function of one group of nodes: sums of a row of places, then each number of the row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.engine.c.bounds import sums
from snnprune.engine.c.memory import loop
from snnprune.engine.c.pools import PoolWriter
from snnprune.engine.c.synapses import Synapses
from snnprune.engine.c.tables import table
from snnprune.engine.c.terms import Term, Terms
from snnprune.engine.c.values import integer
from snnprune.engine.plan import Flatten, Integrators, Layer, Neurons, Norm, Pool, Sum

if TYPE_CHECKING:
    from snnprune.engine.c.parts import Program
    from snnprune.engine.c.schedule import Group, Kept
    from snnprune.engine.plan import Node, Source


class GroupWriter:
    """Writes the function of one group.

    Args:
        made: the program, which gets constants and states.
        group: the group.
    """

    def __init__(self, made: Program, group: Group) -> None:
        self.made, self.group = made, group
        self.plan, self.order = made.plan, made.order
        self.sums: list[str] = []
        self.numbers: list[str] = []
        self.terms: dict[int, Term] = {}
        self.layers = 0

    def lines(self) -> list[str]:
        """Return the statements of the function."""
        root = self.plan.nodes[self.group.root]
        out = self.order.kept[self.group.root]
        if isinstance(root, Pool):
            name = self.order.names[self.group.root]
            writer = PoolWriter(self.made.memory, name, self.group.root, self.made.real)
            return writer.lines(root, self._kept(root, root.sources[0]), out)
        if isinstance(root, Flatten):
            return self._flattened(root, out)
        for place in self.group.members:
            self.terms[place] = self._member(place)
        units, height, width = root.shape
        places = [f"const int32_t n = (((oy * {width}) + ox) * {units}) + u;"]
        if self.layers:
            places.append(f"const int32_t j = (ox * {units}) + u;")
        store = f"out[n] = {self._stored(self.terms[self.group.root], out)};"
        body = loop("ox", width, loop("u", units, [*places, *self.numbers, store]))
        return [f"{out.kind} *const out = {out.at()};", *loop("oy", height, [*self.sums, *body])]

    def _flattened(self, node: Flatten, out: Kept) -> list[str]:
        """Return statements that bring numbers into the order channels, height, width."""
        source = self._kept(node, node.sources[0])
        channels, height, width = source.shape
        value = Term(f"in[(((oy * {width}) + ox) * {channels}) + u]", source.values, source.kind)
        store = f"out[(((u * {height}) + oy) * {width}) + ox] = {self._stored(value, out)};"
        return [
            f"const {source.kind} *const in = {source.at()};",
            f"{out.kind} *const out = {out.at()};",
            *loop("oy", height, loop("ox", width, loop("u", channels, [store]))),
        ]

    def _stored(self, term: Term, out: Kept) -> str:
        """Return a number as it is kept."""
        if not out.values.whole:
            return term.real(self.made.real)
        return term.text if term.kind == out.kind else f"({out.kind}){term.text}"

    def _member(self, place: int) -> Term:
        """Write a node of the group, and return what it hands on."""
        node, values = self.plan.nodes[place], self.made.values[place]
        terms = Terms(self.plan, self.made.memory, self.order.names[place], place, self.made.notes)
        first = [] if isinstance(node, Layer) else [self._read(node, source) for source in node.sources]
        match node:
            case Layer():
                term = self._layer(node, terms)
            case Sum():
                term = terms.sum(first, values)
            case Norm():
                term = terms.norm(node, first[0], values)
            case Neurons():
                self.numbers += terms.neurons(node, first[0])
                return Term("fired", values, "uint8_t")
            case Integrators():
                lines, text = terms.integrators(node, first[0])
                self.numbers += lines
                term = Term(text, values, self.made.real)
            case _:
                raise AssertionError(node)
        self.numbers.append(f"const {term.kind} y{place} = {term.text};")
        return Term(f"y{place}", term.values, term.kind)

    def _layer(self, node: Layer, terms: Terms) -> Term:
        """Write the sums of a layer, and return what it hands on."""
        source, real = self._kept(node, node.sources[0]), self.made.real
        whole, kind, shift = self.plan.bits is not None, real, 0
        if whole:
            found = sums(node, source.values)
            kind, shift = str(integer(found.low, found.high, "int32_t")), found.shift
        row = self.made.row(kind, self.layers, node.shape[0] * node.shape[2])
        self.layers += 1
        weights = table(self.made.memory, node, source.shape, (terms.name, terms.place, real), whole=whole)
        self.made.tables[terms.place] = weights
        self.sums += Synapses(node, weights, row, kind, source, real, whole).lines()
        return terms.layer(node, f"{row}[j]", shift, self.made.values[terms.place])

    def _read(self, node: Node, source: Source) -> Term:
        """Return the number at this place of what a pointwise node reads."""
        if source.node in self.terms and not source.delay:
            return self.terms[source.node]
        kept = self._kept(node, source)
        name = f"a{source.node + 1}" + ("_last" if source.delay else "")
        offset = f"{kept.offset} + " if kept.offset else ""
        line = f"const {kept.kind} {name} = {kept.array}[{offset}n];"
        if line not in self.numbers:
            self.numbers.append(line)
        return Term(name, kept.values, kept.kind)

    def _kept(self, node: Node, source: Source) -> Kept:
        return self.order.source(source, node, self.group)
