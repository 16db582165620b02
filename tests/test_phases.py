"""What a start says while it works: each phase as it begins, on a terminal and in a pipe."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import yaml

from snnprune import cli
from snnprune.common.phases import phase, told
from snnprune.config.schema import DataConfig
from snnprune.data import load
from snnprune.training import run
from support import tiny_run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_phases_are_said_to_whoever_asks_and_to_nobody_else(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    phase("before")
    with told(heard.append):
        phase("first")
        with told(lambda what: heard.append(f"inner {what}")):
            phase("second")
        phase("third")
    phase("after")
    assert heard == ["first", "inner second", "third"]
    assert capsys.readouterr() == ("", "")


def test_a_run_says_each_phase_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run.train(tiny_run.config(epochs=1), tmp_path / "run")
    said = capsys.readouterr().out
    places = [
        said.index(words)
        for words in (
            f"reading {tiny_run.DATA}",
            "building conv-snn",
            "training with dpap: 1 epochs of 51 samples",
            "dpap  epoch 1/1",
            "measuring",
            "drawing",
        )
    ]
    assert places == sorted(places)


def test_a_cache_is_said_to_be_built_where_it_is(tmp_path: Path) -> None:
    heard: list[str] = []
    with told(heard.append):
        for _ in range(2):
            load(DataConfig(cache=str(tmp_path), time_steps=1))
    building = [what for what in heard if "into frames, once" in what]
    assert len(building) == 1
    assert str(tmp_path) in building[0]
    assert heard.count("reading digits-events") == 2


def test_a_pipe_gets_the_first_line_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from snnprune import cli\n"
        "class Line:\n"
        "    def write(self, text):\n"
        "        sys.stderr.write(f'{text.strip()}|{\"torch\" in sys.modules}')\n"
        "        raise SystemExit(0)\n"
        "    def flush(self): pass\n"
        f"sys.stdout = Line(); cli.main(['train', '--out', {str(tmp_path / 'run')!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == f"{cli.IMPORTING}|False"


def test_what_others_read_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--print_config"]) == 0
    assert set(yaml.safe_load(capsys.readouterr().out)) == {"data", "model", "method", "train"}
