"""What the layers of a network read, the output layer included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from snnprune.network.topology import Projection
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
