"""A data set as the trainer uses it: three sets of ready frames."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from snnprune.common.errors import UserError
from snnprune.data.dividing import divide

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from snnprune.data.cache import Stored

Anything = TypeVar("Anything")


class FrameSet(Dataset[tuple[torch.Tensor, int]]):
    """Frames (or images) and labels, selected by index.

    A DataLoader gets whole batches from `__getitems__`, each with one gather from memory or from the memory
    map, and passes them on with ``collate_fn=as_is``.

    Attributes:
        labels: int64 [N].
    """

    def __init__(
        self,
        frames: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        index: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Select samples.

        Args:
            frames: uint8 [M, T, P, H, W] or [M, C, H, W]; may be a memory map.
            labels: int64 [M].
            index: which of the M samples belong to this set, in order; all by default.

        Raises:
            UserError: frames of another type or number of axes, or another number of labels.
        """
        if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim not in (4, 5):
            raise UserError(
                "frames must be a numpy array of uint8, [samples, T, P, H, W] or [samples, C, H, W], and are "
                f"{_described(frames)}"
            )
        if len(frames) != len(labels):
            raise UserError(f"each sample needs a label: {len(frames)} samples and {len(labels)} labels came")
        self._frames = frames
        self._index = np.arange(len(labels)) if index is None else np.asarray(index, dtype=np.int64)
        self.labels: npt.NDArray[np.int64] = np.asarray(labels, dtype=np.int64)[self._index]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: [T, P, H, W], or [C, H, W]."""
        return tuple(self._frames.shape[1:])

    def pick(self, chosen: npt.NDArray[np.int64], labels: npt.NDArray[np.int64] | None = None) -> FrameSet:
        """Return the samples at ``chosen``, in that order; ``labels`` [N] replace their own labels."""
        picked = FrameSet(self._frames, np.zeros(len(self._frames), dtype=np.int64), self._index[chosen])
        picked.labels = (self.labels if labels is None else labels)[chosen]
        return picked

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(np.array(self._frames[self._index[i]])), int(self.labels[i])

    def __getitems__(self, chosen: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ready batch: uint8 [B, ...] and int64 [B]."""
        rows = np.asarray(chosen, dtype=np.int64)
        # A view without the memmap class: fancy indexing then copies directly into a plain array.
        batch = self._frames.view(np.ndarray)[self._index[rows]]
        return torch.from_numpy(batch), torch.from_numpy(self.labels[rows])

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield all samples in order, ``size`` at a time; the last batch may be shorter."""
        for start in range(0, len(self), size):
            yield self.__getitems__(range(start, min(start + size, len(self))))

    def __getstate__(self) -> dict[str, Any]:
        """Send a memory map to a worker process as the name of its file, not as its content."""
        state = dict(self.__dict__)
        frames = self._frames
        if isinstance(frames, np.memmap):
            state["_frames"] = (str(frames.filename), frames.offset, frames.shape)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["_frames"], tuple):
            name, offset, shape = state["_frames"]
            state["_frames"] = np.memmap(name, dtype=np.uint8, mode="r", offset=offset, shape=shape)
        self.__dict__.update(state)


@dataclass(frozen=True)
class Splits:
    """A data set that has been read.

    Attributes:
        train: the samples that the network learns from.
        validation: the samples that decide which epoch is best; none of them is in the other two sets.
        test: the samples that are measured, and decide nothing.
        classes: name of each label.
        shape: polarities (or colour channels), height and width of a frame.
        events: True for recordings, [N, T, P, H, W], False for still images, [N, C, H, W].
        skipped: files that could not be read and were left out with ``data.skip_corrupt``.

    Raises:
        UserError: samples of another shape, or labels that are none of the classes.

    Examples:
        >>> import numpy as np
        >>> import snnprune
        >>> images, labels = np.zeros((9, 1, 8, 8), dtype=np.uint8), np.arange(9) % 3
        >>> third = snnprune.data.FrameSet(images[:3], labels[:3])
        >>> splits = snnprune.Splits(third, third, third, ("a", "b", "c"), (1, 8, 8), events=False)
        >>> len(splits.train)
        3
    """

    train: FrameSet
    validation: FrameSet
    test: FrameSet
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    events: bool
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kind = "recordings, [N, T, P, H, W]" if self.events else "images, [N, C, H, W]"
        for name in ("train", "validation", "test"):
            own: FrameSet = getattr(self, name)
            if len(own.shape) != (4 if self.events else 3) or own.shape[-3:] != tuple(self.shape):
                raise UserError(
                    f"the {name} set must hold {kind}, with {tuple(self.shape)} at the end (events is "
                    f"{self.events}), and its samples have the shape {own.shape}"
                )
            if len(own) and not 0 <= own.labels.min() <= own.labels.max() < len(self.classes):
                raise UserError(
                    f"labels of the {name} set must be from 0 to {len(self.classes) - 1}, one for each of "
                    f"{len(self.classes)} classes, and are from {own.labels.min()} to {own.labels.max()}"
                )


def _described(frames: Any) -> str:
    if isinstance(frames, np.ndarray):
        return f"{frames.dtype} {list(frames.shape)}"
    return type(frames).__name__


def as_is(batch: Anything) -> Anything:
    """Return the batch unchanged: `FrameSet.__getitems__` has made it already."""
    return batch


def assembled(
    train: Stored,
    test: Stored,
    share: float,
    classes: tuple[str, ...],
    shape: tuple[int, int, int],
    *,
    events: bool,
) -> Splits:
    """Make the three sets of a data set that has no validation set of its own.

    Warns if samples were left out.

    Args:
        train: the samples for training and validation.
        test: the samples for testing.
        share: share of each class of ``train`` that is set aside for validation.
        classes: as in `Splits`.
        shape: as in `Splits`.
        events: as in `Splits`.
    """
    kept, aside = divide(train.labels, share)
    return Splits(
        train=FrameSet(train.frames, train.labels, kept),
        validation=FrameSet(train.frames, train.labels, aside),
        test=FrameSet(test.frames, test.labels),
        classes=classes,
        shape=shape,
        events=events,
        skipped=noticed(train, test),
    )


def noticed(*stored: Stored) -> tuple[str, ...]:
    """Warn of what was noticed when frames were made, and return the files that were left out."""
    skipped = tuple(file for one in stored for file in one.skipped)
    for remark in dict.fromkeys(remark for one in stored for remark in one.remarks):
        warnings.warn(remark, stacklevel=3)
    if skipped:
        count = f"{len(skipped)} could not be read and {'was' if len(skipped) == 1 else 'were'} left out"
        warnings.warn(
            f"of {len(skipped) + sum(len(one.labels) for one in stored)} samples {count}: "
            f"{skipped[0]}{', ...' if len(skipped) > 1 else ''}",
            stacklevel=3,
        )
    return skipped
