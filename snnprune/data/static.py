"""MNIST and Fashion-MNIST: still images, read by torchvision."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from snnprune.common.errors import UserError
from snnprune.data.cache import Stored
from snnprune.data.folders import held, incomplete, missing, root_given, search
from snnprune.data.source import HALVES

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.config.schema import DataConfig
    from snnprune.data.source import Half
    from snnprune.data.splits import Splits

FILES: dict[Half, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Names of the files of images and of labels."""

CALLED: dict[Half, str] = {"train": "training", "test": "test"}


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
        return search(root, (self.torchvision,), self._holds)

    def load(self, config: DataConfig) -> Splits:
        """Read all images into memory.

        Raises:
            UserError: no data, or an incomplete file.
        """
        from snnprune.data.splits import assembled  # noqa: PLC0415 - imports torch, which `found` does not need

        folder = self._folder(config, *HALVES)
        train, test = (self._read(folder, config, half) for half in HALVES)
        return assembled(train, test, config.validation, self.classes, (1, 28, 28), events=False)

    def load_test(self, config: DataConfig) -> Splits:
        """Read the images of the test set into memory.

        Raises:
            UserError: as `load`, of the two files of the test set.
        """
        from snnprune.data.splits import assembled  # noqa: PLC0415 - imports torch, which `found` does not need

        test = self._read(self._folder(config, "test"), config, "test")
        return assembled(test.none(), test, config.validation, self.classes, (1, 28, 28), events=False)

    def missing(self, root: Path | None) -> UserError:
        """Return the error for a data set that is not on disk."""
        return missing(self.title, root, f"{self.torchvision}/raw", self.home, downloads=True)

    def absent(self, folder: Path, half: Half) -> UserError | None:
        """Return the error for a file of images or labels that is not there, else None."""
        for name in FILES[half]:
            if not (folder / "raw" / name).is_file():
                what, place = f"{CALLED[half]} images", folder / "raw" / name
                return incomplete(self.title, what, place, self.home, downloads=True)
        return None

    def _holds(self, folder: Path, half: Half) -> bool:
        return folder.name == self.torchvision and (folder / "raw" / FILES[half][0]).is_file()

    def _folder(self, config: DataConfig, *halves: Half) -> Path:
        root = root_given(config.root)
        if config.download and root is not None:
            return self.found(root) or root / self.torchvision
        return held(self, root, halves)

    def _read(self, folder: Path, config: DataConfig, half: Half) -> Stored:
        reader = getattr(importlib.import_module("torchvision.datasets"), self.torchvision)
        # torchvision looks for the files of both halves, and fetches those of both: it is told of one half.
        own = [(name, md5) for name, md5 in reader.resources if name.startswith(FILES[half])]
        reader = type(self.torchvision, (reader,), {"resources": own})
        files = f"the {CALLED[half]} files of {self.title} in {folder / 'raw'}"
        try:
            images = reader(root=folder.parent, train=half == "train", download=config.download)
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
