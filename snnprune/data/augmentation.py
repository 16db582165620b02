"""Changes of the frames of training samples, drawn anew for each sample in each epoch.

They are made in this order, each with its own random numbers:

    drop=SHARE      a share d is drawn from [0, SHARE], and each event is left out with chance d
    jitter=FRAMES   each event is moved in time by a normal number with this standard deviation
    cutout=PIXELS   the cells of a square of this side, around a random pixel, are emptied
    flip=CHANCE     left and right are exchanged with this chance
    roll=PIXELS     both axes move by whole pixels, uniform in -PIXELS .. PIXELS; what leaves comes back
    shift=PIXELS    the same, and what leaves is lost; the other edge stays empty

Frames of one row are channels of sound, which are moved and emptied along their channels alone.

A frame does not say when in its time an event came, so jitter takes this for uniform. With u uniform in
[0, 1) and z standard normal, an event moves by floor(u + s z) frames, s being the standard deviation in
frames. The chance of a move by k is then the second difference of G:

    P(k) = G(k + 1) - 2 G(k) + G(k - 1),    G(x) = x Phi(x / s) + s phi(x / s)

For small s, 0.40 s of the events go to the next frame and as many to the one before. Events that would leave
the recording stay in its first or last frame, so that none is lost.

Drops are the "random drop" of EventDrop (Gu et al., IJCAI 2021), whose public code draws the share for each
sample from 0.1, 0.2 .. 0.9, and drops at random in one of four samples (else nothing, a span of time, or an
area). Flip, roll and cutout are among the changes of NDA (Li et al., ECCV 2022), cutout itself being that of
DeVries and Taylor (2017).
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from snnprune.common.errors import UserError
from snnprune.common.seeds import Stream, derive

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from snnprune.config.changes import Changes
    from snnprune.data.splits import FrameSet

    Frames = npt.NDArray[np.uint8]
    Dice = np.random.Generator


MOST = 255
"""Events that a cell of a frame counts at most."""


def augmented(frames: Frames, changes: Changes, dice: Dice) -> Frames:
    """Return changed frames of one recording.

    Args:
        frames: counts of events, uint8 [T, P, H, W]; they are not changed.
        changes: what to change.
        dice: of the random numbers.

    Returns:
        uint8 [T, P, H, W]; a count above 255 stays at 255.

    Examples:
        >>> import numpy as np
        >>> from snnprune.config.changes import Changes
        >>> from snnprune.data.augmentation import augmented
        >>> frames = np.array([1, 0, 3], dtype=np.uint8).reshape(1, 1, 1, 3)
        >>> augmented(frames, Changes(flip=1.0), np.random.default_rng(0)).ravel().tolist()
        [3, 0, 1]
    """
    if changes.drop is not None or changes.jitter is not None:
        frames = _of_events(frames, changes.drop, changes.jitter, dice)
    if changes.cutout is not None:
        frames = _without_square(frames, changes.cutout, dice)
    if changes.flip is not None and dice.random() < changes.flip:
        frames = frames[..., ::-1]
    if changes.roll is not None:
        frames = np.roll(frames, _offsets(changes.roll, dice), axis=(2, 3))
    if changes.shift is not None:
        frames = _shifted(frames, *_offsets(changes.shift, dice))
    return frames


def _of_events(frames: Frames, drop: float | None, jitter: float | None, dice: Dice) -> Frames:
    """Leave out and move single events."""
    counts = frames.reshape(-1)
    cells = np.flatnonzero(counts != 0)  # of booleans four times as fast as of bytes
    events = np.repeat(cells, counts[cells])
    if drop is not None:
        share = dice.random() * drop
        events = events[dice.random(len(events), dtype=np.float32) >= share]
    if jitter is not None:
        _move(events, frames[0].size, len(frames), jitter, dice)
    moved = np.bincount(events, minlength=counts.size)
    return np.minimum(moved, MOST).astype(np.uint8).reshape(frames.shape)


def _move(events: npt.NDArray[np.intp], size: int, steps: int, jitter: float, dice: Dice) -> None:
    """Move events in time, in place; ``events`` are places in ``steps`` frames of ``size`` cells each."""
    first, ends = moves(jitter)
    drawn = dice.random(len(events), dtype=np.float32)
    moved = np.flatnonzero((drawn < ends[-first - 1]) | (drawn >= ends[-first]))
    step, cell = np.divmod(events[moved], size)
    step += np.searchsorted(ends, drawn[moved], side="right") + first
    events[moved] = step.clip(0, steps - 1) * size + cell


@cache
def moves(jitter: float) -> tuple[int, npt.NDArray[np.float32]]:
    """Return the chances of moves by k frames, as the module's formula has them.

    Args:
        jitter: standard deviation of the change in time, in frames.

    Returns:
        The least k, and for it and each following k the chance of moving by at most k, as float32. Moves of
        more than six standard deviations have no chance.
    """
    most = math.ceil(6 * jitter) + 1
    places = np.arange(-most - 1, most + 2) / jitter
    below = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in places])
    integral = jitter * (places * below + np.exp(-(places**2) / 2) / math.sqrt(2 * math.pi))
    chances = np.cumsum(np.diff(integral, 2))
    return -most, chances.astype(np.float32)


def _without_square(frames: Frames, side: int, dice: Dice) -> Frames:
    """Empty a square around a random pixel, at all times; at an edge, a part of it is outside."""
    rows, columns = (_run(int(dice.integers(length)) - side // 2, side) for length in frames.shape[2:])
    left = frames.copy()
    left[:, :, rows, columns] = 0
    return left


def _run(start: int, length: int) -> slice:
    return slice(max(start, 0), max(start + length, 0))


def _offsets(most: int, dice: Dice) -> tuple[int, int]:
    down, right = dice.integers(-most, most, size=2, endpoint=True).tolist()
    return down, right


def _shifted(frames: Frames, down: int, right: int) -> Frames:
    height, width = frames.shape[2:]
    down = 0 if height == 1 else down
    shifted = np.zeros_like(frames, order="C")
    source = frames[:, :, _run(-down, height), _run(-right, width)]
    shifted[:, :, _run(down, height), _run(right, width)] = source
    return shifted


class AugmentedSet(Dataset[tuple[torch.Tensor, int]]):
    """The training set with its changes.

    It is asked for ``epoch * len(self) + i``, which `snnprune.training.sampler.EpochSampler` yields. The
    frames of sample i are a function of (seed, epoch, i), in whichever batch and process they are asked for.

    Args:
        frames: recordings.
        changes: what to change.
        seed: of the run.

    Raises:
        UserError: a change is as large as the frames.
    """

    def __init__(self, frames: FrameSet, changes: Changes, seed: int) -> None:
        height, width = frames.shape[-2:]
        least, what = (width, "channels") if height == 1 else (min(height, width), "pixels")
        for name in ("cutout", "roll", "shift"):
            if (getattr(changes, name) or 0) >= least:
                raise UserError(
                    f"data.augment must change less than the {least} {what} of a frame, and has {name}="
                    f"{getattr(changes, name)}"
                )
        self.frames, self.changes, self.seed = frames, changes, seed

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        batch, labels = self.__getitems__([number])
        return batch[0], int(labels[0])

    def __getitems__(self, numbers: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ready batch: uint8 [B, T, P, H, W] and int64 [B]."""
        places = [divmod(number, len(self)) for number in numbers]
        batch, labels = self.frames.__getitems__([i for _, i in places])
        samples = batch.numpy()
        for row, place in enumerate(places):
            dice = np.random.default_rng(derive(self.seed, Stream.AUGMENT, *place))
            samples[row] = augmented(samples[row], self.changes, dice)
        return batch, labels
