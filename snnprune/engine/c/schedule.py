"""In which order nodes are computed, what is computed row by row in one go, and where results are kept.

Currents are never kept for a whole map. A layer, what is added to it or scaled in it, and the neurons that
read it are one group, computed row by row: a row of currents is all that is held.

A result lies where another one has lain that is no longer read. Results that a later time step reads have
places of their own.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snnprune.engine.c.values import integer, real_of
from snnprune.engine.plan import INPUT, Flatten, Integrators, Layer, Neurons, Norm, Sum

if TYPE_CHECKING:
    from snnprune.engine.c.values import Values
    from snnprune.engine.plan import Node, Plan, Shape, Source

POINTWISE = (Sum, Norm, Neurons, Integrators)
"""Nodes that make each number of the numbers at the same place."""


@dataclass(frozen=True)
class Group:
    """Nodes that are computed together.

    Attributes:
        root: place of the node whose results are kept.
        members: places of all nodes of the group, in the order of the plan, the root last.
    """

    root: int
    members: tuple[int, ...]


@dataclass(frozen=True)
class Kept:
    """Where the results of a node are.

    Attributes:
        array: name of the array.
        offset: of the first of them.
        kind: C type.
        shape: channels, height, width. Results stand in the order height, width, channels.
        values: what they are.
    """

    array: str
    offset: int
    kind: str
    shape: Shape
    values: Values

    @property
    def count(self) -> int:
        """Number of results."""
        return math.prod(self.shape)

    def at(self) -> str:
        """Return the address of the first result in C."""
        return f"&{self.array}[{self.offset}]" if self.offset else self.array


@dataclass
class Schedule:
    """What is computed when, and kept where.

    Attributes:
        groups: in the order in which they are computed.
        names: a name in C for each node.
        kept: results by the place of the node that owns them.
        owner: for each node that is kept, or is another shape of one that is, the place of the owner.
        copied: owners whose results of the last step are copied before a step.
        arrays: name, C type and length of the arrays that results share or own.
    """

    groups: list[Group]
    names: list[str]
    kept: dict[int, Kept] = field(default_factory=dict)
    owner: dict[int, int] = field(default_factory=dict)
    copied: dict[int, Kept] = field(default_factory=dict)
    arrays: list[tuple[str, str, int, int | None]] = field(default_factory=list)

    def source(self, source: Source, node: Node, group: Group) -> Kept:
        """Return where ``node`` of ``group`` finds what it reads."""
        owner = self.owner[source.node]
        if source.delay and _overwritten(owner, node, group.root):
            return self.copied[owner]
        return self.kept[owner]


def schedule(plan: Plan, values: dict[int, Values]) -> Schedule:
    """Plan the order and the memory of a time step."""
    readers = _readers(plan)
    same = _other_shapes(plan, readers)
    into = _fused(plan, readers, same)
    groups = _groups(plan, into, same)
    made = Schedule(groups, _names(plan))
    made.owner = {INPUT: INPUT}
    for place in range(len(plan.nodes)):
        source = same.get(place)
        made.owner[place] = place if source is None else made.owner[source]
    _keep(plan, values, made)
    return made


def _readers(plan: Plan) -> dict[int, list[tuple[int, Source]]]:
    found: dict[int, list[tuple[int, Source]]] = {place: [] for place in range(INPUT, len(plan.nodes))}
    for place, node in enumerate(plan.nodes):
        for source in node.sources:
            found[source.node].append((place, source))
    return found


def _other_shapes(plan: Plan, readers: dict[int, list[tuple[int, Source]]]) -> dict[int, int]:
    """Return nodes that flatten what is in order already, with what they flatten."""
    found = {}
    for place, node in enumerate(plan.nodes):
        if not isinstance(node, Flatten) or node.sources[0].delay:
            continue
        channels, height, width = plan.shape_of(node.sources[0])
        late = any(source.delay for _, source in readers[place])
        if not late and (channels == 1 or height * width == 1):
            found[place] = node.sources[0].node
    return found


def _fused(plan: Plan, readers: dict[int, list[tuple[int, Source]]], same: dict[int, int]) -> dict[int, int]:
    """Return nodes whose results are used up row by row, with their readers."""
    found = {}
    for place, node in enumerate(plan.nodes):
        if not isinstance(node, (Layer, Sum, Norm)) or place == plan.output or len(readers[place]) != 1:
            continue
        ((reader, source),) = readers[place]
        if not source.delay and reader not in same and isinstance(plan.nodes[reader], POINTWISE):
            found[place] = reader
    return found


def _groups(plan: Plan, into: dict[int, int], same: dict[int, int]) -> list[Group]:
    members: dict[int, list[int]] = {}
    for place in range(len(plan.nodes)):
        if place not in same:
            root = place
            while root in into:
                root = into[root]
            members.setdefault(root, []).append(place)
    return [Group(root, tuple(sorted(members[root]))) for root in sorted(members)]


def _names(plan: Plan) -> list[str]:
    found: list[str] = []
    for place, node in enumerate(plan.nodes):
        name = re.sub(r"\W+", "_", node.name, flags=re.ASCII) or str(place)
        found.append(name if name not in found else f"{name}_{place}")
    return found


def _overwritten(owner: int, node: Node, root: int) -> bool:
    """Tell whether results of the last step are gone when ``node`` reads them, in the group of ``root``."""
    one_row = isinstance(node, Layer) and node.shape[1] == 1
    reads_first = isinstance(node, POINTWISE) or one_row
    return owner < root or (owner == root and not reads_first)


def _keep(plan: Plan, values: dict[int, Values], made: Schedule) -> None:
    """Find a place for the input and the results of each group."""
    last: dict[int, int] = {}
    late: set[int] = set()
    roots = {place: group.root for group in made.groups for place in group.members}
    for place, root in roots.items():
        node = plan.nodes[place]
        for source in node.sources:
            owner = made.owner[source.node]
            last[owner] = max(last.get(owner, -1), root)
            if source.delay:
                late.add(owner)
                if _overwritten(owner, node, root):
                    made.copied[owner] = _kept(plan, values, made, owner, "last")
    own = late | {INPUT}
    last[made.owner[plan.output]] = len(plan.nodes)
    for owner in sorted(own):
        made.kept[owner] = _kept(plan, values, made, owner, "out" if owner >= 0 else "")
    for owner in made.copied:
        kept = made.copied[owner]
        made.arrays.append((kept.array, kept.kind, kept.count, owner))
    made.arrays += [(k.array, k.kind, k.count, p) for p, k in made.kept.items()]
    spans: dict[str, list[tuple[int, int, int]]] = {}
    for group in made.groups:
        if group.root not in own:
            kept = _kept(plan, values, made, group.root, "shared")
            spans.setdefault(kept.kind, []).append((group.root, last.get(group.root, group.root), kept.count))
    for kind, wanted in spans.items():
        array = f"shared_{kind.removesuffix('_t')}"
        offsets, length = _packed(wanted)
        made.arrays.append((array, kind, length, None))
        for root, offset in offsets.items():
            shape = plan.nodes[root].shape
            made.kept[root] = Kept(array, offset, kind, shape, values[root])


def _kept(plan: Plan, values: dict[int, Values], made: Schedule, owner: int, what: str) -> Kept:
    shape = plan.shape if owner == INPUT else plan.nodes[owner].shape
    name = "input" if owner == INPUT else f"{what}_{made.names[owner]}"
    return Kept(name, 0, kind_of(plan, values[owner]), shape, values[owner])


def kind_of(plan: Plan, values: Values) -> str:
    """Return the C type that results of this kind are kept in."""
    kind = integer(values.low, values.high) if values.whole else None
    return kind or real_of(plan)


def _packed(wanted: list[tuple[int, int, int]]) -> tuple[dict[int, int], int]:
    """Return offsets for results (root, last reader, count) that overlap in time, and the length in all.

    The largest is placed first, each at the lowest free place.
    """
    placed: list[tuple[int, int, int, int]] = []
    for first, last, count in sorted(wanted, key=lambda one: (-one[2], one[0])):
        offset = 0
        for other, until, begin, size in sorted(placed, key=lambda one: one[2]):
            together = first <= until and other <= last
            if together and begin < offset + count and offset < begin + size:
                offset = begin + size
        placed.append((first, last, offset, count))
    return {first: offset for first, _, offset, _ in placed}, max(o + c for _, _, o, c in placed)
