"""The LightningModule of a run: a network on encoded batches, with loss, optimiser and measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch import Tensor, nn

from snnprune.common import ranks
from snnprune.common.errors import UserError
from snnprune.common.seeds import Stream, derive
from snnprune.data import Encoder
from snnprune.nn.losses import loss_of
from snnprune.nn.run_network import reset
from snnprune.nn.scores import scores_of
from snnprune.training import optimiser
from snnprune.training.sampler import SharedBatches

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch.utilities.types import OptimizerLRScheduler

    from snnprune.config.schema import RunConfig
    from snnprune.network.activity import SynapticActivity
    from snnprune.pruning import Masks, Method

Batch = tuple[Tensor, Tensor]


class Tally:
    """Loss and correct answers of an epoch, summed on the device so that no batch waits for a number."""

    def __init__(self) -> None:
        self.loss: Tensor | float = 0.0
        self.hits: Tensor | int = 0
        self.samples = 0

    def add(self, loss: Tensor, scores: Tensor, labels: Tensor) -> None:
        """Add a batch whose mean loss is ``loss``."""
        self.loss = self.loss + loss.detach().double() * len(labels)
        self.hits = self.hits + (scores.detach().argmax(1) == labels).sum()
        self.samples += len(labels)

    def means(self) -> tuple[float, float]:
        """Return (loss, accuracy as a share) over all processes. Every process has to call it."""
        own = torch.tensor([float(self.loss), float(self.hits), self.samples], dtype=torch.float64)
        loss, hits, samples = ranks.summed([own])[0].tolist()
        return loss / max(1, samples), hits / max(1, samples)


class Task(lightning.LightningModule):
    """Trains ``model`` with the settings of ``config``.

    Batches are (uint8 frames [B, T, P, H, W] or images [B, C, H, W], labels [B]); they are encoded on the
    device. Neuron states are reset before and after every batch. The validation loop has two loaders,
    validation and test. ``measured`` holds the numbers of the epoch; its losses are without the activity
    penalty.

    Args:
        config: the run's configuration.
        model: network with ``spiking`` and ``loss``, as `snnprune.nn.models.build` makes them.

    Attributes:
        activity: returns what watches the network for ``train.activity_penalty``; None: there is no penalty.
        masks: returns what is alive; None where nothing is pruned yet.
    """

    def __init__(self, config: RunConfig, model: nn.Module) -> None:
        super().__init__()
        self.run_config = config
        self.model = model
        self.spiking = bool(getattr(model, "spiking", True))
        self.loss = loss_of(config.train.loss, model)
        self.encode = Encoder(config.data, config.train.seed, time=self.spiking)
        self.measured: dict[str, float] = {}
        # With few test batches and many processes, some processes have no batch.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._tallies = {stream: Tally() for stream in (Stream.TRAIN, Stream.VALIDATION, Stream.TEST)}
        self._unchecked: tuple[int, Tensor] | None = None
        self.activity: Callable[[], SynapticActivity] | None = None
        self.masks: Callable[[], Masks | None] = lambda: None

    def check(self, method: Method, name: str) -> None:
        """Check that a method, called ``name``, can prune a network that is trained in this way: any can."""

    def reset(self) -> None:
        """Reset all neurons, and release the graph of the last batch."""
        reset(self.model)

    def forward(self, encoded: Tensor) -> Tensor:
        """Return scores [B, K]: outputs of a spiking network over time, logits of a network without time."""
        self.reset()
        return self.scores(self.model, encoded)

    def scores(self, model: nn.Module, encoded: Tensor) -> Tensor:
        """Return the scores [B, K] of a network; `forward` asks that of the task, from rest."""
        out: Tensor = model(encoded)
        if out.element_size() < 4:
            out = out.float()  # the outputs of layers in 16 bits
        return scores_of(out, self.run_config.train.over_time) if self.spiking else out

    def _step(self, batch: Batch, stream: Stream, *at: int) -> Tensor:
        frames, labels = batch
        scores = self(self.encode(frames, stream, *at))
        loss = self.loss(scores, labels)
        self._tallies[stream].add(loss, scores, labels)
        return loss

    def on_train_epoch_start(self) -> None:
        """Seed torch's own generator, and reset the training numbers."""
        at = self._of_this_process(self.current_epoch)
        torch.manual_seed(derive(self.run_config.train.seed, Stream.EPOCH, *at))
        self._tallies[Stream.TRAIN] = Tally()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Raises:
            UserError: the loss of the batch before this one was not finite.
        """
        self._check_loss()
        at = self._of_this_process(self.current_epoch, batch_idx)
        weight = self.run_config.train.activity_penalty
        if self.activity is not None and weight > 0.0:
            with self.activity().watching() as seen:
                loss = self._step(batch, Stream.TRAIN, *at)
            loss = loss + weight * seen.share()
        else:
            loss = self._step(batch, Stream.TRAIN, *at)
        self._unchecked = (batch_idx, loss.detach())
        batches = getattr(self.trainer.train_dataloader, "batch_sampler", None)
        return loss * batches.weight(batch_idx) if isinstance(batches, SharedBatches) else loss

    @staticmethod
    def _of_this_process(*at: int) -> tuple[int, ...]:
        """Return the place of random numbers: ``at`` for rank 0, and another one for each other rank."""
        return (*at, ranks.rank()) if ranks.rank() else at

    def on_train_batch_end(self, *_: Any) -> None:
        """Release the graph that the neurons hold."""
        self.reset()

    def on_validation_epoch_start(self) -> None:
        """Compute the training numbers of the epoch, because Lightning validates before it ends the epoch."""
        self._check_loss()
        self._check_weights()
        loss, accuracy = self._tallies[Stream.TRAIN].means()
        self.measured = {"train_loss": loss, "train_accuracy": accuracy}
        self._tallies[Stream.VALIDATION], self._tallies[Stream.TEST] = Tally(), Tally()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count a batch of the validation set (loader 0) or of the test set (loader 1)."""
        # The noise depends neither on the epoch nor on the world size: all epochs see the same spikes.
        place = batch_idx * ranks.world_size() + ranks.rank()
        self._step(batch, Stream.TEST if dataloader_idx else Stream.VALIDATION, place)

    def on_validation_batch_end(self, *_: Any) -> None:
        """Reset the neurons."""
        self.reset()

    def on_validation_epoch_end(self) -> None:
        """Publish the numbers of the epoch, also for other callbacks."""
        loss, accuracy = self._tallies[Stream.VALIDATION].means()
        self.measured |= {"val_loss": loss, "val_accuracy": accuracy}
        self.measured["test_accuracy"] = self._tallies[Stream.TEST].means()[1]
        self.log_dict(self.measured, logger=False)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimiser and its schedule, which is stepped once per epoch."""
        optimizer = optimiser.build(self.parameters(), self.run_config.train)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": optimiser.schedule(optimizer, self.run_config.train),
                "interval": "epoch",
            },
        }

    def _check_loss(self) -> None:
        """Check the loss one batch late, so that a GPU need not wait for the check."""
        if self._unchecked is None:
            return
        batch, loss = self._unchecked
        self._unchecked = None
        if not torch.isfinite(loss):
            raise self._diverged(f"the loss became {float(loss)} in", f", batch {batch + 1}")

    def _check_weights(self) -> None:
        # A spiking network with NaN weights is silent and has a finite loss, so the weights are checked, too.
        for name, parameter in self.model.named_parameters():
            if not torch.isfinite(parameter.detach()).all():
                raise self._diverged(f"weights of '{name}' became infinite or not a number by the end of")

    def _diverged(self, what: str, where: str = "") -> UserError:
        return UserError(
            f"{what} epoch {self.current_epoch + 1}{where}, and training was stopped: try a smaller "
            f"--train.lr (it is {self.run_config.train.lr:g}) or a cosine schedule with a warm-up"
        )
