"""Data: a name and a folder become uint8 frames [T, P, H, W] (or images [C, H, W]) and labels.

It does not depend on any network. Modules are imported on first use, so that `where` stays fast.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from snnprune.common.errors import UserError
from snnprune.common.lazy import lazily
from snnprune.common.phases import phase
from snnprune.config.check import check_data, check_values
from snnprune.config.names import DATASETS, pick
from snnprune.data.folders import held, root_given
from snnprune.data.source import HALVES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snnprune.config.schema import DataConfig
    from snnprune.data.augmentation import AugmentedSet, augmented
    from snnprune.data.encoding import Encoder, encode
    from snnprune.data.source import Half, HalfSource, Source
    from snnprune.data.splits import FrameSet, Splits, as_is
else:
    # Names that need torch are imported on first use.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "snnprune.data.augmentation": ["AugmentedSet", "augmented"],
            "snnprune.data.encoding": ["Encoder", "encode"],
            "snnprune.data.splits": ["FrameSet", "Splits", "as_is"],
        },
    )

__all__ = [
    "AugmentedSet",
    "Encoder",
    "FrameSet",
    "Splits",
    "as_is",
    "augmented",
    "encode",
    "halves",
    "load",
    "look",
    "prepare",
    "read",
    "where",
]


def load(config: DataConfig) -> Splits:
    """Read a data set. Build its cache of frames first if there is none.

    Raises:
        UserError: unknown name, data not on disk, unreadable recording, or a setting out of range.
    """
    return _loaded(config, test_only=False)


def read(
    config: DataConfig,
    given: Splits | None = None,
    needed: Sequence[str] = ("train", "validation", "test"),
) -> Splits:
    """Read a data set as `load` does, or take the one that is ``given``, and check that it has samples.

    Args:
        config: names the data set.
        given: the data, if they were made by hand.
        needed: which of the three sets must not be empty. If it is the test set alone, the other two are not
            read from a data set that has them apart, and need not be there.

    Raises:
        UserError: as `load`, or one of the ``needed`` sets is empty.
    """
    splits = _loaded(config, test_only=set(needed) == {"test"}) if given is None else given
    for name in needed:
        if len(getattr(splits, name)) == 0:
            raise UserError(
                f"expected samples in the {name} set of '{config.name}', and it is empty: check "
                f"{'data.test' if name == 'test' else 'data.validation'} (it is "
                f"{config.test if name == 'test' else config.validation}) and the content of the data folder"
            )
    return splits


def prepare(config: DataConfig) -> str:
    """Do all the work of `load`, so that later calls are fast, and return a sentence on the result.

    Raises:
        UserError: as `load`.
    """
    splits = load(config)
    counts = f"{len(splits.train)} training, {len(splits.validation)} validation and {len(splits.test)} test"
    kind = "recordings" if splits.events else "images"
    skipped = f"; {len(splits.skipped)} unreadable ones left out" if splits.skipped else ""
    return f"{config.name} is ready: {counts} {kind} of shape {splits.shape}{skipped}"


def where(name: str, root: str | Path | None = None) -> Path | None:
    """Return the folder that holds a data set or a part of it, or None if it is not on disk.

    Args:
        name: a data set.
        root: the folder to look in; by default the folder that SNNPRUNE_DATA names.

    Raises:
        UserError: there is no data set of this name.
    """
    return _source(name).found(root_given(root))


def halves(name: str, root: str | Path | None = None) -> tuple[Half, ...]:
    """Return which of "train" (with the validation set) and "test" are on disk.

    Args:
        name: a data set.
        root: as in `where`.

    Raises:
        UserError: there is no data set of this name.
    """
    source = _source(name)
    folder = source.found(root_given(root))
    if folder is None:
        return ()
    return tuple(
        half for half in HALVES if not hasattr(source, "absent") or source.absent(folder, half) is None
    )


def look(config: DataConfig) -> None:
    """Check that a data set is on disk or may be downloaded, before anything slow is imported.

    A data set of the user's own is not checked here: its `load` raises the error.

    Raises:
        UserError: the data set or a part of it is not on disk, and may not be downloaded.
    """
    source, root = _source(config.name), root_given(config.root)
    fetched = config.download and root is not None
    if hasattr(source, "missing") and not fetched:
        held(cast("HalfSource", source), root)


def _loaded(config: DataConfig, *, test_only: bool) -> Splits:
    check_values(config, "data")
    check_data(config)
    phase(f"reading {config.name}")
    source = _source(config.name)
    if test_only:
        read = source.load_test if hasattr(source, "load_test") else source.load
        return _narrowed(read(config), replace(config, samples=None))  # they are training samples
    return _narrowed(source.load(config), config)


def _narrowed(splits: Splits, config: DataConfig) -> Splits:
    from snnprune.data import subset  # noqa: PLC0415 - imports torch, which `where` does not need

    if config.classes is not None:
        splits = subset.of_classes(splits, subset.labels(config.classes, splits.classes))
    if config.samples is not None:
        splits = subset.of_samples(splits, config.samples)
    return splits


def _source(name: str) -> Source:
    source: Source = pick(DATASETS, "data set", name).load()
    return source
