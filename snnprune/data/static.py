"""MNIST and Fashion-MNIST: still images, read by torchvision."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from snnprune.common.errors import UserError
from snnprune.data.cache import Stored
from snnprune.data.folders import missing, root_given, search

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.config.schema import DataConfig
    from snnprune.data.splits import Splits


@dataclass(frozen=True)
class GreyImages:
    """A data set of 28 x 28 grey images in MNIST's four files.

    Attributes:
        title: the name in messages.
        torchvision: torchvision's class, which also names the folder.
        classes: the names of the classes.
        home: where to get the data set.
    """

    title: str
    torchvision: str
    classes: tuple[str, ...]
    home: str
    events: ClassVar[bool] = False

    def found(self, root: Path | None) -> Path | None:
        """Return the folder that contains `raw/`, or None. Only its name tells which data set it holds."""
        return search(
            root,
            (self.torchvision,),
            lambda folder: (
                folder.name == self.torchvision and any((folder / "raw").glob("train-images-idx3-ubyte"))
            ),
        )

    def load(self, config: DataConfig) -> Splits:
        """Read all images into memory.

        Raises:
            UserError: no data, or an incomplete file.
        """
        from snnprune.data.splits import assembled  # noqa: PLC0415 - imports torch, which `found` does not need

        root = root_given(config.root)
        folder = self.found(root)
        if folder is None and config.download and root is not None:
            folder = root / self.torchvision
        if folder is None:
            raise self.missing(root)
        train, test = (self._read(folder, config, train=part) for part in (True, False))
        return assembled(train, test, config.validation, self.classes, (1, 28, 28), events=False)

    def missing(self, root: Path | None) -> UserError:
        """Return the error for a data set that is not on disk."""
        return missing(self.title, root, f"{self.torchvision}/raw", self.home, downloads=True)

    def _read(self, folder: Path, config: DataConfig, *, train: bool) -> Stored:
        reader = getattr(importlib.import_module("torchvision.datasets"), self.torchvision)
        files = f"the {'training' if train else 'test'} files of {self.title} in {folder / 'raw'}"
        try:
            images = reader(root=folder.parent, train=train, download=config.download)
        # torchvision's parser raises any of these for a truncated file.
        except (RuntimeError, ValueError, AssertionError, OSError) as error:
            raise UserError(f"{files} cannot be read ({error}): get them from {self.home}") from error
        pixels, labels = images.data.numpy(), images.targets.numpy()
        if pixels.shape != (len(labels), 28, 28):
            raise UserError(
                f"expected as many images of 28 x 28 pixels as labels in {files}, got images "
                f"{list(pixels.shape)} and {len(labels)} labels: get them from {self.home}"
            )
        return Stored(pixels[:, None], labels.astype(np.int64), ())


MNIST = GreyImages("MNIST", "MNIST", tuple("0123456789"), "http://yann.lecun.com/exdb/mnist")

FASHION_MNIST = GreyImages(
    title="Fashion-MNIST",
    torchvision="FashionMNIST",
    classes=(
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    home="https://github.com/zalandoresearch/fashion-mnist",
)
