"""What becomes of a network, a loop or a fit, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import snnprune
from snnprune.common.errors import first_line
from snnprune.network.topology import OUTPUT
from snnprune.pruning import Pruner
from support.outside.trial import cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.outside.trial import Trial

ROUNDING = 1e-4
"""Largest difference of an output, in float32, that comes of sums in another order."""


def verdict(trial: Trial) -> str:
    """Return what becomes of a network."""
    try:
        pruner = Pruner(trial.network(), trial.example(), "dense", epochs=1, neurons=trial.neurons())
    except (snnprune.UserError, snnprune.CompactionError) as error:
        return f"refused: {first_line(error)}"
    pruner.close()
    populations = pruner.dense.populations.values()
    kept = {p.frozen for p in populations if p.frozen is not None and p.frozen != OUTPUT}
    free = [p.name for p in populations if p.frozen is None]
    whole = f"not pruned: {min(kept, key=len)}" if kept else ""
    if not free:
        return whole or "not pruned: it is the output of the network"
    try:
        difference, flipped, gone = cut(trial)
    except (snnprune.UserError, snnprune.CompactionError) as error:
        return f"masked, not cut: {first_line(error)}"
    exact = "exact" if difference < ROUNDING and not flipped and gone else f"WRONG by {difference:.1e}"
    return f"{exact}; in part {whole}" if whole else exact


def answered(trial: Callable[[], str]) -> str:
    """Return the verdict of a loop or a fit; what nobody has foreseen is a row as well."""
    try:
        return trial()
    except (snnprune.UserError, snnprune.CompactionError) as error:
        return f"refused: {first_line(error)}"
    except Exception as error:
        return f"WRONG: {type(error).__name__}: {first_line(error)}"
