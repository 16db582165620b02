"""The topology of the same network with other numbers of units: after a cut, or before one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from snnprune.network.topology import Inflow, Population, Projection, Topology

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snnprune.network.places import Site


@dataclass(frozen=True)
class Segment:
    """A run of entries on one axis of a tensor that a population indexes.

    Attributes:
        population: its name.
        offset: first entry.
        spread: entries per unit.
    """

    population: str
    offset: int
    spread: int


Segments = dict[str, dict[int, list[Segment]]]


def segments(topology: Topology) -> Segments:
    """Return the slots of all populations by tensor (its key in the state_dict) and axis, by offset."""
    found: dict[str, dict[int, set[Segment]]] = defaultdict(lambda: defaultdict(set))
    for population in topology.populations.values():
        for slot in population.slots:
            found[slot.key][slot.axis].add(Segment(population.name, slot.offset, slot.spread))
    found.update({alias: found[key] for alias, key in topology.aliases.items() if key in found})
    return {
        key: {axis: sorted(on, key=lambda s: s.offset) for axis, on in axes.items()}
        for key, axes in found.items()
    }


def resized(topology: Topology, sizes: Mapping[str, int]) -> Topology:
    """Return ``topology`` with other numbers of units; entries that belong to no population stay.

    Args:
        topology: topology of the present network.
        sizes: number of units by population; populations not named keep theirs.
    """
    grown = _Growth(topology, sizes)
    populations = {p.name: _population(p, grown) for p in topology.populations.values()}
    projections = {p.name: _projection(p, grown) for p in topology.projections.values()}
    return replace(topology, populations=populations, projections=projections)


def resized_shape(
    topology: Topology, sizes: Mapping[str, int], key: str, shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the shape of tensor ``key``, now ``shape``, with ``sizes`` units by population."""
    grown = _Growth(topology, sizes)
    return tuple(length + grown.before(key, axis) for axis, length in enumerate(shape))


class _Growth:
    def __init__(self, topology: Topology, sizes: Mapping[str, int]) -> None:
        self.sizes = {p.name: sizes.get(p.name, p.size) for p in topology.populations.values()}
        self.change = {p.name: self.sizes[p.name] - p.size for p in topology.populations.values()}
        self.segments = segments(topology)

    def before(self, key: str, axis: int, offset: float = float("inf")) -> int:
        """Return by how many entries an axis grows before ``offset``."""
        on = self.segments.get(key, {}).get(axis, [])
        return sum(self.change[s.population] * s.spread for s in on if s.offset < offset)


def _population(p: Population, grown: _Growth) -> Population:
    slots = [replace(s, offset=s.offset + grown.before(s.key, s.axis, s.offset)) for s in p.slots]
    return replace(p, size=grown.sizes[p.name], producers=list(p.producers), slots=slots)


def _projection(p: Projection, grown: _Growth) -> Projection:
    inflow = tuple(
        Inflow(
            i.population,
            i.offset + grown.before(p.weight, p.axes[1], i.offset),
            grown.sizes[i.population],
            i.spread,
        )
        for i in p.inflow
    )
    axes = (*p.axes, *range(2, len(p.shape)))
    shape = tuple(length + grown.before(p.weight, a) for length, a in zip(p.shape, axes, strict=True))
    return replace(p, inflow=inflow, shape=shape, site=_site(p, grown))


def _site(p: Projection, grown: _Growth) -> Site | None:
    if p.site is None:
        return None
    shift = sum(grown.change[name] for name in p.site.behind)
    return replace(p.site, offset=p.site.offset + shift, size=grown.sizes[p.post])
