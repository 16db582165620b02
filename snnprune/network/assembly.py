"""From what a forward has shown to the topology: populations and projections with names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from snnprune.network.axes import Span, runs_of
from snnprune.network.encounters import is_transposed
from snnprune.network.leaves import weight_shape
from snnprune.network.runs import Kind, Run
from snnprune.network.topology import (
    OUTPUT,
    Handed,
    Inflow,
    Outflow,
    Population,
    Projection,
    Topology,
    Weights,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from snnprune.network.axes import Axis, Places
    from snnprune.network.findings import Findings, Synapses
    from snnprune.network.layouts import Layouts
    from snnprune.network.places import Site
    from snnprune.network.units import Units


def assemble(found: Findings, layouts: Layouts, handed: list[Axis | None]) -> Topology:
    """Return the topology of what was found; ``handed`` is where the channels of each output are."""
    units = found.units
    names = names_of(units)
    ends = units.left(found.outputs)
    populations = {}
    for number, name in names.items():
        unit = units[number]
        populations[name] = Population(
            name, unit.size, unit.kind, unit.producers, unit.slots, unit.frozen, contracted=unit.contracted
        )
    projections = {}
    for name, synapses in found.synapses.items():
        shape, site = weight_shape(synapses.module), _site(found, layouts, synapses, names)
        outflow = _runs(units.resolved([Span(((synapses.population, shape[0]),))]), names, Outflow)
        owners = [populations[run.population] for run in outflow]
        alone = len(outflow) == 1 and outflow[0].length == outflow[0].size
        calls, (starts, lag) = len(synapses.entries), _delay(found, name, site)
        projections[name] = Projection(
            name,
            synapses.kind,  # type: ignore[arg-type]
            () if synapses.tied else _inflow(found, name, names),
            owners[0].name if alone else "",
            shape,
            layouts.of_a_sample(name, synapses.entries or _later(synapses)) // shape[0],
            synapses.neuron,
            _frozen(name, synapses, owners),
            site,
            layouts[name, 0],
            max(calls, 1),
            _loops(layouts.loops_of(name, calls), calls, site, starts),
            starts,
            lag,
            output=bool(units.left([synapses.population]) & ends),
            transposed=synapses.kind == "conv" and is_transposed(synapses.module),
            outflow=outflow,
        )
    return Topology(
        populations,
        projections,
        found.unreached(),
        look=found.look,
        others=tuple(_others(found, layouts)),
        handed=tuple(_handed(axis, units, names) for axis in handed),
    )


def _later(synapses: Synapses) -> list[int]:
    """Return the entries of the outputs in the first further forward: of synapses that feed back in time."""
    return next(iter(synapses.later.values()), [])


def _others(found: Findings, layouts: Layouts) -> Iterator[Weights]:
    """Yield the parameters that the activity was multiplied with outside of projections."""
    held = {id(t) for synapses in found.synapses.values() for t in synapses.module.parameters()}
    for name, parameter in found.products.parameters():
        if id(parameter) not in held:
            yield Weights(name, parameter.numel(), layouts.products_of_a_sample(name))


def names_of(units: Units) -> dict[int, str]:
    """Return the name of each population, by its number: that of the first layer that writes into it.

    Heads and the channels inside heads say so behind it.
    """
    names: dict[int, str] = {}
    for number in units.roots():
        unit = units[number]
        name = unit.producers[0] + _SUFFIXES.get(unit.kind, "")
        again = sum(other == name or other.startswith(f"{name}.") for other in names.values())
        names[number] = f"{name}.{again + 1}" if again and unit.is_part else name
    return names


_SUFFIXES = {"heads": ".heads", "head channels": ".channels"}


def runs_on(units: Units, places: Places) -> tuple[tuple[int, tuple[Run, ...]], ...]:
    """Return axes with the runs of the populations on each of them."""
    names = names_of(units)
    return tuple((dim, _runs(units.resolved(spans), names, Run)) for dim, spans in places)


def _runs(spans: Iterable[Span], names: Mapping[int, str], kind: type[Kind]) -> tuple[Kind, ...]:
    """Return the runs of the populations on an axis; what only may stand for one has none."""
    return tuple(
        kind(names[number], run.offset, run.size, run.spread, run.repeats)
        for number, run in runs_of(spans)
        if number in names
    )


def _handed(axis: Axis | None, units: Units, names: dict[int, str]) -> Handed | None:
    if axis is None or not axis.is_whole or any(number not in names for number in axis.numbers):
        return None
    return Handed(axis.dim, _runs(units.resolved(axis.spans), names, Run))


def _frozen(name: str, synapses: Synapses, owners: list[Population]) -> str | None:
    """Return why single synapses may not die; in the output they may, though its units stay."""
    if synapses.tied:
        return f"{name} is depthwise: synapses die with their unit"
    if any(p.frozen is None for p in owners):
        return None
    return next((p.frozen for p in owners if p.frozen != OUTPUT), None)


def _inflow(found: Findings, name: str, names: dict[int, str]) -> tuple[Inflow, ...]:
    if getattr(found.synapses[name].module, "groups", 1) != 1:
        return ()  # a column is read from another unit in every group
    return _runs(found.units.resolved(found.readings[name][0]), names, Inflow)


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
    behind = _runs(found.units.resolved(synapses.behind), names, Run)
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
