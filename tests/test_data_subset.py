"""The first samples of each class, and some of the classes."""

from __future__ import annotations

import numpy as np
import pytest

from snnprune import data
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig
from snnprune.data.splits import FrameSet, Splits
from snnprune.data.subset import labels, of_classes, of_samples

NAMES = ("cat", "dog", "fox")


def frames(*own: int) -> FrameSet:
    """Images whose one pixel is their place."""
    images = np.arange(len(own), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return FrameSet(images, np.array(own, dtype=np.int64))


def splits() -> Splits:
    test = frames(2, 1, 0)
    return Splits(frames(0, 0, 1, 2, 1, 0, 2, 1, 2), frames(0, 1, 2), test, NAMES, (1, 1, 1), events=False)


def content(frames: FrameSet) -> list[tuple[int, int]]:
    pixels, own = frames.__getitems__(range(len(frames)))
    return list(zip(pixels.flatten().tolist(), own.tolist(), strict=True))


def test_the_first_of_each_class_in_their_order() -> None:
    few = of_samples(splits(), 6)
    assert content(few.train) == [(0, 0), (1, 0), (2, 1), (3, 2), (4, 1), (6, 2)]
    assert len(few.validation) == len(few.test) == 3


def test_a_rest_goes_to_the_first_classes() -> None:
    assert np.bincount(of_samples(splits(), 5).train.labels).tolist() == [2, 2, 1]


def test_some_classes_in_the_order_given() -> None:
    two = of_classes(splits(), [2, 0])
    assert two.classes == ("fox", "cat")
    assert content(two.train) == [(0, 1), (1, 1), (3, 0), (5, 1), (6, 0), (8, 0)]
    assert content(two.test) == [(0, 0), (2, 1)]
    assert content(of_samples(two, 2).train) == [(0, 1), (3, 0)]


@pytest.mark.parametrize(
    ("count", "words"), [(2, "at least 3, one for each class"), (10, "4 .* there are 3 of class cat")]
)
def test_too_few_samples(count: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        of_samples(splits(), count)


def test_labels_joined_by_commas() -> None:
    assert labels("2, 0", NAMES) == [2, 0]


@pytest.mark.parametrize("text", ["1", "0,0", "0,3", "cat,dog", ""])
def test_what_is_no_choice_of_labels(text: str) -> None:
    with pytest.raises(UserError, match=r"at least two different labels from 0 to 2.*such as 0,1; it is '"):
        labels(text, NAMES)


def test_a_configuration_asks_for_both() -> None:
    few = data.load(DataConfig(name="digits-events", classes="3,8", samples=20))
    assert few.classes == ("3", "8")
    assert np.bincount(few.train.labels).tolist() == [10, 10]
    with pytest.raises(UserError, match=r"data\.samples must be a whole number from 1"):
        data.load(DataConfig(name="digits-events", samples=0))
