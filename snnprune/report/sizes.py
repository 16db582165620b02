"""What is left of a network, on the pages of a run and of a pruner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.report.page import Number

if TYPE_CHECKING:
    from snnprune.runs.size import Size
    from snnprune.runs.summary import Summary

HEAD = ("layer", "weights", "left", "pruned", "neurons left")
"""Headers of the columns of `rows`."""


def share(key: str, label: str, left: int, dense: int) -> Number:
    """Return the share that is left."""
    return Number(key, f"{left / max(dense, 1):.1%}", label, f"{left:,} of {dense:,}")


def shares(size: Size | Summary) -> list[Number]:
    """Return the shares of weights and of units that are left."""
    left, dense = (sum(column) for column in zip(*size.neurons_left.values(), strict=True))
    return [
        share("weights", "of the weights are left", size.weights_left, size.weights_dense),
        share("units", "of the neurons and channels are left", left, dense),
    ]


def rows(size: Size | Summary) -> list[list[str]]:
    """Return a row for each layer."""
    found = []
    for name, layer in size.layers.items():
        units = size.neurons_left.get(name)
        found.append(
            [
                name,
                f"{layer.dense:,}",
                f"{layer.left:,}",
                f"{1 - layer.left / layer.dense:.1%}",
                "-" if units is None else f"{units[0]:,} of {units[1]:,}",
            ]
        )
    return found
