"""Every benchmark can be called, and says how."""

from __future__ import annotations

import runpy
import sys

import pytest

from benchmarks.harness import ROOT

SCRIPTS = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in (ROOT / "benchmarks").glob("*/*.py")
    if "__main__" in file.read_text() and file.parent.name != "tests"
)


def test_there_are_few() -> None:
    # Three ask about the engine: how fast it is, which way is fastest when, how many events; one asks others.
    assert 10 < len(SCRIPTS) <= 26


@pytest.mark.parametrize("module", SCRIPTS)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import of package:RuntimeWarning")
def test_help_names_the_command(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(module, run_name="__main__")
    assert stop.value.code == 0
    assert f"python -m {module}" in capsys.readouterr().out
