"""Fewer samples, fewer classes: the sub-tasks that methods are compared on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snnprune.data.splits import FrameSet, Splits


def labels(text: str, classes: Sequence[str]) -> list[int]:
    """Return the labels that ``text`` joins by commas.

    Args:
        text: such as "0,1,2,3,4".
        classes: names of all classes.

    Raises:
        UserError: no label of the data set, a label twice, or fewer than two.
    """
    words = [word.strip() for word in str(text).split(",")]
    known = {str(label): label for label in range(len(classes))}
    if len(words) < 2 or len(set(words)) < len(words) or not set(words) <= set(known):
        raise UserError(
            f"data.classes names at least two labels from 0 to {len(classes) - 1}, each once and joined by "
            f"commas, such as 0,1; it is '{text}'"
        )
    return [known[word] for word in words]


def of_classes(splits: Splits, chosen: Sequence[int]) -> Splits:
    """Return the samples of some classes, which are labelled 0, 1, ... in the order given."""
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
    """Return a training set of ``count`` samples: the first of each class, as many of each.

    Where ``count`` is no multiple of the number of classes, the first classes have one more. The samples keep
    their order; validation and test sets stay as they are.

    Raises:
        UserError: there are fewer samples than classes wanted, or a class has too few.
    """
    kinds, own = len(splits.classes), splits.train.labels
    if count < kinds:
        raise UserError(f"data.samples must be at least one for each of the {kinds} classes, and is {count}")
    chosen = []
    for label in range(kinds):
        wanted = count // kinds + (label < count % kinds)
        members = np.flatnonzero(own == label)
        if len(members) < wanted:
            raise UserError(
                f"data.samples {count} asks for {wanted} training samples of each class, and there are "
                f"{len(members)} of class {splits.classes[label]}: ask for fewer (data.validation "
                "sets some aside), or leave data.samples out for all of them"
            )
        chosen.append(members[:wanted])
    return replace(splits, train=splits.train.pick(np.sort(np.concatenate(chosen))))
