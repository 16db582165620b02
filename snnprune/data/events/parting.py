"""Frames of recordings become training, validation and test sets, in whole recordings or groups of them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from snnprune.common.errors import UserError
from snnprune.data.dividing import divide_groups
from snnprune.data.events.layouts import Part
from snnprune.data.splits import FrameSet, Splits, noticed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.config.schema import DataConfig
    from snnprune.data.cache import Stored
    from snnprune.data.events.layouts import Recording


TEST = 0.2
"""Share for the test by default: with a tenth for validation, seven tenths remain for training."""


@dataclass(frozen=True)
class Held:
    """Recordings and their frames.

    Attributes:
        recordings: what was read; all recordings of a part are held together.
        stored: their frames; in place of a label, each has the index of its recording.
    """

    recordings: Sequence[Recording]
    stored: Stored


@dataclass(frozen=True)
class _Chosen:
    """Some of the recordings that are held."""

    held: Held
    rows: npt.NDArray[np.int64]

    def frames(self) -> FrameSet:
        """Return the samples of these recordings, in order."""
        labels = np.array([recording.label for recording in self.held.recordings], dtype=np.int64)
        own = self.held.stored.labels
        return FrameSet(self.held.stored.frames, labels[own], np.flatnonzero(np.isin(own, self.rows)))

    def divided(self, share: float, what: str) -> tuple[_Chosen, _Chosen]:
        """Return these recordings in two: those that are kept, and a share of each class in whole groups."""
        recordings = [self.held.recordings[row] for row in self.rows]
        labels = np.array([recording.label for recording in recordings], dtype=np.int64)
        groups = [recording.group or str(recording.path) for recording in recordings]
        kept, aside = divide_groups(labels, groups, share, what)
        return _Chosen(self.held, self.rows[kept]), _Chosen(self.held, self.rows[aside])


def parted(held: Sequence[Held], classes: tuple[str, ...], config: DataConfig) -> Splits:
    """Make the three sets of recordings.

    Recordings of no part give a share of each class to the test. Recordings for training, unless there are
    some for validation, give a share of each class to validation. A part of which nothing is held is empty.

    Args:
        held: what was read.
        classes: name of each label.
        config: the shares.

    Warns of what was noticed when the frames were made.

    Raises:
        UserError: as `divide_groups`, or a group is in two parts.
    """
    chosen: dict[Part | None, _Chosen] = {}
    for one in held:
        readable = np.unique(one.stored.labels)
        of = np.array([one.recordings[row].part or "" for row in readable])
        for part in (*get_args(Part), None):
            rows = readable[of == (part or "")]
            if len(rows):
                chosen[part] = _Chosen(one, rows)
    _check_groups(chosen)
    if None in chosen:
        share = TEST if config.test is None else config.test
        chosen["train"], chosen["test"] = chosen.pop(None).divided(share, "data.test")
    if "train" in chosen and "validation" not in chosen:
        chosen["train"], chosen["validation"] = chosen["train"].divided(config.validation, "data.validation")
    _say_shared(chosen)
    frames = held[0].stored.frames
    nothing = FrameSet(frames[:0], np.zeros(0, np.int64))
    train, validation, test = (
        chosen[part].frames() if part in chosen else nothing for part in get_args(Part)
    )
    shape = frames.shape[-3:]
    skipped = noticed(*(one.stored for one in held))
    return Splits(
        train, validation, test, classes, (shape[0], shape[1], shape[2]), events=True, skipped=skipped
    )


def _say_shared(chosen: dict[Part | None, _Chosen]) -> None:
    """Warn where intervals of one file are in two parts, as a table may have it."""
    part_of: dict[Path, Part | None] = {}
    for part, one in chosen.items():
        for row in one.rows:
            path = one.held.recordings[row].path
            if part_of.setdefault(path, part) != part:
                warnings.warn(
                    f"{path} has intervals both in {part_of[path]} and in {part}: what they share, such as "
                    "the light, may give answers away",
                    stacklevel=4,
                )
                return


def _check_groups(chosen: dict[Part | None, _Chosen]) -> None:
    """Check that no group is in two parts."""
    part_of: dict[str, Part | None] = {}
    for part, one in chosen.items():
        for row in one.rows:
            group, path = one.held.recordings[row].group, one.held.recordings[row].path
            if group is not None and part_of.setdefault(group, part) != part:
                raise UserError(
                    f"the group '{group}' is both in {part_of[group]} and in {part}, with {path}: a group "
                    "must be in one part, or leave data.group out"
                )
