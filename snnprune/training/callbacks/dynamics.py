"""Write what happens to neurons and synapses while a network is pruned into the folder of the run."""

# ruff: noqa: ARG002 - the methods' signatures are Lightning's
from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import lightning

from snnprune.common import document, ranks
from snnprune.network.firing import Watch
from snnprune.runs import tensors
from snnprune.runs.tensors import AboutDynamics
from snnprune.runs.typed import typed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from snnprune.pruning import Pruner
    from snnprune.training.callbacks.pruning import PruningCallback

TEST = 1
"""Index of the test set among the loaders of the validation loop."""


class Dynamics(lightning.Callback):
    """Writes the history of a run's pruner to a file after every epoch.

    `snnprune.runs.tensors.Dynamics` describes the file. Firing is that of the first test batch.

    Args:
        pruning: the callback with the pruner.
        path: of the file.
    """

    def __init__(self, pruning: PruningCallback, path: Path) -> None:
        self.pruning = pruning
        self.path = path
        self._firing: dict[str, float] = {}
        self._watch: Watch | None = None
        self._saved: dict[str, Any] | None = None

    def on_validation_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Record the neurons in the first test batch only, because this slows down fused neurons."""
        if (dataloader_idx, batch_idx) == (TEST, 0):
            assert self.pruning.pruner is not None
            self._watch = Watch(self.pruning.pruner.model)

    def on_validation_batch_end(self, *_: Any) -> None:
        """Keep the firing rates."""
        if self._watch is not None:
            self._watch.close()
            self._firing = self._watch.rates()
            self._watch = None

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Remove the hooks from the network."""
        if self._watch is not None:
            self._watch.close()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Add an epoch, and write the file again."""
        pruner = self._pruner()
        if pruner is not None and not pruner.finished:  # else no batch was trained since the last epoch
            pruner.record(firing=self._firing)
            self.write()

    def write(self) -> None:
        """Write the file; do nothing before the first epoch."""
        pruner = self._pruner()
        if pruner is not None and len(pruner.history) and ranks.is_first():
            tensors.Dynamics.of(pruner).write(self.path)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the epochs of a checkpoint of version 0.1, whose pruner has no history of its own."""
        if state_dict["tensors"]:
            self._saved = _history(
                typed(AboutDynamics, document.parse_json(state_dict["about"])), state_dict["tensors"]
            )

    def _pruner(self) -> Pruner | None:
        pruner, saved = self.pruning.pruner, self._saved
        if pruner is not None and saved is not None:
            pruner.history.load_state_dict(saved)
            self._saved = None
        return pruner


def _history(about: AboutDynamics, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a `History` from the tensors of a dynamics.safetensors."""
    columns = {"weights": about.layers, "units": list(about.populations), "firing": about.neurons}
    rows = [
        {"epoch": int(epoch)}
        | {
            name: dict(zip(keys, values.tolist(), strict=True))
            for name, keys, values in ((n, k, saved[n][i]) for n, k in columns.items())
        }
        for i, epoch in enumerate(saved["epochs"])
    ]
    return {
        "rows": rows,
        "dense": {name: math.prod(about.shapes[name]) for name in about.layers},
        "series": {key: t for key, t in saved.items() if key.startswith(("survival/", "fan_in/"))},
        "maps": {key: t for key, t in saved.items() if key.startswith(("first/", "last/"))},
        "scored": about.scored,
    }
