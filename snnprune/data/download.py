"""Download a data set on request, check it against its known checksum, and unpack it safely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnprune.common.errors import UserError
from snnprune.data.archives import unpack
from snnprune.data.source import HALVES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snnprune.data.source import Half

CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"


def fetch_recordings(
    tonic_class: Any, folder: Path, title: str, home: str, halves: Sequence[Half] = HALVES
) -> None:
    """Download the archives of ``halves`` that a Tonic class names into ``folder``, and unpack them there.

    Raises:
        UserError: Tonic has no address for them, there is no network, or a checksum is wrong.
    """
    from tonic.download_utils import download_url  # noqa: PLC0415 - slow to import

    for part in halves:
        address = getattr(tonic_class, f"{part}_url", None)
        if address is None:
            raise UserError(
                f"{title} cannot be fetched, because Tonic has no address for it: get it from {home}"
            )
        name = getattr(tonic_class, f"{part}_filename")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            download_url(address, str(folder), filename=name, md5=getattr(tonic_class, f"{part}_md5"))
            unpack(folder / name, folder)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{title} could not be fetched from {address} ({error}): get it from {home}"
            ) from error


def fetch_cifar10(root: Path, home: str) -> None:
    """Download the binary version of CIFAR-10, which contains no pickles, and unpack it in ``root``.

    Raises:
        UserError: there is no network, or the checksum is wrong.
    """
    from torchvision.datasets.utils import download_url  # noqa: PLC0415 - slow to import

    try:
        root.mkdir(parents=True, exist_ok=True)
        download_url(CIFAR10, str(root), md5=CIFAR10_MD5)
        unpack(root / CIFAR10.rpartition("/")[2], root)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"CIFAR-10 could not be fetched from {CIFAR10} ({error}): get it from {home}"
        ) from error
