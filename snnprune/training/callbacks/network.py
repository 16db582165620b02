"""What of a LightningModule is pruned, and what of a batch it takes."""

from __future__ import annotations

from typing import Any

import lightning
from torch import Tensor, nn

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


def network_if_known(task: nn.Module, name: str | None) -> nn.Module | None:
    """Return the network of a LightningModule, None where it is not there or not known yet."""
    try:
        return network_of(task, name)
    except UserError:
        return None


def place_of(network: nn.Module, task: nn.Module) -> str:
    """Return the name of ``network`` in ``task``, "" where it is the LightningModule itself."""
    return next(name for name, module in task.named_modules() if module is network)


def check_apart(network: nn.Module, others: list[nn.Module]) -> None:
    """Check that each callback of a Trainer prunes a network of its own.

    Raises:
        UserError: a weight of ``network`` is in one of ``others``, too.
    """
    theirs = {id(p) for other in others for p in other.parameters()}
    shared = next((name for name, p in network.named_parameters() if id(p) in theirs), None)
    if shared is not None:
        raise UserError(
            f"two PruningCallbacks of this Trainer prune the same network, as both have its '{shared}': give "
            "each another one with network=..., or leave one of them out"
        )


def example_of(batch: Any) -> Tensor:
    """Return what of a batch the network takes.

    Raises:
        UserError: the batch is neither a tensor nor a tuple or list that starts with one.
    """
    first = batch[0] if isinstance(batch, list | tuple) and len(batch) > 0 else batch
    if not isinstance(first, Tensor):
        is_mapping = hasattr(first, "keys")
        came = f"a mapping of {sorted(map(str, first))}" if is_mapping else type(first).__name__
        raise UserError(
            f"PruningCallback expected batches that are a tensor or begin with one, and got {came}: "
            "write PruningCallback(..., example_input=...)"
        )
    return first


def samples_of(trainer: lightning.Trainer) -> int | None:
    """Return the size of the training set, where it has one."""
    try:
        return len(trainer.train_dataloader.dataset)  # type: ignore[union-attr]
    except (AttributeError, TypeError):
        return None


def _has_synapses(module: nn.Module) -> bool:
    return any(leaf_kind(inner, ()) in {"conv", "linear"} for inner in module.modules())


def _listed(task: nn.Module) -> str:
    return ", ".join(name for name, _ in task.named_children()) or "none"
