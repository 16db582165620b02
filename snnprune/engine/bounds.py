"""Whole numbers: how large the values of a network may be for all of its sums to be exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnprune.common.errors import UserError
from snnprune.engine.plan import INPUT, PLACES, Flatten, Integrators, Layer, Neurons, Norm, Pool, Sum

if TYPE_CHECKING:
    from snnprune.engine.plan import Plan

LARGEST_SUM, LARGEST_CURRENT, LARGEST_POTENTIAL = 2.0**48, 2.0**53, 2.0**62
"""Of a layer, of what neurons read, and of a potential, in units of 2^-16 steps."""


def refuse_inexact(plan: Plan, top: float, steps: int) -> None:
    """Refuse inputs with which sums in whole numbers might not be exact.

    Args:
        plan: a network in whole numbers.
        top: the largest magnitude of its input.
        steps: how many steps potentials are added to.

    Raises:
        UserError: a layer's sum or a potential might be too large.
    """
    tops = {INPUT: top}
    for _ in range(2 if any(s.delay for node in plan.nodes for s in node.sources) else 1):
        for i, node in enumerate(plan.nodes):
            read = [tops.get(source.node, 0.0) for source in node.sources]
            tops[i] = _top(plan, i, read, steps)


def _top(  # noqa: PLR0911 - one for each kind
    plan: Plan, i: int, read: list[float], steps: int
) -> float:
    """Return a bound of what a node hands on."""
    node = plan.nodes[i]
    match node:
        case Layer():
            numbers = read[0] * 2.0**PLACES + 0.5
            weights = np.abs(node.weights.astype(np.float64)).reshape(len(node.weights), -1).sum(1).max()
            offset = 0.0 if node.biases is None else float(np.abs(node.biases).max(initial=0)) * 2.0**PLACES
            total = float(weights) * numbers + offset
            if not total < LARGEST_SUM:
                raise UserError(
                    f"layer '{node.name}' reads values of up to {read[0]:g}, with which its sums are not "
                    "exact: choose fewer --bits or smaller inputs"
                )
            if node.whole:
                return total
            assert node.steps is not None
            return total * float(np.abs(node.steps).max()) / 2.0**PLACES
        case Neurons() | Integrators():
            if not read[0] < min(LARGEST_CURRENT, LARGEST_POTENTIAL / max(steps, 1)):
                raise UserError(
                    f"neurons '{node.name}' read currents of up to {read[0] / 2**PLACES:g} steps, with which "
                    "their potentials are not exact: choose fewer --bits or smaller inputs"
                )
            if isinstance(node, Neurons):
                return 1.0
            assert node.steps is not None
            return read[0] * steps * float(np.abs(node.steps).max()) / 2.0**PLACES
        case Sum():
            return sum(read)
        case Norm():
            own = (read[0] + np.abs(node.mean)) * np.abs(node.scale) + np.abs(node.shift)
            return float(own.max())
        case Pool() | Flatten():
            return read[0]
    raise AssertionError(node)
