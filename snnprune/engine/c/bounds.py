"""Bounds of the numbers of a plan, proven from its weights: which C types are wide enough.

In whole numbers, with P and N the sums of a unit's positive and negative weights, and inputs from l <= 0 to
h >= 0, no partial sum of the unit lies outside of [P l + N h, P h + N l]. With a = L / 2^bits < 1 and
currents from c to C, what a potential is above rest stays between (c - 1) / (1 - a) and C / (1 - a).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from snnprune.common.errors import UserError
from snnprune.engine.c.values import LARGEST, MOST_COUNTS, SPIKES, Values
from snnprune.engine.plan import INPUT, PLACES, Flatten, Integrators, Layer, Neurons, Norm, Pool, Sum

if TYPE_CHECKING:
    from snnprune.engine.plan import Array, Node, Plan

SCALE = 2.0**PLACES

MOST_PLACES = 24
"""Binary places beyond which averages are real numbers."""

ROUNDED = 2.0**50
"""Bound of real numbers that are rounded to whole ones."""

EXACT = {4: 2.0**24, 8: 2.0**53}
"""Up to where a real number of so many bytes holds each whole number."""


@dataclass(frozen=True)
class Sums:
    """What a layer sums in whole numbers.

    Attributes:
        low: the smallest of all partial sums.
        high: the largest.
        current: what becomes of them: times 2^`shift`, and biases.
        shift: 16 - the binary places of what the layer reads; 0 where it reads numbers of 16 places.
    """

    low: float
    high: float
    current: Values
    shift: int


@dataclass(frozen=True)
class Potentials:
    """Bounds of potentials in whole numbers.

    Attributes:
        low: the smallest potential, stored or not yet reset, or threshold.
        high: the largest of these.
        above: the largest magnitude of a potential above its rest, times the leak.
        steps: for how many time steps the bounds hold; None for ever.
    """

    low: float
    high: float
    above: float
    steps: int | None = None


def values_of(plan: Plan, *, counts: bool) -> dict[int, Values]:
    """Return what each node hands on, by its place, and what comes in by `INPUT`.

    Args:
        plan: the network.
        counts: whether the input is counts of events; else it is real.

    Raises:
        UserError: a node that cannot be computed exactly.
    """
    span = Values(0.0, MOST_COUNTS) if counts else _real(plan, -MOST_COUNTS, MOST_COUNTS)
    found = {INPUT: span}
    for node in plan.nodes:
        if any(source.node == INPUT and source.delay for source in node.sources):
            raise UserError(f"C cannot be written of '{node.name}': it reads the input of the last step")
    ahead = {s.node for place, node in enumerate(plan.nodes) for s in node.sources if s.node >= place}
    for place in ahead:
        found[place] = _of_last_step(plan, plan.nodes[place])
    for place, node in enumerate(plan.nodes):
        own = _of(plan, node, [found[source.node] for source in node.sources])
        found[place] = found.get(place, own)
    return found


def sums(layer: Layer, read: Values) -> Sums:
    """Return what ``layer`` sums of ``read`` in a plan of whole numbers.

    Raises:
        UserError: a sum could be too large for 64 bits.
    """
    weights = layer.weights.reshape(len(layer.weights), -1).astype(np.float64)
    positive, negative = weights.clip(min=0).sum(1), weights.clip(max=0).sum(1)
    fine = not read.whole or read.places > PLACES
    if fine:
        low, high = math.floor(read.least * SCALE), math.ceil(read.most * SCALE)
    else:
        low, high = int(read.low), int(read.high)
    if not read.whole and max(-low, high) >= ROUNDED:
        raise UserError(
            f"C cannot be written of layer '{layer.name}': it could read values too large to round"
        )
    least, most = min(low, 0), max(high, 0)
    smallest, largest = positive * least + negative * most, positive * most + negative * least
    shift = 0 if fine else PLACES - read.places
    biases = 0.0 if layer.biases is None else layer.biases.astype(np.float64) * SCALE
    ends = smallest * 2.0**shift + biases, largest * 2.0**shift + biases
    low_sum, high_sum = float(smallest.min()), float(largest.max())
    current = Values(float(np.min(ends)), float(np.max(ends)))
    if max(-current.low, current.high, -low_sum, high_sum) >= LARGEST:
        raise UserError(f"C cannot be written of layer '{layer.name}': its sums could exceed 64 bits")
    return Sums(low_sum, high_sum, current, shift)


def currents(read: Values) -> Values:
    """Return what neurons make of what they read in a plan of whole numbers, rounded to whole numbers."""
    return Values(math.floor(read.least), math.ceil(read.most))


def potentials(plan: Plan, node: Neurons | Integrators, read: Values) -> Potentials:
    """Return bounds of the potentials of ``node`` in a plan of whole numbers.

    Raises:
        UserError: potentials could be too large for 64 bits within a million steps.
    """
    assert plan.bits is not None
    now = currents(read)
    rest = np.zeros(1) if isinstance(node, Integrators) or node.reset is None else node.reset * SCALE
    threshold = np.full(1, np.inf) if isinstance(node, Integrators) else node.threshold * SCALE
    leak = np.max(node.leak) / 2.0**plan.bits
    low, high = min(now.low, 0.0), max(now.high, 0.0)
    soft = isinstance(node, Neurons) and node.reset is None
    steps = None
    if leak < 1.0:
        lowest, highest = (low - 1.0) / (1.0 - leak), high / (1.0 - leak)
        if soft:
            most = (max(high, -low) + float(np.abs(threshold).max()) + 1.0) / (1.0 - leak)
            lowest, highest = -most, most
    else:
        each = max(high, -low) + 1.0 + (float(np.abs(threshold).max()) if soft else 0.0)
        steps = int(LARGEST / 2.0 / each)
        lowest, highest = -LARGEST / 2.0, LARGEST / 2.0
    if not soft and isinstance(node, Neurons):
        highest = min(highest, max(0.0, float((threshold - rest).max())))
    ends = [float(rest.min()) + lowest + low - 1.0, float(rest.max()) + highest + high + 1.0]
    if isinstance(node, Neurons):  # they are compared with thresholds
        ends += [float(threshold.min()), float(threshold.max())]
    return Potentials(min(ends), max(ends), max(-lowest, highest) * max(1.0, float(np.max(node.leak))), steps)


def _of_last_step(plan: Plan, node: Node) -> Values:
    """Return what is known of numbers that a node before reads of the last step."""
    if isinstance(node, Neurons):
        return SPIKES
    if plan.bits is not None:
        raise UserError(
            f"C cannot be written in whole numbers: last outputs of '{node.name}' are read, and are no spikes"
        )
    return _real(plan, 0.0, 0.0)


def _of(plan: Plan, node: Node, read: list[Values]) -> Values:
    first = read[0]
    found: Values | None = None
    match node:
        case Layer():
            found = _of_layer(plan, node, first)
        case Pool():
            found = _of_pool(plan, node, first)
        case Sum():
            found = _of_sum(plan, read)
        case Flatten():
            found = first
        case Norm():
            ends = [(end - node.mean) * node.scale + node.shift for end in (first.least, first.most)]
            found = _real(plan, float(np.min(ends)), float(np.max(ends)))
        case Neurons() if (node.kind == "whole") == (plan.bits is not None):
            found = SPIKES
        case Integrators():
            found = _of_integrators(plan, node, first)
    if found is None:
        raise UserError(f"C cannot be written of '{node.name}': expected neurons of the plan's own numbers")
    return found


def _real(plan: Plan, low: float, high: float) -> Values:
    if plan.bits is None:
        return Values(-math.inf, math.inf, whole=False)
    if max(-low, high) >= ROUNDED:
        raise UserError("C cannot be written in whole numbers: a value could be too large to be rounded")
    return Values(low, high, whole=False)


def _of_layer(plan: Plan, node: Layer, read: Values) -> Values:
    if plan.bits is None:
        return _real(plan, 0.0, 0.0)
    current = sums(node, read).current
    if node.whole:
        return current
    most = max(-current.low, current.high) * _largest(node.steps)
    return _real(plan, -most, most)


def _of_integrators(plan: Plan, node: Integrators, read: Values) -> Values:
    if plan.bits is None:
        return _real(plan, 0.0, 0.0)
    bounds = potentials(plan, node, read)
    most = max(-bounds.low, bounds.high) * _largest(node.steps)
    return Values(-most, most, whole=False)


def _largest(steps: Array | None) -> float:
    assert steps is not None
    return float(steps.max()) / SCALE


def _of_pool(plan: Plan, node: Pool, read: Values) -> Values:
    if node.kind == "maximum":
        return read
    places = math.log2(node.divisors.max())
    even = node.divisors.min() == node.divisors.max() and places.is_integer() and places >= 0
    most = float(max(np.diff(node.rows).max() * np.diff(node.columns).max(), 1))
    if even and read.whole:
        fits = _fitting(plan, Values(read.low * most, read.high * most, places=read.places + int(places)))
        if fits is not None:
            return fits
    by = most / float(node.divisors.min())
    return _real(plan, min(read.least * by, 0.0), max(read.most * by, 0.0))


def _of_sum(plan: Plan, read: list[Values]) -> Values:
    if all(one.whole for one in read):
        places = max(one.places for one in read)
        wide = [2.0 ** (places - one.places) for one in read]
        low = sum(one.low * by for one, by in zip(read, wide, strict=True))
        high = sum(one.high * by for one, by in zip(read, wide, strict=True))
        fits = _fitting(plan, Values(low, high, places=places))
        if fits is not None:
            return fits
    return _real(plan, sum(one.least for one in read), sum(one.most for one in read))


def _fitting(plan: Plan, values: Values) -> Values | None:
    """Return ``values`` if each is also a real number of the plan, so that nothing is rounded."""
    bytes_ = 8 if plan.bits is not None else np.dtype(plan.dtype).itemsize
    fits = max(-values.low, values.high) <= EXACT[bytes_] and values.places <= MOST_PLACES
    return replace(values) if fits else None
