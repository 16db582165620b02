"""A run of a network that learns by a rule of its own: no loss gradient, and no optimiser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.common.seeds import Stream
from snnprune.nn.plasticity.readout import Responses
from snnprune.training.task import Batch, Task

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.config.schema import RunConfig
    from snnprune.nn.plasticity import LocalNetwork
    from snnprune.pruning import Method

AT_ONCE = 10
"""Samples between two changes of the weights, at most. With 50 the same units win too many of them in a row:
after an epoch of 6,000 digits of MNIST 24 % were right, and 78 % with 10 (one seed)."""

GRADIENTS = (
    "method '{method}' reads gradients, and {model} learns without them: choose one that reads weights, "
    "spikes or traces, such as magnitude, dpap or stdp, or a network that is trained by gradients"
)


class LocalTask(Task):
    """Trains a `LocalNetwork` by its rule; measures, encodes and resets as `Task` does.

    Samples are answered first, with the labels that the epoch has given so far, so training accuracy is that
    of samples not yet seen in the epoch. Then the rule changes the weights, and the readout is set from the
    responses of the epoch. A batch is taken `AT_ONCE` samples at a time. What is dead takes no part.

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
        self.layer = next(name for name, each in model.named_modules() if each is self.rule.layer)
        self.automatic_optimization = False
        self._responses: Responses | None = None

    def check(self, method: Method, name: str) -> None:
        """Check that a method can prune a network without gradients.

        Raises:
            UserError: it reads gradients.
        """
        if method.reads_gradients:
            raise UserError(GRADIENTS.format(method=name, model=self.run_config.model.name))

    def on_train_epoch_start(self) -> None:
        """Begin the responses of the epoch anew."""
        super().on_train_epoch_start()
        self._responses = None  # the network may be cut before the first batch

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
        """Answer `AT_ONCE` samples at a time, learn from them, and label the units anew."""
        frames, labels = batch
        masks = self.masks()
        alive = None if masks is None else masks.alive(masks.topology.projections[self.layer])
        encoded = self.encode(frames, Stream.TRAIN, self.current_epoch, batch_idx)
        for x, wanted in zip(encoded.split(AT_ONCE, 1), labels.split(AT_ONCE), strict=True):
            with self.rule.watching() as seen:
                scores = self(x)
            self._tallies[Stream.TRAIN].add(self.loss(scores, wanted), scores, wanted)
            self.rule.step(seen, alive)
            self._label(seen.both()[1], scores.shape[1], wanted)

    def _label(self, spikes: Tensor, classes: int, labels: Tensor) -> None:
        if self._responses is None:
            self._responses = Responses(classes, spikes.shape[2])
        self._responses.add(spikes.sum(0), labels)
        self.network.read_out(self._responses.weights())

    def configure_optimizers(self) -> None:
        """Return no optimiser."""
