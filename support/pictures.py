"""Small copies of CIFAR-10 in each form that is read."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from snnprune.data.cifar import CLASSES

if TYPE_CHECKING:
    from pathlib import Path


def picture(label: int, number: int) -> bytes:
    """A PNG of one colour for each class, with a white row for its number."""
    pixels = np.full((32, 32, 3), 20 * label, np.uint8)
    pixels[number] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pictures(per_class: int = 3) -> dict[str, bytes]:
    """Some of each class, by `<class>/<name>`."""
    return {
        f"{name}/{number:04d}.png": picture(label, number)
        for label, name in enumerate(CLASSES)
        for number in range(per_class)
    }


def write_archives(root: Path, changes: dict[str, bytes | None] | None = None) -> Path:
    """Write `{train,test}.tar.gz` of such pictures, with ``changes`` in the first; return `root`."""
    root.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        members = {**pictures(), **((changes or {}) if split == "train" else {})}
        with tarfile.open(root / f"{split}.tar.gz", "w:gz") as tar:
            for name, content in reversed(members.items()):  # order in the archive must not matter
                if content is not None:
                    member = tarfile.TarInfo(f"{split}/{name}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return root


def write_folders(root: Path) -> Path:
    """Write `{train,test}/<class>/<name>`; return `root`."""
    for split in ("train", "test"):
        for name, content in pictures().items():
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


def write_binary(root: Path) -> Path:
    """Write `data_batch_{1,2}.bin` and `test_batch.bin`, rows of a label and its pixels; return `root`."""
    root.mkdir(parents=True)
    rows = np.zeros((30, 3073), np.uint8)
    for row, (name, content) in zip(rows, pictures().items(), strict=True):
        row[0] = CLASSES.index(name.split("/")[0])
        row[1:] = np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1).ravel()
    rows[:20].tofile(root / "data_batch_1.bin")
    rows[20:].tofile(root / "data_batch_2.bin")
    rows.tofile(root / "test_batch.bin")
    return root
