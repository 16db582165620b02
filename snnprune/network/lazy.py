"""Layers that take their sizes from their first input: they are made before anything is found.

torch's lazy layers keep their place and their parameters, so an optimiser that was made before still holds
them. Layers of a network's own making, which its first forward adds, are new to everybody, and are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.parameter import is_lazy

from snnprune.common.errors import UserError
from snnprune.network.untouched import at_rest

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


def make_lazy_layers(model: nn.Module, run: Callable[[], object]) -> None:
    """Let the lazy layers of ``model`` be made by one forward, as its first call by anybody makes them.

    Their initial weights are drawn from the global random generators, which go on from there. All else is
    left as it was, and a network without lazy layers is not called.

    Args:
        model: the network.
        run: calls it with an example.
    """
    if any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        with torch.no_grad(), at_rest(model):
            run()


def refuse_new_layers(model: nn.Module, before: set[str]) -> None:
    """Refuse a forward that has added parameters to the network.

    Args:
        model: the network, behind the forward.
        before: names of its parameters in front of it.

    Raises:
        UserError: there are new ones.
    """
    added = [name for name, _ in model.named_parameters() if name not in before]
    if added:
        place = added[0].rpartition(".")[0] or added[0]
        raise UserError(
            f"{type(model).__name__} makes {place} in its first forward, and nothing is known of it before: "
            "call model(example_input) once, and make the optimiser and the pruner after that"
        )
