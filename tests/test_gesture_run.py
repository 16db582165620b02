"""The DVS-Gesture configuration end to end: 128 x 128, 11 classes, batches of four, on fake recordings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.recordings import write_dvs_gesture

CONFIG = Path(__file__).parent.parent / "configs" / "dvs-gesture" / "dpap.yaml"


@pytest.mark.slow
def test_one_epoch_of_the_gesture_configuration(tmp_path: Path) -> None:
    root = write_dvs_gesture(tmp_path / "data", train=2, test=1)
    words = ["train", "--config", str(CONFIG), "--data.root", str(root), "--data.validation", "0.5"]
    words += [
        "--train.epochs",
        "1",
        "--train.twin",
        "false",
        "--train.threads",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    command = [sys.executable, "-m", "snnprune", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["weights_dense"] == 270 + 5400 + 40 * 32 * 32 * 300 + 3300
    assert len(summary["neurons_left"]) == 4
