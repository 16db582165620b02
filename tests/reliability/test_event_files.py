"""Damaged files of events, of every format that is read: they are read, or refused in a sentence.

``pytest tests/reliability/test_event_files.py -m slow --count 50000`` damages so many of each format.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snnprune.common.errors import UserError
from snnprune.data.events import reading
from support import damaged_events, malformed

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Count, Printed

SEEDS = damaged_events.seeds()
TITLES = list(dict.fromkeys(known.title for known in reading.FORMATS))


def hunt(title: str, folder: Path, count: int) -> None:
    """Damage good files of a format in turn, and look at each."""
    own = [seed for seed in SEEDS if seed.title == title]
    for seed in own:  # what is right takes its memory before anything is counted
        path = folder / f"good{seed.suffix}"
        path.write_bytes(seed.content)
        with contextlib.suppress(UserError):  # some golden files need an option
            reading.read(path, seed.asked)
    for number in range(count):
        seed = own[number % len(own)]
        content = damaged_events.damaged(seed.content, np.random.default_rng(number))
        path = folder / f"damaged{seed.suffix}"  # it stays there if something is found
        with malformed.bounded():
            damaged_events.look(path, content, seed.asked)


@pytest.mark.parametrize("title", TITLES)
def test_every_format_has_good_files(title: str) -> None:
    own = [seed for seed in SEEDS if seed.title == title]
    assert own, f"no files of {title}: add a writer to support/event_files.py, or a golden file"


@pytest.mark.parametrize("title", TITLES)
def test_some_damaged_files_of_each_format(title: str, tmp_path: Path) -> None:
    hunt(title, tmp_path, 150)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("title", TITLES)
def test_thousands_of_damaged_files_of_each_format(
    title: str, tmp_path: Path, count: Count, printed: Printed
) -> None:
    began, many = time.perf_counter(), count(5_000)
    hunt(title, tmp_path, many)
    took = f"{time.perf_counter() - began:.0f} s"
    printed(":format | damaged files | findings | took", [(title, f"{many:,}", 0, took)])
