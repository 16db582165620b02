"""A plan without what its answer does not need, whose linear layers read what others flatten for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from snnprune.engine.plan import INPUT, Flatten, Linear, Source

if TYPE_CHECKING:
    from snnprune.engine.plan import Plan


def direct(plan: Plan) -> Plan:
    """Return the same network with its nodes renumbered.

    A linear layer behind a flatten reads numbers in the order height, width, channels, in which they lie, so
    its weights have to be brought into this order.
    """
    read = [
        tuple(_seen(plan, place, source) for source in node.sources) for place, node in enumerate(plan.nodes)
    ]
    needed, ahead = set(), [plan.output]
    while ahead:
        place = ahead.pop()
        if place != INPUT and place not in needed:
            needed.add(place)
            ahead += [source.node for source in read[place]]
    order = sorted(needed)
    new = {INPUT: INPUT} | {place: number for number, place in enumerate(order)}
    nodes = tuple(
        replace(
            plan.nodes[place], sources=tuple(replace(source, node=new[source.node]) for source in read[place])
        )
        for place in order
    )
    return replace(plan, nodes=nodes, output=new[plan.output])


def _seen(plan: Plan, reader: int, source: Source) -> Source:
    """Return what a node reads, through what only flattens it for a linear layer."""
    while isinstance(plan.nodes[reader], Linear) and source.node != INPUT:
        node = plan.nodes[source.node]
        if not isinstance(node, Flatten) or source.delay + node.sources[0].delay > 1:
            break
        source = replace(node.sources[0], delay=1 if source.delay or node.sources[0].delay else 0)
    return source
