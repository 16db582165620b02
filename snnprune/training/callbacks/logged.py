"""What PruningCallback writes to the Trainer's loggers after every epoch."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snnprune.pruning import Pruner


def values(pruner: Pruner, name: str | None = None) -> dict[str, float]:
    """Return what is left of the network that was trained in the last epoch, by the names in a log.

    Args:
        pruner: of the network; it has recorded the epoch.
        name: of the network, where several networks of one Trainer are pruned.

    Returns:
        "pruning/synapses" and "pruning/neurons": pruned shares, from 0 to 1. "pruning/firing": share of the
        outputs of neurons that are not zero in the epoch's first batch, a mean over layers.
        "pruning/units/<population>": number of surviving units. With ``name``, "pruning/<name>/synapses" and
        so on.
    """
    prefix = "pruning" if name is None else f"pruning/{name}"
    rates, firing = pruner.rates(), pruner.history[-1].firing if len(pruner.history) else {}
    found = {"synapses": rates.synapses, "neurons": rates.neurons}
    found |= {"firing": fmean(firing.values())} if firing else {}
    found |= {f"units/{key}": float(left) for key, (left, _) in rates.neurons_left.items()}
    return {f"{prefix}/{key}": value for key, value in found.items()}
