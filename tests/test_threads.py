from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numba
import numpy as np
import pytest
import torch

from snnprune.common import threads

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = 10 * threads.WORTH


@numba.njit(nogil=True)
def fill(first: int, last: int, out: np.ndarray) -> int:
    for number in range(first, last):
        out[number] += number
    return last - first


@pytest.fixture(params=["team", "pool"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    if request.param == "pool":
        monkeypatch.setattr(threads, "openmp", lambda: None)
    else:
        assert threads.openmp() is not None, (
            "torch has no OpenMP library with an interface that is known here"
        )
    yield request.param
    torch.set_num_threads(before)


def test_all_parts_are_done_once_and_answers_are_in_order(way: str) -> None:
    out = np.zeros(7)
    assert threads.share(fill, 7, LARGE, out) == [3, 4]
    assert out.tolist() == list(range(7))


def test_more_ranges_than_threads_of_the_team_are_all_done(way: str) -> None:
    torch.set_num_threads(5)
    out = np.zeros(11)
    assert sum(threads.share(fill, 11, LARGE, out)) == 11
    assert out.tolist() == list(range(11))


def test_few_values_stay_in_the_calling_thread(way: str) -> None:
    assert threads.share(lambda first, last: threading.get_ident(), 7, 10) == [threading.get_ident()]


def test_two_threads_work(way: str) -> None:
    both = threading.Barrier(2, timeout=20)  # broken, with an error, if one of them never comes
    assert len(threads.share(lambda first, last: both.wait(), 2, LARGE)) == 2


def test_an_error_in_any_thread_reaches_the_caller(way: str) -> None:
    def fail(first: int, last: int) -> None:
        if first:
            raise ValueError("the second half")

    with pytest.raises(ValueError, match="the second half"):
        threads.share(fail, 2, LARGE)
    out = np.zeros(4)
    assert threads.share(fill, 4, LARGE, out) == [2, 2]  # and the threads are still there


@pytest.mark.parametrize("way", ["team"], indirect=True)  # no kernel does this, but OpenMP's team is one then
def test_work_in_work_is_done(way: str) -> None:
    out = np.zeros((2, 6))

    def outer(first: int, last: int) -> int:
        return sum(sum(threads.share(fill, 6, LARGE, out[n])) for n in range(first, last))

    assert sum(threads.share(outer, 2, LARGE)) == 12
    assert out.tolist() == [list(range(6))] * 2


def test_several_callers_at_once(way: str) -> None:
    out = np.zeros((4, 50))
    callers = [threading.Thread(target=threads.share, args=(fill, 50, LARGE, own)) for own in out]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=20)
    assert out.tolist() == [list(range(50))] * 4
