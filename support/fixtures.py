"""What all tests share: a cache folder of their own, and the folder of real data where there is one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from support import absences

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests on real data, with the reason, where there is none."""
    if item.get_closest_marker("data"):
        found_or_skipped()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test fail that is skipped for what no machine may lack."""
    return absences.failed_if_unexplained((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a whole file."""
    return absences.failed_if_unexplained((yield))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch add up in one order, whatever the number of processors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
    return found_or_skipped()


def found_or_skipped() -> Path:
    folder = absences.real_data()
    if folder is None:
        pytest.skip(absences.NO_DATA)
    return folder
