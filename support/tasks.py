"""A small LightningModule, its data and a quiet Trainer, for tests of callbacks; digits for whole runs."""

from __future__ import annotations

import logging
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import snnprune
from snnprune.data import FrameSet


class Classifier(lightning.LightningModule):
    """A classifier of rows of six numbers, in float64, with its network in ``model``.

    Args:
        rest: a further module of the network, behind its first layer.
    """

    def __init__(self, rest: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lr, self.batch_size = 1e-2, 16
        layers = [nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)]
        self.model = nn.Sequential(*layers[:1], *([] if rest is None else [rest]), *layers[1:]).double()

    def loss(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("loss", self.loss(batch))

    test_step = validation_step

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def train_dataloader(self) -> DataLoader[Any]:
        return loader(self.batch_size)

    def val_dataloader(self) -> DataLoader[Any]:
        return loader(self.batch_size)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), self.lr)

    def weights(self) -> Tensor:
        """Return all parameters and buffers, one behind the other."""
        return torch.cat([tensor.detach().double().flatten() for tensor in self.state_dict().values()])


def digits() -> snnprune.Splits:
    """600, 200 and 300 scanned digits of 8 x 8 pixels, for networks that learn in seconds."""
    pixels, labels = load_digits(return_X_y=True)
    images = np.uint8(pixels.reshape(-1, 1, 8, 8) * 255 / 16)
    parts = [FrameSet(images[rows], labels[rows]) for rows in (slice(600), slice(600, 800), slice(800, 1100))]
    return snnprune.Splits(*parts, tuple("0123456789"), (1, 8, 8), events=False)


def loader(batch_size: int = 16) -> DataLoader[Any]:
    """Return 48 rows of six numbers, with the place of the largest of the first three as class."""
    x = torch.rand(48, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size=batch_size)


def trainer(*callbacks: lightning.Callback, epochs: int | None = 8, **settings: Any) -> lightning.Trainer:
    """Return a Trainer that shows and writes nothing but what its callbacks do."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    saves = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(
        **(quiet | {"accelerator": "cpu", "enable_checkpointing": saves} | settings),
        max_epochs=epochs,
        callbacks=list(callbacks),
    )
