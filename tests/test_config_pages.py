"""Every configuration in ``configs/``, from the command line to its page: a few epochs, real data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from snnprune.data.events.published import DVS_LIP
from support import public_sets
from support.recordings import write_dvs_gesture

MADE = {
    "dvs-gesture": lambda root: write_dvs_gesture(root, train=2, test=1),
    "cifar10-dvs": public_sets.cifar10_dvs,
    "n-caltech101": lambda root: public_sets.n_caltech101(root, each=4),
    "n-cars": lambda root: public_sets.n_cars(root, each=4),
    "asl-dvs": lambda root: public_sets.asl_dvs(root, each=4),
    "dvs-lip": lambda root: public_sets.dvs_lip(root, words=DVS_LIP.classes, each=2),
    "shd": public_sets.shd,
    "ssc": public_sets.ssc,
}
"""Small copies of the data sets that are not in the folder of real data."""

FOLDER = Path(__file__).parents[1] / "configs"
BENCHES = sorted((FOLDER / "bench").glob("*.yaml"))
FILES = sorted(file for file in FOLDER.rglob("*.yaml") if file not in BENCHES)
HEAVY = {"vgg-snn", "vgg16-ann"}
"""Networks for a GPU: a few samples of two classes, for an epoch."""

pytestmark = [pytest.mark.slow, pytest.mark.data]


def name(file: Path) -> str:
    return str(file.relative_to(FOLDER))


def snnprune(*words: str) -> str:
    command = [sys.executable, "-m", "snnprune", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr + done.stdout
    return done.stdout + done.stderr


def shortened(file: Path, tmp_path: Path, real_data: Path) -> list[str]:
    """Return options that leave of a configuration what can be trained in a minute."""
    read = yaml.safe_load(file.read_text())
    data, model = read["data"]["name"], read.get("model", {}).get("name", "conv-snn")
    root = real_data
    if data in MADE:
        root = tmp_path / "data"
        MADE[data](root)
    options = ["--config", str(file), "--data.root", str(root), "--train.threads", "1"]
    options += ["--train.device", "cpu", "--train.epochs", "1" if model in HEAVY else "3"]
    if data in MADE:
        return [*options, "--data.validation", "0.5", "--train.epochs", "1"]
    if data in ("mnist", "fashion-mnist", "cifar10"):
        many = min(20 if model in HEAVY else 500, read["data"].get("samples", 500))
        options += ["--data.samples", str(many), "--data.validation", "0.002"]
    if read.get("method", {}).get("name") == "bdnn-sp":  # which needs epochs to train and to retrain in
        options += ["--method.options.train_epochs", "1", "--method.options.retrain_epochs", "1"]
    if model in HEAVY:
        options += ["--data.time_steps", "1", "--data.classes", "0,1"]
    return options


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_run_gets_its_page(file: Path, tmp_path: Path, real_data: Path) -> None:
    out = tmp_path / "run"
    said = snnprune("train", *shortened(file, tmp_path, real_data), "--out", str(out))
    assert "no report.html" not in said
    assert "could not be drawn" not in said
    assert (out / "report.html").stat().st_size > 10_000
    assert json.loads((out / "summary.json").read_text())["epochs"] >= 1


@pytest.mark.parametrize("file", BENCHES, ids=name)
def test_a_bench_gets_its_page(file: Path, tmp_path: Path, real_data: Path) -> None:
    out = tmp_path / "bench"
    options = shortened(file, tmp_path, real_data)
    said = snnprune("bench", *options, "--seeds", "1", "--targets", "[0.6]", "--out", str(out))
    assert "could not be drawn" not in said
    assert (out / "report.html").stat().st_size > 10_000
