"""What the layers of a network read, the output layer included, and what units are to their readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.network.runs import summed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from snnprune.network.runs import Run
    from snnprune.network.topology import Population, Projection
    from snnprune.pruning.view import View


def inputs(view: View) -> Iterator[tuple[Projection, Tensor]]:
    """Yield layers with the activity of their inputs in this batch, [..., B, columns].

    The output layer has no neuron and is not recorded. It reads what the layer before it puts out, and is
    yielded with that where each of its inputs is a unit of one recorded layer.
    """
    for name, activity in view.traces.items():
        yield view.topology.projections[name], activity.pre
    for p in view.topology.projections.values():
        pre = _before_output(p, view) if p.output else None
        if pre is not None:
            yield p, pre


def at_readers(population: Population, view: View, products: Mapping[str, Tensor]) -> Tensor | None:
    """Return for each unit the sum over the synapses that read it, [size].

    Where no layer with ``products`` reads the population, it is the sum over the synapses of the unit itself.

    Args:
        population: of the units.
        view: the network.
        products: a number for each synapse, in the shapes of the weights, by projection.

    Returns:
        None where neither its readers nor its own layers have ``products``.
    """
    readers = [p for p in view.topology.outgoing(population.name) if p.name in products]
    ends: list[tuple[tuple[Run, ...], Tensor]] = [
        (p.inflow, products[p.name].transpose(0, 1)) for p in readers
    ]
    if not ends:
        incoming = view.topology.incoming(population.name)
        ends = [(p.outflow, products[p.name]) for p in incoming if p.name in products]
    sums = [summed(runs, population.name, product.flatten(1).sum(1)) for runs, product in ends]
    return torch.stack(sums).sum(0) if sums else None


def _before_output(projection: Projection, view: View) -> Tensor | None:
    parts: list[tuple[int, Tensor]] = []
    for run in projection.inflow:
        writers = [p for p in view.topology.incoming(run.population) if p.name in view.traces]
        if len(writers) != 1 or run.length != run.size:
            return None
        rows = writers[0].outflow
        if len(rows) != 1 or rows[0].length != run.size:
            return None
        parts.append((run.offset, view.traces[writers[0].name].post))
    parts.sort(key=lambda part: part[0])
    whole = sum(post.shape[-1] for _, post in parts) == projection.columns
    return torch.cat([post for _, post in parts], -1) if whole and parts else None
