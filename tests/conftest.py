"""What all tests share: a cache folder of their own, and the folder of real data where there is one."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_DATA = "needs real data: SNNPRUNE_DATA names no folder"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests on real data, with the reason, where there is none."""
    if item.get_closest_marker("data") and not _real().is_dir():
        pytest.skip(NO_DATA)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Let a test draw the same numbers alone, in any order and among any others."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the one that code under test may draw from


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep frames in a folder of this test run: nothing is found in the user's, nothing is left there."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture
def real_data() -> Path:
    """Return the folder of real data; the test skips without one."""
    if not _real().is_dir():
        pytest.skip(NO_DATA)
    return _real()


def _real() -> Path:
    return Path(os.environ.get("SNNPRUNE_DATA") or "/nonexistent")
