"""What a new user of the library gets wrong first is said in a sentence, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.config.names import METHODS, pick
from snnprune.data import FrameSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FRAMES = np.zeros((6, 2, 1, 8, 8), dtype=np.uint8)
LABELS = np.arange(6) % 2


def splits(frames: Any = FRAMES, labels: Any = LABELS, **changed: Any) -> snnprune.Splits:
    part = FrameSet(frames, labels)
    given: dict[str, Any] = {"classes": ("a", "b"), "shape": (1, 8, 8), "events": True} | changed
    return snnprune.Splits(part, part, part, **given)


MADE_BY_HAND: dict[str, tuple[Callable[[], Any], str]] = {
    "floats": (lambda: splits(FRAMES.astype(float)), "numpy array of uint8, .*are float64"),
    "tensors": (lambda: splits(torch.from_numpy(FRAMES)), "numpy array of uint8, .*are Tensor"),
    "no channels": (lambda: splits(FRAMES[:, 0, 0]), r"are uint8 \[6, 8, 8\]"),
    "fewer labels": (lambda: splits(labels=LABELS[:3]), "6 samples and 3 labels"),
    "labels from 1": (lambda: splits(labels=LABELS + 1), "from 0 to 1, .* and are from 1 to 2"),
    "another shape": (lambda: splits(shape=(1, 9, 9)), r"its samples have the shape \(2, 1, 8, 8\)"),
    "recordings as images": (lambda: splits(events=False), r"must hold images, \[N, C, H, W\]"),
}


@pytest.mark.parametrize("mistake", MADE_BY_HAND)
def test_data_made_by_hand_are_checked(mistake: str) -> None:
    make, sentence = MADE_BY_HAND[mistake]
    with pytest.raises(UserError, match=sentence):
        make()


def test_a_dict_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config must be a RunConfig, such as .*, and is dict"):
        snnprune.train({"train": {"epochs": 6}}, tmp_path / "run", splits=splits())  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_a_run_on_data_made_in_python_asks_for_them_again(tmp_path: Path) -> None:
    config = snnprune.RunConfig(data=snnprune.DataConfig("mine"))
    with pytest.raises(
        UserError, match=r"no data set called 'mine': .*as splits=\.\.\., in snnprune\.resume"
    ):
        snnprune.train(config, tmp_path / "run")


def test_a_dot_in_place_of_the_colon_is_noticed() -> None:
    with pytest.raises(UserError, match=r"is written mypackage\.module:Mine, with a colon"):
        pick(METHODS, "method", "mine.Rand")


def test_what_a_module_imports_is_not_offered() -> None:
    with pytest.raises(UserError, match="has no 'Nope'") as refused:
        pick(METHODS, "method", "snnprune.methods.deep_r:Nope").load()
    assert "DeepR" in str(refused.value)
    assert "torch" not in str(refused.value)


def test_compact_says_what_it_takes() -> None:
    model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(2, 4)
    with snnprune.Pruner(model, x, "magnitude", epochs=3) as pruner:
        with pytest.raises(
            UserError, match=r"masks must be a Masks object, such as pruner\.masks, and is Pruner"
        ):
            snnprune.compact(model, pruner)  # type: ignore[arg-type]
        with pytest.raises(UserError, match="optimizer must be what trains the network, and is Sequential"):
            pruner.compact(model)  # type: ignore[arg-type]
