"""The topology of the same network with other numbers of units: after a cut, or before one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from snnprune.network.runs import Run, left_along, resized_along

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snnprune.network.places import Site
    from snnprune.network.topology import Population, Projection, Slot, Topology


Segments = dict[str, dict[int, list[Run]]]


def segments(topology: Topology) -> Segments:
    """Return the slots of all populations, as runs by tensor (its key in the state_dict) and axis."""
    found: dict[str, dict[int, dict[Run, None]]] = defaultdict(lambda: defaultdict(dict))
    for population in topology.populations.values():
        for slot in population.slots:
            found[slot.key][slot.axis][slot.run(population)] = None
    found.update({alias: found[key] for alias, key in topology.aliases.items() if key in found})
    return {key: {axis: list(on) for axis, on in axes.items()} for key, axes in found.items()}


def resized(topology: Topology, sizes: Mapping[str, int]) -> Topology:
    """Return ``topology`` with other numbers of units; entries that belong to no population stay.

    Args:
        topology: topology of the present network.
        sizes: number of units by population; populations not named keep theirs.
    """
    grown = _Growth(topology, sizes)
    populations = {p.name: _population(p, grown) for p in topology.populations.values()}
    projections = {p.name: _projection(p, grown) for p in topology.projections.values()}
    handed = tuple(h and replace(h, runs=resized_along(h.runs, grown.sizes)) for h in topology.handed)
    return replace(topology, populations=populations, projections=projections, handed=handed)


def resized_shape(
    topology: Topology, sizes: Mapping[str, int], key: str, shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the shape of tensor ``key``, now ``shape``, with ``sizes`` units by population."""
    return _Growth(topology, sizes).shape(key, shape)


class _Growth:
    def __init__(self, topology: Topology, sizes: Mapping[str, int]) -> None:
        self.sizes = {p.name: sizes.get(p.name, p.size) for p in topology.populations.values()}
        self.segments = segments(topology)
        self._after: dict[tuple[str, int], dict[Run, Run]] = {}

    def shape(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return what a tensor's shape becomes."""
        on = self.segments.get(key, {})
        return tuple(self.length(length, on.get(axis, [])) for axis, length in enumerate(shape))

    def length(self, length: int, runs: list[Run]) -> int:
        return round(left_along(length, runs, self.sizes))

    def slot(self, slot: Slot, population: Population) -> Slot:
        place = slot.key, slot.axis
        if place not in self._after:
            runs = self.segments[slot.key][slot.axis]
            self._after[place] = dict(zip(runs, resized_along(runs, self.sizes), strict=True))
        run = self._after[place][slot.run(population)]
        return replace(slot, offset=run.offset, spread=run.spread, repeats=run.repeats)


def _population(p: Population, grown: _Growth) -> Population:
    slots = [grown.slot(s, p) for s in p.slots]
    return replace(p, size=grown.sizes[p.name], producers=list(p.producers), slots=slots)


def _projection(p: Projection, grown: _Growth) -> Projection:
    inflow, outflow = resized_along(p.inflow, grown.sizes), resized_along(p.outflow, grown.sizes)
    axes = (*p.axes, *range(2, len(p.shape)))
    on = grown.segments.get(p.weight, {})
    shape = tuple(grown.length(length, on.get(a, [])) for length, a in zip(p.shape, axes, strict=True))
    return replace(p, inflow=inflow, outflow=outflow, shape=shape, site=_site(p, grown.sizes))


def _site(p: Projection, sizes: Mapping[str, int]) -> Site | None:
    if p.site is None:
        return None
    return replace(
        p.site,
        offset=round(left_along(p.site.offset, p.site.behind, sizes)),
        size=round(left_along(p.site.size, p.outflow, sizes)),
        behind=resized_along(p.site.behind, sizes),
    )
