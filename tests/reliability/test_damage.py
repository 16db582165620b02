"""Bytes changed at random places of the files of a run: noticed, harmless, or silently wrong."""

from __future__ import annotations

import copy
import random
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import snnprune
from snnprune import data
from snnprune.common.errors import UserError
from snnprune.nn import models
from snnprune.runs import checkpoint
from snnprune.runs.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Count, Printed, Whole
    from snnprune.config.schema import RunConfig

NOTICED, HARMLESS, WRONG = "noticed", "harmless", "silently wrong"
LONGEST = 64
"""Bytes that are changed at a place, from 1 to so many."""


class Patient:
    """The files of a finished run, damaged one place at a time and healed again.

    Args:
        out: folder of the run.
        asked: its configuration.
    """

    def __init__(self, out: Path, asked: RunConfig) -> None:
        self.folder = RunFolder(out)
        self.config = asked
        self.checkpoint = checkpoint.newest(self.folder.checkpoints)[1]
        self.frames = _frames(data.load(asked.data))
        self.network = _content(self._load())
        caches = sorted(Path(asked.data.cache or "").glob("*.frames"))
        self.looks: dict[Path, Callable[[Path], str]] = {
            self.folder.last: self._look_at_checkpoint,
            self.folder.network: self._look_at_network,
            self.folder.network.with_suffix(".json"): self._look_at_network,
            **dict.fromkeys(caches, self._look_at_cache),
        }

    def damage(self, places: int, seed: int = 0) -> Counter[tuple[str, str]]:
        """Change bytes at so many places, and count what came of it by (kind of file, outcome)."""
        chance, found = random.Random(seed), Counter[tuple[str, str]]()
        files = list(self.looks)
        for number in range(places):
            file = files[number % len(files)]
            whole = file.read_bytes()
            file.write_bytes(_changed(whole, chance))
            outcome = self.looks[file](file)
            found[file.suffix.removeprefix("."), outcome] += 1
            file.write_bytes(whole)
        return found

    def _look_at_checkpoint(self, file: Path) -> str:
        path, read, wrong = checkpoint.newest(self.folder.checkpoints)
        if path == file:
            return HARMLESS if _equal(read, self.checkpoint) else WRONG
        named = len(wrong) == 1 and str(file) in wrong[0]
        return NOTICED if named and path == self.folder.previous else WRONG

    def _look_at_network(self, file: Path) -> str:
        try:
            network = self._load()
        except UserError as error:
            return NOTICED if file.name in str(error) else WRONG
        return HARMLESS if _equal(_content(network), self.network) else WRONG

    def _look_at_cache(self, file: Path) -> str:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            frames = _frames(data.load(self.config.data))
        if not _equal(frames, self.frames):
            return WRONG
        return NOTICED if any(file.name in str(warning.message) for warning in said) else HARMLESS

    def _load(self) -> torch.nn.Module:
        splits = data.load(self.config.data)
        return snnprune.load(
            self.folder.network,
            lambda: models.build(self.config.model, splits.shape, len(splits.classes)),
        )


def _changed(content: bytes, chance: random.Random) -> bytes:
    """Return ``content`` with up to `LONGEST` bytes in a row made others."""
    place = chance.randrange(len(content))
    many = chance.choice((1, 1, 1, LONGEST))
    damaged = bytearray(content)
    for i in range(place, min(place + many, len(content))):
        damaged[i] ^= chance.randrange(1, 256)
    return bytes(damaged)


def _frames(splits: data.Splits) -> list[Any]:
    parts = (splits.train, splits.validation, splits.test)
    return [copy.deepcopy(part.__getitems__(range(len(part)))) for part in parts]


def _content(network: torch.nn.Module) -> dict[str, Any]:
    """Return all that a saved network says of itself."""
    survivors = network.snnprune_survivors
    return {"state": network.state_dict(), "survivors": vars(survivors)}


def _equal(a: Any, b: Any) -> bool:
    """Whether nested values are the same, bit for bit."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(_equal(*pair) for pair in zip(a, b, strict=True))
    if isinstance(a, torch.Tensor):
        return (
            isinstance(b, torch.Tensor)
            and a.dtype == b.dtype
            and np.array_equal(a.numpy(), b.numpy(), equal_nan=a.is_floating_point())
        )
    return type(a) is type(b) and (a == b or a != a)  # noqa: PLR0124 - NaN


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damage_is_noticed_or_harmless(whole_run: Whole, count: Count, printed: Printed) -> None:
    found = Patient(whole_run.out, whole_run.asked).damage(count(20))
    kinds = sorted({kind for kind, _ in found})
    outcomes = (NOTICED, HARMLESS, WRONG)
    rows = [(kind, *(found[kind, each] for each in outcomes)) for kind in kinds]
    printed(f":file | {' | '.join(outcomes)}", rows)
    assert sum(found[kind, WRONG] for kind in kinds) == 0
