"""Batches of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snnprune import data
from snnprune.training import assembly, run
from support import tiny_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("samples", "size", "sizes"),
    [(25, 12, [12, 12]), (26, 12, [12, 12, 2]), (24, 12, [12, 12]), (1, 12, [1]), (3, 1, [1, 1, 1])],
)
def test_no_sample_trains_alone_that_has_company(samples: int, size: int, sizes: list[int]) -> None:
    config, frames = tiny_run.config(batch_size=size), tiny_run.stripes(samples, 0)
    assert [len(labels) for _, labels in assembly.loader(frames, config, shuffled=True)] == sizes


def test_every_sample_is_measured() -> None:
    batches = assembly.loader(tiny_run.stripes(25, 0), tiny_run.config(batch_size=12))
    assert [len(labels) for _, labels in batches] == [12, 12, 1]


def test_another_sample_is_left_out_in_another_epoch() -> None:
    frames = data.FrameSet(np.zeros((13, 2, 2, 8, 8), np.uint8), np.arange(13, dtype=np.int64))
    batches = assembly.loader(frames, tiny_run.config(batch_size=12), shuffled=True)
    left_out = set()
    for epoch in range(6):
        batches.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        left_out |= set(range(13)) - {int(label) for _, labels in batches for label in labels}
    assert len(left_out) > 1


def test_a_batch_norm_over_one_place_trains(tmp_path: Path) -> None:
    def images(count: int) -> data.FrameSet:
        rng = np.random.default_rng(count)
        return data.FrameSet(
            rng.integers(0, 256, (count, 3, 32, 32), np.uint8), np.arange(count, dtype=np.int64) % 3
        )

    still = data.Splits(images(5), images(3), images(3), ("a", "b", "c"), (3, 32, 32), events=False)
    config = tiny_run.config("dense", "vgg16-ann", epochs=1, batch_size=4, warmup_epochs=0)
    config = replace(config, model=replace(config.model, hidden=8))
    assert run.train(config, tmp_path / "run", splits=still, page=False)["epochs"] == 1
