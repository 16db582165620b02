"""A checkpoint whose network has another size than the present one: sizes first, and then the weights.

A Trainer loads the network's weights before it gives callbacks their states. So a hook of the
LightningModule's ``load_state_dict`` makes the network as large as the weights that come.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import UserError
from snnprune.network.hooks import Hook
from snnprune.pruning.compaction.shapes import conform
from snnprune.pruning.compaction.survivors import note_kept, numbers_in, survivors_of
from snnprune.training.callbacks.network import network_if_known, place_of
from snnprune.training.callbacks.wrapping import unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import lightning
    from torch import Tensor, nn

    from snnprune.pruning import Pruner

CLASS = "PruningCallback"


class Restoring:
    """Follows every ``load_state_dict`` of a LightningModule, in and before training, until it is removed.

    Args:
        trainer: the Trainer.
        task: the LightningModule.
        network: name of the network in it, or None.
        key: the callback's ``state_key``.
        pruner: returns the callback's pruner, or None.

    Attributes:
        told: the pruner has the state that the Trainer will give to the callback.
        loaded: weights have been loaded since the last look.
    """

    def __init__(
        self,
        trainer: lightning.Trainer,
        task: lightning.LightningModule,
        network: str | None,
        key: str,
        pruner: Callable[[], Pruner | None],
    ) -> None:
        self._trainer, self._task, self._network, self._key, self._pruner = (
            trainer,
            task,
            network,
            key,
            pruner,
        )
        self._conformed: str | None = None
        self.told = self.loaded = False

        def hook(module: nn.Module, state: Mapping[str, Tensor], *_: Any) -> None:
            if module is task:  # and not a copy, with which the hook went along
                self._before(state)

        self._handle = task.register_load_state_dict_pre_hook(Hook(hook))

    def remove(self) -> None:
        """Remove the hook from the LightningModule."""
        self._handle.remove()

    def check(self, state: Mapping[str, Any] | None) -> None:
        """Check that the network has the size of the pruner's ``state``, before training begins.

        Raises:
            UserError: the weights were of a smaller network, and no pruner's state came with them.
        """
        if self._conformed is not None and not (state or {}).get("pruner", {}).get("kept"):
            raise UserError(
                f"the checkpoint is of a smaller network ('{self._conformed}' has another shape there), and "
                "it holds no pruner that cut it: resume it with the callback that it was trained with"
            )
        self._conformed = None

    def _before(self, weights: Mapping[str, Tensor]) -> None:
        self.loaded = True
        network = network_if_known(self._task, self._network) or self._task
        weights = within(weights, place_of(network, self._task))
        coming = coming_with(self._trainer, self._key)
        pruner = self._pruner()
        if pruner is not None and pruner.model is network:
            self._tell(pruner, weights, coming)
        elif coming is not None and (coming["pruner"].get("kept") or survivors_of(network).shapes):
            conform_cut(network, weights, coming["pruner"])
        elif survivors_of(network).shapes:
            check_shapes(network, weights, self._key)
        else:
            self._conformed = conform(network, weights)

    def _tell(self, pruner: Pruner, weights: Mapping[str, Tensor], coming: Mapping[str, Any] | None) -> None:
        """Give a pruner its state before the weights, as in a plain loop."""
        if coming is None:
            check_weights_alone(pruner, weights, self._key)
            return
        with unwrapped(self._trainer):
            pruner.load_state_dict(dict(coming["pruner"]))
        self.told = True


def state_of(callbacks: Mapping[Any, Any], key: str) -> Mapping[str, Any] | None:
    """Return a pruning callback's state of the states in a checkpoint, None if it has none.

    Args:
        callbacks: ``checkpoint["callbacks"]``.
        key: the callback's ``state_key``. The only state of a pruning callback is taken whatever its key:
            version 0.1 had one key for all, and the same network may be named or found.
    """
    ours = [name for name in callbacks if str(name) == CLASS or str(name).startswith(CLASS + "{")]
    found = key if key in ours else ours[0] if len(ours) == 1 else None
    return None if found is None else callbacks[found]


def coming_with(trainer: lightning.Trainer, key: str) -> Mapping[str, Any] | None:
    """Return the callback's state in the checkpoint that ``trainer`` is loading now, if there is one.

    Lightning shows it to nobody before the weights are loaded, so its own place is read.
    """
    loaded = getattr(getattr(trainer, "_checkpoint_connector", None), "_loaded_checkpoint", None) or {}
    return state_of(loaded.get("callbacks") or {}, key)


def within(state: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """Return the tensors of the module called ``place``, by their keys in its own state_dict."""
    prefix = f"{place}." if place else ""
    return {key[len(prefix) :]: tensor for key, tensor in state.items() if key.startswith(prefix)}


def check_weights_alone(pruner: Pruner, state: Mapping[str, Tensor], key: str) -> None:
    """Look at weights that come without the state of their pruner.

    A warning says where they are of before a decision.

    Args:
        pruner: of the network.
        state: the network's state_dict that is to be loaded.
        key: of the callback in checkpoints.

    Raises:
        UserError: the weights have other shapes.
    """
    check_shapes(pruner.model, state, key)
    revived = pruner.masks.revived(state)
    if revived:
        warnings.warn(
            f"weights were loaded without the state of their {CLASS}, and {revived:,} of them that are "
            "pruned are not zero: they are used as they are, and set to zero as soon as training goes on",
            stacklevel=2,
        )


def check_shapes(network: nn.Module, state: Mapping[str, Tensor], key: str) -> None:
    """Refuse weights of a larger or smaller network, which come without the state of their pruner.

    Raises:
        UserError: a tensor has another shape.
    """
    for name, mine in network.state_dict().items():
        if isinstance(mine, torch.Tensor) and name in state and state[name].shape != mine.shape:
            raise UserError(
                f"'{name}' has shape {tuple(state[name].shape)} in this checkpoint, and {tuple(mine.shape)} "
                f"in the network, which was cut: load the state of the {CLASS} before the weights, with "
                f"callback.load_state_dict(checkpoint['callbacks'][{key!r}]); weights that were saved "
                "without it (save_weights_only=True) need a module that is built anew"
            )


def conform_cut(network: nn.Module, state: Mapping[str, Tensor], coming: Mapping[str, Any]) -> None:
    """Give a network the size that it has in a checkpoint, and note on it which units are left.

    Args:
        network: the network.
        state: its state_dict in the checkpoint.
        coming: the state of the pruner in the checkpoint.

    Raises:
        UserError: the checkpoint is of another network.
        CompactionError: another object holds a tensor that changes its shape.
    """
    known = survivors_of(network)
    kept = coming.get("kept") or {}
    sizes = {name: int(entry["size"]) for name, entry in kept.items()}
    if any(known.sizes.get(name, size) != size for name, size in sizes.items()):
        raise UserError(
            "the network was cut by another pruner than the one in this checkpoint, whose populations had "
            f"{sizes} units before the first cut: load it into a module that is built anew"
        )
    now = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items() if key in state}
    conform(network, state, known.shapes, numbers_in(kept))
    changed = {key: shape for key, shape in now.items() if shape != tuple(state[key].shape)}
    note_kept(network, kept, changed | known.shapes)
