"""NeuroBench counts what snnprune counts; where it is not installed, the option says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snnprune.common.errors import UserError
from snnprune.export import evaluation
from snnprune.training import run
from support import tiny_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_the_sums_are_those_of_neurobench(tmp_path: Path) -> None:
    pytest.importorskip("neurobench", reason="needs neurobench: pip install neurobench")
    run.train(tiny_run.config(), tmp_path / "run", page=False)
    found = evaluation.evaluate(tmp_path / "run" / "model.safetensors", neurobench=True)
    theirs, mine = found["neurobench"], found["operations"]
    parts = theirs["SynapticOperations"]
    assert parts["Effective_MACs"] + parts["Effective_ACs"] == pytest.approx(mine["synops"] + mine["macs"])
    assert theirs["ClassificationAccuracy"] == pytest.approx(found["accuracy"])


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snnprune.common.extras.find_spec", lambda _: None)
    run.train(tiny_run.config("dense", epochs=1), tmp_path / "run", page=False)
    with pytest.raises(
        UserError, match=r"--neurobench needs neurobench: pip install 'snnprune\[neurobench\]'"
    ):
        evaluation.evaluate(tmp_path / "run" / "model.safetensors", neurobench=True)
