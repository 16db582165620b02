"""From what a forward has shown to the topology: populations and projections with names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from snnprune.network.encounters import is_transposed
from snnprune.network.leaves import weight_shape
from snnprune.network.topology import OUTPUT, Handed, Inflow, Population, Projection, Topology, Weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snnprune.network.axes import Axis
    from snnprune.network.findings import Findings, Synapses
    from snnprune.network.layouts import Layouts
    from snnprune.network.places import Site
    from snnprune.network.units import Units


def assemble(found: Findings, layouts: Layouts, handed: list[Axis | None]) -> Topology:
    """Return the topology of what was found; ``handed`` is where the channels of each output are."""
    units = found.units
    names = {number: name_of(units, number) for number in units.roots()}
    ends = {units.root(number) for number in found.outputs}
    populations = {}
    for number, name in names.items():
        unit = units[number]
        kind: Any = "channels" if found.synapses[name].kind == "conv" else "neurons"
        populations[name] = Population(name, unit.size, kind, unit.producers, unit.slots, unit.frozen)
    projections = {}
    for name, synapses in found.synapses.items():
        post = populations[names[units.root(synapses.population)]]
        shape, site = weight_shape(synapses.module), _site(found, layouts, synapses, names)
        calls, (starts, lag) = len(synapses.entries), _delay(found, name, site)
        projections[name] = Projection(
            name,
            synapses.kind,  # type: ignore[arg-type]
            () if synapses.tied else _inflow(found, name, names),
            post.name,
            shape,
            layouts.of_a_sample(name, synapses.entries) // shape[0],
            synapses.neuron,
            _frozen(name, synapses, post),
            site,
            layouts[name, 0],
            max(calls, 1),
            _loops(layouts.loops_of(name, calls), calls, site, starts),
            starts,
            lag,
            output=units.root(synapses.population) in ends,
            transposed=synapses.kind == "conv" and is_transposed(synapses.module),
        )
    return Topology(
        populations,
        projections,
        found.unreached(),
        look=found.look,
        others=tuple(_others(found, layouts)),
        handed=tuple(_handed(axis, units, names) for axis in handed),
    )


def _others(found: Findings, layouts: Layouts) -> Iterator[Weights]:
    """Yield the parameters that the activity was multiplied with outside of projections."""
    held = {id(t) for synapses in found.synapses.values() for t in synapses.module.parameters()}
    for name, parameter in found.products.parameters():
        if id(parameter) not in held:
            yield Weights(name, parameter.numel(), layouts.products_of_a_sample(name))


def name_of(units: Units, number: int) -> str:
    """Return the name of the population with a number: that of the first layer that writes into it."""
    return units[number].producers[0]


def _handed(axis: Axis | None, units: Units, names: dict[int, str]) -> Handed | None:
    if axis is None or any(units.root(s.population) not in names for s in axis.spans):
        return None
    return Handed(axis.dim, tuple((names[units.root(s.population)], s.spread) for s in axis.spans))


def _frozen(name: str, synapses: Synapses, post: Population) -> str | None:
    """Return why single synapses may not die; in the output they may, though its units stay."""
    if synapses.tied:
        return f"{name} is depthwise: synapses die with their unit"
    return None if post.frozen == OUTPUT else post.frozen


def _inflow(found: Findings, name: str, names: dict[int, str]) -> tuple[Inflow, ...]:
    if getattr(found.synapses[name].module, "groups", 1) != 1:
        return ()  # a column is read from another unit in every group
    inflow, offset = [], 0
    for span in found.readings[name][0]:
        population = names.get(found.units.root(span.population))
        if population is not None:
            inflow.append(Inflow(population, offset, span.size, span.spread))
        offset += span.length
    return tuple(inflow)


def _loops(known: int | None, calls: int, site: Site | None, starts: int) -> int:
    """Return how many time steps the calls of a layer are: those of its neuron, if nothing else tells."""
    if known is not None:
        return known
    steps = 1 if site is None else site.steps - starts
    return steps if steps > 0 and calls % steps == 0 else 1


def _site(found: Findings, layouts: Layouts, synapses: Synapses, names: dict[int, str]) -> Site | None:
    """Tell the calls of one pass from those of later time steps, which come again in the same order."""
    if synapses.neuron is None or synapses.site is None:
        return None
    calls = found.neuron_calls[synapses.neuron]
    period = _period(found, calls, layouts.loops_of(synapses.neuron, len(calls)))
    behind = tuple(names[found.units.root(number)] for number in synapses.behind)
    return replace(
        synapses.site,
        call=synapses.site.call % period,
        calls=period,
        steps=len(calls) // period,
        layout=layouts[synapses.neuron, synapses.site.call],
        behind=behind,
    )


def _period(found: Findings, calls: list[frozenset[str]], loops: int | None) -> int:
    """Return how many calls of a neuron are one pass, by the layers that reach it at each of them.

    A recurrent layer may reach it only from a later pass on.

    Args:
        found: what was seen.
        calls: of the neuron.
        loops: how many time steps they are; None where the example takes no more steps.
    """
    for p in range(1, len(calls)):
        if len(calls) % p == 0 and (calls == calls[:p] * (len(calls) // p) or _grows(found, calls, p, loops)):
            return p
    return len(calls)


def _grows(found: Findings, calls: list[frozenset[str]], period: int, loops: int | None) -> bool:
    """Tell whether each pass is as the one before, or has recurrent layers that were not there before.

    Layers that are added up, one behind another, look alike: but each of them is called once.
    """
    if not all(a <= b for a, b in zip(calls, calls[period:], strict=False)):
        return False
    if loops is not None:
        return loops == len(calls) // period
    late = {s for n in range(period) for s in calls[n - period] - calls[n]}
    return all(sum(s in c for c in calls) <= len(found.synapses[s].entries) > 1 for s in late)


def _delay(found: Findings, name: str, site: Site | None) -> tuple[int, int]:
    """Return at how many first time steps a layer is not called, and how much later its neuron hears it."""
    synapses = found.synapses[name]
    if site is None or synapses.neuron is None:
        return 0, 0
    course = found.course[synapses.neuron]
    heard = [name in calls for calls in course]
    late = heard.index(True) // site.calls if True in heard else 0
    a_pass = max(sum(heard[-site.calls :]), 1)
    starts = max(site.steps - len(synapses.entries) // a_pass, 0) if late else 0
    return starts, max(late - starts, 0)
