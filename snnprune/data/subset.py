"""Fewer samples or fewer classes: the sub-tasks on which methods are compared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snnprune.data.splits import FrameSet, Splits


def labels(text: str, classes: Sequence[str]) -> list[int]:
    """Return the labels in ``text``, which are joined by commas.

    Args:
        text: such as "0,1,2,3,4".
        classes: names of all classes.

    Raises:
        UserError: an unknown label, a label twice, or fewer than two labels.
    """
    words = [word.strip() for word in str(text).split(",")]
    known = {str(label): label for label in range(len(classes))}
    if len(words) < 2 or len(set(words)) < len(words) or not set(words) <= set(known):
        raise UserError(
            f"data.classes must be at least two different labels from 0 to {len(classes) - 1}, joined by "
            f"commas, such as 0,1; it is '{text}'"
        )
    return [known[word] for word in words]


def of_classes(splits: Splits, chosen: Sequence[int]) -> Splits:
    """Return the samples of some classes, with new labels 0, 1, ... in the given order."""
    new = np.full(len(splits.classes), -1, dtype=np.int64)
    new[list(chosen)] = np.arange(len(chosen))

    def narrowed(frames: FrameSet) -> FrameSet:
        relabelled = new[frames.labels]
        return frames.pick(np.flatnonzero(relabelled >= 0), relabelled)

    return replace(
        splits,
        train=narrowed(splits.train),
        validation=narrowed(splits.validation),
        test=narrowed(splits.test),
        classes=tuple(splits.classes[label] for label in chosen),
    )


def of_samples(splits: Splits, count: int) -> Splits:
    """Reduce the training set to ``count`` samples: the first of each class, equally many of each.

    If ``count`` is not a multiple of the number of classes, the first classes have one more. The samples keep
    their order. Validation and test sets stay as they are.

    Raises:
        UserError: ``count`` is below the number of classes, or a class has too few samples.
    """
    kinds, own = len(splits.classes), splits.train.labels
    if count < kinds:
        raise UserError(f"data.samples must be at least {kinds}, one for each class, and is {count}")
    chosen = []
    for label in range(kinds):
        wanted = count // kinds + (label < count % kinds)
        members = np.flatnonzero(own == label)
        if len(members) < wanted:
            raise UserError(
                f"data.samples {count} asks for {wanted} training samples of each class, and there are "
                f"{len(members)} of class {splits.classes[label]}: ask for fewer (data.validation "
                "sets some aside), or leave data.samples out to use all of them"
            )
        chosen.append(members[:wanted])
    return replace(splits, train=splits.train.pick(np.sort(np.concatenate(chosen))))
