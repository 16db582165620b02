"""Densities of layers by the Erdős-Rényi-Kernel rule: thin where a layer is large.

U. Evci, T. Gale, J. Menick, P. S. Castro, E. Elsen, "Rigging the Lottery: Making All Tickets Winners", ICML
2020, section 3 and appendix; without kernels: D. C. Mocanu et al., Nature Communications 9:2383, 2018.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HALVINGS = 100
"""More than a float has digits."""


def erk(
    shapes: Mapping[str, Sequence[int]], density: float, least: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return the share of synapses of each layer, so that ``density`` of all of them stay.

    ::

        density_l = min(eps (n_out + n_in + k_h + k_w) / (n_out n_in k_h k_w), 1)

    with one eps for all layers, solved for the total: layers that would have more synapses than they have
    places are full, and the others share the rest. A linear layer has no kernel: eps (n_out + n_in) / (n_out
    n_in).

    Args:
        shapes: shape of the weight, by layer; of a convolution [out, in per group, kernel ...].
        density: share of all synapses that stays, in [0, 1].
        least: smallest densities of layers, by name; those not named have none. Where they alone are more
            than ``density``, they are what is returned.

    Raises:
        ValueError: ``density`` is no share.

    Examples:
        >>> from snnprune.pruning.erk import erk
        >>> erk({"a": (10, 10), "b": (100, 100)}, 0.11)  # eps: 20 eps + 200 eps = 1111
        {'a': 1.0, 'b': 0.1011}
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    return scaled({name: sum(shape) / sizes[name] for name, shape in shapes.items()}, sizes, density, least)


def scaled(
    raw: Mapping[str, float],
    sizes: Mapping[str, float],
    density: float,
    least: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return min(max(eps raw, least), 1) by name, with one eps at which ``density`` of the total stays.

    Args:
        raw: what densities are proportional to, above 0.
        sizes: number of entries, or their price.
        density: share of the sum of ``sizes`` that stays.
        least: smallest densities by name.

    Raises:
        ValueError: ``density`` is no share.
    """
    if not 0.0 <= density <= 1.0:
        raise ValueError(f"density is a share in [0, 1], came {density}")
    least = least or {}
    total = density * sum(sizes.values())

    def at(eps: float) -> dict[str, float]:
        return {name: min(max(eps * share, least.get(name, 0.0)), 1.0) for name, share in raw.items()}

    low, high = 0.0, max((1.0 / share for share in raw.values()), default=0.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        spent = sum(sizes[name] * share for name, share in at(middle).items())
        low, high = (middle, high) if spent <= total else (low, middle)
    found = at(low)
    free = [name for name, share in found.items() if least.get(name, 0.0) < share < 1.0]
    rest = total - sum(sizes[name] * share for name, share in found.items() if name not in free)
    if not free:
        return found
    eps = rest / sum(sizes[name] * raw[name] for name in free)  # without the rounding of the halvings
    return found | {name: eps * raw[name] for name in free}
