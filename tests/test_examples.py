"""Examples: short, they run as they stand, prune what was asked for, and say the same once compact."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ASKED = {
    "ann": 60.0,
    "lightning_module": 60.0,
    "plain_loop": 60.0,
    "residual_snn": 50.0,
    "snntorch_network": 60.0,
}
NEEDS = {"snntorch_network": "snntorch", "nir_and_back": "snntorch"}
SEVERAL = ("nir_and_back",)
"""Examples that call the command line, and so run for a minute."""


def path() -> list[str]:
    return [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []


def run(name: str) -> str:
    """Run an example as a script, in this process that has everything imported, and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    return printed.getvalue()


def program(name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py")],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def installed(name: str) -> bool:
    return name not in NEEDS or importlib.util.find_spec(NEEDS[name]) is not None


def numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in {text!r}"
    return [float(number) for number in found.groups()]


def test_every_example_is_tested():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {*ASKED, *SEVERAL}


@pytest.mark.parametrize("name", [*ASKED, *SEVERAL])
def test_example_is_short_and_its_length_is_documented(name):
    lines = len((ROOT / "examples" / f"{name}.py").read_text().splitlines())
    assert lines < 60
    assert f"(../examples/{name}.py) | {lines} |" in (ROOT / "docs" / "custom-snn.md").read_text()


@pytest.mark.parametrize("name", ASKED)
def test_example_prunes_and_compacts(name, tmp_path, monkeypatch):
    if not installed(name):
        pytest.skip(f"needs {NEEDS[name]}: pip install {NEEDS[name]}")
    monkeypatch.chdir(tmp_path)
    said = run(name)
    assert not list(tmp_path.iterdir()), "an example leaves nothing behind"
    [pruned] = numbers(r"pruned: ([\d.]+)% of the weights", said)
    # Where only convolutions are to be cut, whole channels are the finest step.
    assert pruned == pytest.approx(ASKED[name], abs=2.0)
    difference, flipped = numbers(r"outputs differ by (\S+), (\d+) \w+ flipped", said)
    # Sums over fewer columns round otherwise, which may put a rare membrane across its threshold.
    assert flipped <= 10
    assert difference < 1e-4 or flipped
    if "test accuracy" in said:
        masked, compact = numbers(r"([\d.]+)% masked, ([\d.]+)% compact", said)
        assert compact == pytest.approx(masked, abs=1.0)
        assert compact > 60.0


@pytest.mark.slow
def test_a_network_of_snntorch_is_pruned_and_goes_back(tmp_path):
    if not installed("nir_and_back"):
        pytest.skip("needs snntorch: pip install snntorch")
    done = program("nir_and_back", tmp_path)
    assert done.returncode == 0, done.stderr
    assert numbers(r"pruned: ([\d.]+)% of the weights", done.stdout) == pytest.approx([80.0], abs=1.0)
    here, there = numbers(r"accuracy ([\d.]+)% in snnprune, ([\d.]+)% in snntorch", done.stdout)
    assert here == pytest.approx(there, abs=0.2)
    assert here > 70.0


def test_an_example_without_its_library_says_what_to_install(tmp_path):
    (tmp_path / "snntorch.py").write_text("raise ImportError('it is not installed')\n")
    done = program("snntorch_network", tmp_path, PYTHONPATH=os.pathsep.join([str(tmp_path), *path()]))
    assert done.returncode == 1
    assert done.stderr.strip() == "this example needs snntorch: pip install snntorch"
