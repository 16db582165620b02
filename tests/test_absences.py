"""A test that is skipped for a wrong reason fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import absences
from support.absences import failed_if_unexplained

if TYPE_CHECKING:
    from pathlib import Path


def skipped(reason: str) -> pytest.TestReport:
    where = ("test_x.py", 3, f"Skipped: {reason}")
    return pytest.TestReport("test_x.py::test", ("test_x.py", 3, "test"), {}, "skipped", where, "call")


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (absences.NO_DATA, "skipped"),
        ("no dvs-gesture in /data", "skipped"),
        ("there is no GPU here", "skipped"),
        ("could not import 'ray': No module named 'ray'", "failed"),
        ("torchvision.models cannot be imported: operator torchvision::nms does not exist", "failed"),
        ("admm refuses this network: expected a mapping, got a list", "failed"),
        ("unconditional skip", "failed"),
    ],
)
def test_only_what_a_machine_may_lack_is_a_reason(reason: str, outcome: str) -> None:
    report = failed_if_unexplained(skipped(reason))
    assert report.outcome == outcome
    assert reason in str(report.longrepr)


def test_a_file_that_is_skipped_as_a_whole_is_looked_at_too() -> None:
    where = ("test_x.py", 1, "Skipped: could not import 'ray': No module named 'ray'")
    assert failed_if_unexplained(pytest.CollectReport("test_x.py", "skipped", where, [])).outcome == "failed"


def test_a_slip_in_the_name_of_the_data_folder_is_no_absence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SNNPRUNE_DATA", raising=False)
    assert absences.real_data() is None
    monkeypatch.setenv("SNNPRUNE_DATA", str(tmp_path))
    assert absences.real_data() == tmp_path
    monkeypatch.setenv("SNNPRUNE_DATA", str(tmp_path / "daat"))
    with pytest.raises(NotADirectoryError, match="daat, which is no folder"):
        absences.real_data()
