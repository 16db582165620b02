"""The benchmark of event files runs without other libraries, and reports each reader of each format."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.harness import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_on_small_files(tmp_path: Path) -> None:
    given = ["--rounds", "1", "--events", "20000", "--only", "evt3", "atis_bin"]
    figures = tmp_path / "figures.json"
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.data.events", *given, "--json", str(figures)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "| evt3 | snnprune, read and frames |" in result.stdout
    rows = json.loads(figures.read_text())["rows"]
    assert {row["format"] for row in rows} == {"evt3", "atis_bin"}
    assert {"snnprune, read", "snnprune, read and frames", "tonic"} <= {row["reader"] for row in rows}
    assert all(row["million_events_per_second"] > 0 for row in rows)
    assert [row["note"] for row in rows if row["reader"] == "tonic"] == [""]
