"""Find moving averages of a network's weights (EMA, SWA)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.optim.swa_utils import AveragedModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn


def averages_of(network: nn.Module, task: nn.Module, holders: Iterable[object]) -> list[nn.Module]:
    """Return the averaged copies of ``network`` that ``task`` or one of ``holders`` keeps.

    Args:
        network: the network that is pruned.
        task: the module that holds the network, or the network itself: an average may be of either.
        holders: objects with attributes, such as Lightning's callbacks ``WeightAveraging`` and
            ``EMAWeightAveraging``.
    """
    kept = [value for holder in (task, *holders) for value in vars(holder).values()]
    found = {id(m): m for m in (*kept, *task.modules()) if isinstance(m, AveragedModel)}
    place = next(name for name, module in task.named_modules() if module is network)
    copies = []
    for average in found.values():
        if type(average.module) is type(task):
            copies.append(average.module.get_submodule(place))
        elif type(average.module) is type(network):
            copies.append(average.module)
    return copies
