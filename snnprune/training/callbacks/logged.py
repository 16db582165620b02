"""What PruningCallback writes to the Trainer's loggers after every epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snnprune.network.cost import Rates


def values(rates: Rates, name: str | None = None) -> dict[str, float]:
    """Return the pruned shares and the surviving units, by the name under which they are logged.

    Args:
        rates: of the pruner.
        name: of the network, where several networks of one Trainer are pruned.

    Returns:
        "pruning/synapses" and "pruning/neurons", shares from 0 to 1, and the number of surviving units of
        each population as "pruning/units/<population>". With ``name``, "pruning/<name>/synapses" and so on.
    """
    prefix = "pruning" if name is None else f"pruning/{name}"
    units = {f"{prefix}/units/{key}": float(left) for key, (left, _) in rates.neurons_left.items()}
    return {f"{prefix}/synapses": rates.synapses, f"{prefix}/neurons": rates.neurons} | units
