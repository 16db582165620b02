"""A run of a network that learns by a rule of its own: no loss gradient, and no optimiser."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.common.seeds import Stream, generator
from snnprune.training.task import Batch, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.config.schema import RunConfig
    from snnprune.nn.plasticity import LocalNetwork
    from snnprune.pruning import Method

GRADIENTS = (
    "method '{method}' reads gradients, and {model} learns without them: choose one that reads weights, "
    "spikes or traces, such as magnitude, dpap or stdp, or a network that is trained by gradients"
)


class LocalTask(Task):
    """Trains a `LocalNetwork` by its rule; measures, encodes and resets as `Task` does.

    Samples are answered first, with the readout that the epoch has given so far, so training accuracy is that
    of samples not yet seen in the epoch. Then the network learns from them. A batch is taken
    `LocalNetwork.at_once` samples at a time. What is dead takes no part.

    Args:
        config: the run's configuration.
        model: the network; its parameters ask for no gradient from now on.

    Raises:
        UserError: the run has several processes or another precision than float32.
    """

    def __init__(self, config: RunConfig, model: LocalNetwork) -> None:
        if config.train.devices * config.train.nodes > 1 or config.train.precision != "float32":
            raise UserError(
                f"{config.model.name} learns without gradients, in one process and in float32, and the run "
                f"asks for train.devices {config.train.devices}, train.nodes {config.train.nodes} and "
                f"train.precision {config.train.precision}: leave these out"
            )
        super().__init__(config, model.requires_grad_(False))
        self.network, self.rule = model, model.rule()
        self.automatic_optimization = False

    def check(self, method: Method, name: str) -> None:
        """Check that a method can prune a network without gradients.

        Raises:
            UserError: it reads gradients.
        """
        if method.reads_gradients:
            raise UserError(GRADIENTS.format(method=name, model=self.run_config.model.name))

    def on_train_epoch_start(self) -> None:
        """Begin the epoch of the network, too."""
        super().on_train_epoch_start()
        self.network.begin_epoch()

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
        """Answer some samples at a time, and learn from them."""
        frames, labels = batch
        at_once, at = self.network.at_once, (self.current_epoch, batch_idx)
        encoded = self.encode(frames, Stream.TRAIN, *at)
        alive = functools.cache(self._alive)  # the masks of a batch do not change
        drawn = generator(encoded.device, self.run_config.train.seed, Stream.LEARN, *at)
        for x, wanted in zip(encoded.split(at_once, 1), labels.split(at_once), strict=True):
            with self.rule.watching() as seen:
                scores = self(x)
            self._tallies[Stream.TRAIN].add(self.loss(scores, wanted), scores, wanted)
            self.network.learn(self.rule, seen, wanted, alive, drawn)

    def _alive(self, layer: nn.Module) -> Tensor | None:
        """Return the synapses of a layer that there are; None: all."""
        masks = self.masks()
        if masks is None:
            return None
        name = next(name for name, each in self.network.named_modules() if each is layer)
        return masks.alive(masks.topology.projections[name])

    def configure_optimizers(self) -> None:
        """Return no optimiser."""
