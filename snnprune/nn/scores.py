"""The scores of a sample, from what the network puts out over time: the choices of ``train.over_time``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

OVER_TIME: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda outputs: outputs.mean(0),
    "max": lambda outputs: outputs.amax(0),
    "last": lambda outputs: outputs[-1],
}
"""How outputs [T, B, K] become scores [B, K]. The mean of spikes is the rate (DPAP, equation (3)). Cramer et
al. (IEEE TNNLS 33, 2022) compare the largest potential with that of the last step."""


def scores_of(outputs: Tensor, over_time: str) -> Tensor:
    """Return the scores [B, K] of outputs [T, B, K].

    Args:
        outputs: spikes or potentials of each step.
        over_time: a name of `OVER_TIME`.
    """
    return OVER_TIME[over_time](outputs)
