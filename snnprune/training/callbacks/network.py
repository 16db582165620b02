"""What of a LightningModule is pruned."""

from __future__ import annotations

import lightning
from torch import nn

from snnprune.common.errors import UserError
from snnprune.network.leaves import leaf_kind


def network_of(task: nn.Module, name: str | None = None) -> nn.Module:
    """Return the network of a LightningModule.

    It is the module called ``name``; without a name it is ``task.model``, else the LightningModule itself
    where it has a ``forward``, else its only module with layers of synapses.

    Args:
        task: the LightningModule.
        name: of the network in it, such as "net" or "learner.encoder".

    Raises:
        UserError: there is no module of that name, or without a name none or several that may be meant.
    """
    if name is not None:
        try:
            return task.get_submodule(name)
        except AttributeError as error:
            raise UserError(
                f"network='{name}' names no module of {type(task).__name__}; its own are {_listed(task)}"
            ) from error
    model = getattr(task, "model", None)
    if isinstance(model, nn.Module):
        return model
    if type(task).forward not in {nn.Module.forward, lightning.LightningModule.forward}:
        return task
    found = [child for child in task.children() if _has_synapses(child)]
    if len(found) == 1:
        return found[0]
    raise UserError(
        f"{type(task).__name__} has no forward() and no module called model, and {len(found)} of its modules "
        "have layers: write PruningCallback(..., network=...) with the name of the one to prune, of "
        f"{_listed(task)}"
    )


def _has_synapses(module: nn.Module) -> bool:
    return any(leaf_kind(inner, ()) in {"conv", "linear"} for inner in module.modules())


def _listed(task: nn.Module) -> str:
    return ", ".join(name for name, _ in task.named_children()) or "none"
