"""Where a target goes: how much each layer gives for one level that all of them share.

A level is a number in [0, 1]: at 0 every layer is whole, at 1 it gives all that it may. A `Solver` finds
the level at which the network costs what it should. Layers differ in how fast they give:

    local        the same share of each layer
    erk          density_l = min(eps (n_in + n_out + k_h + k_w) / (n_in n_out k_h k_w), 1)
    sensitivity  each layer gives until its loss alone has risen by the same amount
    (`sensitivity`)

"global" and "lamp" set no densities: they rank the units of all layers (`spread`).
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Scope = Literal["local", "global", "erk", "lamp", "sensitivity"]
SCOPES: tuple[Scope, ...] = ("local", "global", "erk", "lamp", "sensitivity")

RANKED: frozenset[Scope] = frozenset({"global", "lamp"})
"""Scopes that rank the units of all layers together."""

SMOOTHING = 0.1
"""Part of the mean slope of all layers that is added to each layer's own, so that a layer whose loss did
not rise in the samples that were held out is not taken for one that costs nothing. [reading]"""


class Distribution(Protocol):
    """How much a level leaves of each layer."""

    def left(self, key: str, level: float) -> float:
        """Return the share of ``key`` that stays at ``level``: 1 at level 0, 0 at level 1, never rising.

        Args:
            key: of a `Candidates`, such as "synapses/fc1".
            level: in [0, 1].
        """
        ...


class Proportional:
    """Densities in fixed proportions, none above 1.

    Args:
        raw: what densities are proportional to, above 0, by key; a key that is not named has the smallest.

    Examples:
        >>> from snnprune.pruning.distribution import Proportional
        >>> own = Proportional({"synapses/a": 0.2, "synapses/b": 0.1})
        >>> own.left("synapses/a", 0.75), own.left("synapses/b", 0.75), own.left("synapses/a", 0.4)
        (0.5, 0.25, 1.0)
    """

    def __init__(self, raw: Mapping[str, float]) -> None:
        least = min(raw.values(), default=1.0)
        self._raw = {key: value / least for key, value in raw.items()}

    def left(self, key: str, level: float) -> float:
        """Return min((1 - level) raw / smallest raw, 1)."""
        return min((1.0 - level) * self._raw.get(key, 1.0), 1.0)


class Sensitive:
    """Densities at which the loss of each layer alone has risen by the same amount.

    Between the shares that were measured, and beyond them, the rise is taken to be linear in the logarithm
    of what is left. [reading] It never falls: a smaller loss than that of a smaller share is taken for noise.

    Args:
        shares: shares that were pruned, in ascending order, in (0, 1).
        rises: by key, how much the loss had risen at each of ``shares``.

    Examples:
        >>> from snnprune.pruning.distribution import Sensitive
        >>> own = Sensitive([0.5, 0.75], {"synapses/a": [1.0, 2.0], "synapses/b": [3.0, 6.0]})
        >>> own.left("synapses/a", 0.5) < own.left("synapses/b", 0.5)
        True
    """

    def __init__(self, shares: Sequence[float], rises: Mapping[str, Sequence[float]]) -> None:
        self.shares, self.rises = tuple(shares), {key: tuple(own) for key, own in rises.items()}
        places = [-math.log1p(-share) for share in shares]
        ends = [max(0.0, *own) / places[-1] for own in self.rises.values()]
        slope = SMOOTHING * (sum(ends) / max(len(ends), 1) or 1.0)
        self._scale = slope / SMOOTHING
        self._curves: dict[str, list[tuple[float, float]]] = {}
        for key, own in self.rises.items():
            points, most = [(0.0, 0.0)], 0.0
            for place, rise in zip(places, own, strict=True):
                most = max(most, rise)
                points.append((place, most + slope * place))
            self._curves[key] = points

    def state_dict(self) -> dict[str, Any]:
        """Return the arguments, as plain values."""
        return {"shares": list(self.shares), "rises": {key: list(own) for key, own in self.rises.items()}}

    def left(self, key: str, level: float) -> float:
        """Return the density at a rise of level / (1 - level) times the mean slope of all layers."""
        if level >= 1.0:
            return 0.0
        rise = self._scale * level / (1.0 - level)
        if key not in self._curves:
            return math.exp(-rise / self._scale)
        points = self._curves[key]
        (x0, y0), (x1, y1) = points[-2:]
        for before, after in itertools.pairwise(points):
            if rise <= after[1]:
                (x0, y0), (x1, y1) = before, after
                break
        return math.exp(-(x0 + (rise - y0) * (x1 - x0) / (y1 - y0)))
