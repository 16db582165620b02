"""Every configuration file loads, and names what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from snnprune import cli
from snnprune.config import RunConfig
from snnprune.registry import DATASETS

FOLDER = Path(__file__).parents[1] / "configs"
BENCHES = sorted((FOLDER / "bench").glob("*.yaml"))
FILES = sorted(file for file in FOLDER.rglob("*.yaml") if file not in BENCHES)


def resolved(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert cli.main(["train", *arguments, "--print_config"]) == 0
    read: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return read


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_it_loads_and_its_folder_is_its_data_set(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = resolved(capsys, "--config", str(file))
    assert config["data"]["name"] == file.parent.name
    assert config["data"]["name"] in DATASETS
    assert config["method"]["name"] == file.stem.split("-")[0]
    written = yaml.safe_load(file.read_text())
    for section, values in written.items():
        for key, value in values.items():
            assert config[section][key] == pytest.approx(float(value) if key == "lr" else value)


def test_there_is_one_for_every_data_set_of_the_paper() -> None:
    assert {file.parent.name for file in FILES} >= {"mnist", "nmnist", "dvs-gesture", "cifar10"}


def test_dense_differs_from_dpap_in_the_method_alone(capsys: pytest.CaptureFixture[str]) -> None:
    dpap, dense = (
        resolved(capsys, "--config", str(FOLDER / "nmnist" / name)) for name in ("dpap.yaml", "dense.yaml")
    )
    assert {key for key in dpap if dpap[key] != dense[key]} == {"method"}


def test_the_demo_is_what_the_defaults_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert resolved(capsys, "--config", str(FOLDER / "digits-events" / "dpap.yaml")) == resolved(capsys)
    assert RunConfig().data.name == "digits-events"
