"""CIFAR-10, in each form that can be read without executing its content.

The official Python version consists of pickles, which run code when they are opened, so it is not read.
Three forms are read: the official binary version (`cifar-10-batches-bin`), folders of images
(`train/<class>/*`, through torchvision's ImageFolder), and two archives of such folders (`train.tar.gz`,
`test.tar.gz`), which are read in place and never unpacked.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from snnprune.common.errors import UserError
from snnprune.data import archives
from snnprune.data.cache import Batch, Stored, cached, fingerprint
from snnprune.data.download import fetch_cifar10
from snnprune.data.folders import cache_folder, held, incomplete, missing, root_given, search
from snnprune.data.source import HALVES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from snnprune.config.schema import DataConfig
    from snnprune.data.source import Half
    from snnprune.data.splits import Splits

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"
SHAPE = (3, 32, 32)
BINARY = "cifar-10-batches-bin"
FOLDERS = (BINARY, "cifar10", "cifar10-jpg")
# Bytes of a file. A JPEG or PNG of 32 x 32 pixels takes under 10 kB; a far larger file is something else.
LARGEST = 2**20
# Members of an archive. CIFAR-10 has at most 50,000 in one.
MOST = 100_000
# The formats that ImageFolder finds. Pillow opens many more, and starts other programs for some.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")


class Cifar10:
    """CIFAR-10 as a `snnprune.data.source.Source`."""

    events: ClassVar[bool] = False

    def found(self, root: Path | None) -> Path | None:
        """Return the folder with the archives, the image folders or the binary batches, or None."""
        return search(root, FOLDERS, _holds)

    def load(self, config: DataConfig) -> Splits:
        """Decode all images, or open the cache of an earlier call.

        Raises:
            UserError: no data, a class without an image, or an image that cannot be read.
        """
        from snnprune.data.splits import assembled  # noqa: PLC0415 - imports torch, which `found` does not need

        folder = self._folder(config, *HALVES)
        train, test = (_stored(folder, half, config) for half in HALVES)
        return assembled(train, test, config.validation, CLASSES, SHAPE, events=False)

    def load_test(self, config: DataConfig) -> Splits:
        """Decode the images of the test set, or open the cache of an earlier call.

        Raises:
            UserError: as `load`, of the test set.
        """
        from snnprune.data.splits import assembled  # noqa: PLC0415 - imports torch, which `found` does not need

        test = _stored(self._folder(config, "test"), "test", config)
        return assembled(test.none(), test, config.validation, CLASSES, SHAPE, events=False)

    def missing(self, root: Path | None) -> UserError:
        """Return the error for a data set that is not on disk."""
        return missing("CIFAR-10 (binary version)", root, BINARY, HOME, downloads=True)

    def absent(self, folder: Path, half: Half) -> UserError | None:
        """Return the error for a half of which there is no file, else None."""
        if _parts(folder, half):
            return None
        other: Half = "train" if half == "test" else "test"
        what, name = ("training", "data_batch_1.bin") if half == "train" else ("test", "test_batch.bin")
        beside = _parts(folder, other)
        if beside and beside[0].suffix != ".bin":
            name = beside[0].name.replace(other, half)
        return incomplete("CIFAR-10", f"{what} images", folder / name, HOME, downloads=True)

    def _folder(self, config: DataConfig, *halves: Half) -> Path:
        root = root_given(config.root)
        try:
            return held(self, root, halves)
        except UserError:
            if not config.download or root is None:
                raise
        fetch_cifar10(root, HOME)
        return held(self, root, halves)


def _parts(folder: Path, half: Half) -> list[Path]:
    """Return the files or folders of a half: binary batches, an archive, or a folder of classes."""
    batches = sorted(folder.glob("data_batch_[1-5].bin" if half == "train" else "test_batch.bin"))
    if batches:
        return batches
    archive, pictures = folder / f"{half}.tar.gz", folder / half
    if archive.is_file():
        return [archive]
    return [pictures] if any((pictures / name).is_dir() for name in CLASSES) else []


def _holds(folder: Path, half: Half) -> bool:
    return bool(_parts(folder, half))


def _stored(folder: Path, split: Half, config: DataConfig) -> Stored:
    parts = _parts(folder, split)
    files = sorted(path for part in parts for path in ([part] if part.is_file() else part.glob("*/*")))
    key = {
        "data": f"cifar10-{split}",
        "files": fingerprint(folder, files),
        "skip_corrupt": config.skip_corrupt,
    }
    total = 50_000 if split == "train" else 10_000
    return cached(cache_folder(config.cache), f"cifar10-{split}", key, lambda: _read(parts, config), total)


def _read(parts: list[Path], config: DataConfig) -> Iterator[Batch]:
    if parts[0].suffix == ".bin":
        return (_binary(part) for part in parts)
    pictures = _archived(parts[0]) if parts[0].is_file() else _pictures(parts[0])
    absent = sorted(set(range(len(CLASSES))) - {picture.label for picture in pictures})
    if absent and not (config.skip_corrupt and pictures):
        raise UserError(
            f"CIFAR-10 has no image of class '{CLASSES[absent[0]]}' in {parts[0]}: add it, or train without "
            "it with --data.skip_corrupt true"
        )
    return _decoded(pictures, skip=config.skip_corrupt)


def _binary(path: Path) -> Batch:
    """Read a batch of the binary version: rows of a label and 3 x 32 x 32 pixels, a byte each."""
    rows = np.fromfile(path, np.uint8)
    size = 1 + int(np.prod(SHAPE))
    if not len(rows) or len(rows) % size or rows[::size].max() >= len(CLASSES):
        raise UserError(
            f"{path} is not a complete batch of CIFAR-10: expected rows of {size} bytes that begin with a "
            f"label below {len(CLASSES)}, got {len(rows)} bytes; get it from {HOME}"
        )
    rows = rows.reshape(-1, size)
    return Batch(rows[:, 1:].reshape(-1, *SHAPE), rows[:, 0].astype(np.int64))


@dataclass(frozen=True)
class Picture:
    """An image that is not decoded yet."""

    name: str
    label: int
    content: bytes | Path


def _archived(archive: Path) -> list[Picture]:
    """Return the members `<split>/<class>/<name>` of an archive, sorted by name."""
    pictures = []
    try:
        with archives.tar(archive) as tar:
            for number, member in enumerate(tar):
                if number > MOST:
                    raise UserError(
                        f"{archive} has more than {MOST:,} members, and is not CIFAR-10: replace it"
                    )
                label = _label(PurePosixPath(member.name).parent.name)
                if label is None or not member.isfile() or member.size > LARGEST:
                    continue
                content = tar.extractfile(member)
                if content is not None:
                    pictures.append(Picture(f"{archive}: {member.name}", label, content.read()))
    except archives.DAMAGED as error:
        raise UserError(f"{archive} cannot be read to its end ({error}): replace it") from error
    return sorted(pictures, key=lambda picture: picture.name)


def _pictures(folder: Path) -> list[Picture]:
    """Return the images of class folders, in the order of torchvision's ImageFolder."""
    from torchvision.datasets import ImageFolder  # noqa: PLC0415 - slow to import

    try:
        listed = ImageFolder(str(folder), allow_empty=True)
    except OSError as error:
        raise UserError(f"the class folders in {folder} cannot be read ({error})") from error
    found = ((Path(path), _label(listed.classes[number])) for path, number in listed.samples)
    return [Picture(str(path), label, path) for path, label in found if label is not None]


def _label(name: str) -> int | None:
    return CLASSES.index(name) if name in CLASSES else None


def _decoded(pictures: list[Picture], *, skip: bool) -> Iterator[Batch]:
    for picture in pictures:
        try:
            yield Batch(_pixels(picture.content)[None], np.asarray([picture.label]))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            if not skip:
                raise UserError(
                    f"{picture.name} is not a usable image ({error}): replace it, or leave it out with "
                    "--data.skip_corrupt true"
                ) from error
            yield Batch(np.zeros((0, *SHAPE), np.uint8), np.zeros(0, np.int64), (picture.name,))


def _pixels(content: bytes | Path) -> npt.NDArray[np.uint8]:
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    with Image.open(source, formats=FORMATS) as image:
        if image.size != SHAPE[1:]:
            raise ValueError(f"it has {image.size[0]} x {image.size[1]} pixels, not 32 x 32")
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


CIFAR10 = Cifar10()
