"""Set samples aside: a share of each class, and never a part of what belongs together."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


def divide(
    labels: npt.NDArray[np.int64], share: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Set a share of every class aside, such as for validation, evenly spaced in the given order.

    No seed is involved: the same samples in the same order are always divided in the same way. A class with
    at least two samples gives at least one and keeps at least one, unless the share is 0.

    Args:
        labels: int64 [N].
        share: of each class to set aside, in [0, 1).

    Returns:
        The indices of the samples that are kept and of those set aside, both in increasing order.
    """
    aside = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        wanted = round(len(members) * share) if share else 0
        if share and len(members) > 1:
            wanted = min(max(wanted, 1), len(members) - 1)
        aside.append(members[((np.arange(wanted) + 0.5) * len(members) / max(wanted, 1)).astype(np.int64)])
    validation = np.sort(np.concatenate(aside)) if aside else np.zeros(0, dtype=np.int64)
    train = np.setdiff1d(np.arange(len(labels)), validation, assume_unique=True)
    return train, validation


def divide_groups(
    labels: npt.NDArray[np.int64], groups: Sequence[str], share: float, what: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Set a share of every class aside, in whole groups.

    Where every group is of one class, `divide` chooses among the groups. Else a fold of scikit-learn's
    `StratifiedGroupKFold` is set aside: of 1 / share folds (rounded), the one whose classes are nearest to
    their share. No seed is involved.

    Args:
        labels: int64 [N].
        groups: N names.
        share: of each class to set aside, in [0, 1).
        what: the setting of the share, for the message.

    Returns:
        The indices of the samples that are kept and of those set aside, both in increasing order.

    Raises:
        UserError: a share is asked for and there is one group alone, or one in each class; or a class would
            be missing from what is kept.
    """
    names, place = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    if not share or not len(labels):
        return np.arange(len(labels)), np.zeros(0, np.int64)
    if len(names) < 2:
        raise UserError(
            f"{what} {share} sets whole files or groups aside, and all recordings are of one, '{names[0]}': "
            "add recordings of others"
        )
    first = np.array([np.flatnonzero(place == group)[0] for group in range(len(names))])
    if (labels[first][place] == labels).all():
        order = np.argsort(first, kind="stable")  # groups in the order of their first sample
        _, chosen = divide(labels[first[order]], share)
        aside = np.isin(place, order[chosen])
    else:
        aside = _fold(labels, place, share)
    for label in np.unique(labels):
        if aside[labels == label].all():
            raise UserError(
                f"{what} {share} would set all recordings of a class aside, since they are of one file or "
                "group: add recordings of it in others, or give the parts yourself"
            )
    if not aside.any():
        raise UserError(
            f"{what} {share} sets whole files or groups of each class aside, and each class has one alone: "
            "add recordings of others"
        )
    return np.flatnonzero(~aside), np.flatnonzero(aside)


def _fold(
    labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], share: float
) -> npt.NDArray[np.bool_]:
    """Return which samples are set aside: the fold nearest to the share of each class."""
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 - slow to import

    smaller = min(share, 1 - share)
    count = min(max(round(1 / smaller), 2), len(np.unique(groups)))
    wanted = np.bincount(labels) * smaller
    folds = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # no class need be in each fold
        for _, fold in StratifiedGroupKFold(count).split(labels, labels, groups):
            distance = np.abs(np.bincount(labels[fold], minlength=len(wanted)) - wanted).sum()
            folds.append((distance, fold))
    best = min(folds, key=lambda pair: pair[0])[1]
    chosen = np.zeros(len(labels), np.bool_)
    chosen[best] = True
    return chosen if share == smaller else ~chosen
