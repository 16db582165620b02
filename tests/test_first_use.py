"""What people do first, and what a new user tripped on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from snnprune import cli
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig, MethodConfig
from snnprune.pruning import Pruner
from snnprune.training import assembly, run
from support import tiny_run

if TYPE_CHECKING:
    from pathlib import Path


NOWHERE = tiny_run.Source(fault="the data are not here")


def test_a_start_that_failed_does_not_claim_the_folder(tmp_path: Path) -> None:
    config = tiny_run.config(epochs=1)
    with pytest.raises(UserError, match="not here"):
        run.train(replace(config, data=DataConfig(f"{__name__}:NOWHERE")), tmp_path / "run")
    assert run.train(tiny_run.config(epochs=1, lr=1e-4), tmp_path / "run", page=False)["epochs"] == 1
    with pytest.raises(UserError, match="another configuration"):
        run.train(tiny_run.config(epochs=1, lr=1e-5), tmp_path / "run")


@pytest.mark.parametrize("line", ["train: {epochs: null}", "data: {name: null}", "method: {options: null}"])
def test_null_in_a_file_is_a_sentence(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text(line, encoding="utf-8")
    assert cli.main(["train", "--config", str(tmp_path / "run.yaml"), "--print_config"]) == 2
    assert "null" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tau": "x"}, "must be a number, and is 'x'"),
        ({"tau": -3}, "above 0"),
        ({"gamma": 5}, "at most 1"),
        ({"eta": True}, "must be a number or null, and is true"),
    ],
)
def test_constants_are_looked_at(options: dict[str, Any], words: str) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(UserError, match=words):
        Pruner(model, torch.rand(1, 4), "dpap", epochs=3, **options)


def test_a_target_has_one_place_and_a_run_has_epochs() -> None:
    with pytest.raises(UserError, match=r"write method\.target"):
        assembly.pruning(replace(MethodConfig(), options={"target": 0.9}), torch.rand(1, 4), 0)
    with pytest.raises(UserError, match="at least 1"):
        Pruner(nn.Linear(4, 2), torch.rand(1, 4), "dpap", epochs=0)
