"""The benchmark runs without real data and reports what it promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.harness import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_on_simulated_recordings(tmp_path: Path) -> None:
    given = ["--rounds", "2", "--recordings", "60", "--json", str(tmp_path / "figures.json")]
    clean = {name: value for name, value in os.environ.items() if name != "SNNPRUNE_DATA"}
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.data.frames", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=clean,
    )
    assert "| Tonic ToFrame(n_time_bins) |" in result.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["about"]["kind"] == "simulated recordings"
    assert figures["about"]["tonic"]
    # Far below what docs/data.md reports, so that a busy machine does not fail the test.
    assert figures["binning"]["snnprune, Tonic's rule"]["ratio"] > 2
    assert figures["reading"]["snnprune, memory map, ready batches"]["ratio"] > 8
