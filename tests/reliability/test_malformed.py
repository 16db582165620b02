"""Malformed files are read, or refused in a sentence: some of each kind, and those that once were neither."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snnprune.common import document
from snnprune.common.errors import UserError
from snnprune.config import reading as settings
from snnprune.data import neuromorphic
from support import malformed, tiny_run

if TYPE_CHECKING:
    from conftest import Count, Printed, Whole
    from support.malformed import Readers

KINDS = {"event files": (0.3, 0.2), "configurations": (0.2, 0.05), "run folders": (0.2, 0.05)}
"""Of all malformed inputs: drawn by hypothesis, and found by atheris."""

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Readers:
    out = tiny_run.finished(tmp_path_factory.mktemp("whole") / "run", epochs=2)
    return malformed.Readers(tmp_path_factory.mktemp("malformed"), out)


@pytest.mark.parametrize("kind", KINDS)
def test_some_of_each_kind(kind: str, readers: Readers) -> None:
    assert malformed.hunt(readers, kind, 60) < 1e6 * malformed.MEGABYTES


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_each_kind(
    kind: str, whole_run: Whole, tmp_path: Path, count: Count, printed: Printed
) -> None:
    began = time.perf_counter()
    drawn, changed = (int(share * count(10_000)) for share in KINDS[kind])
    rise = malformed.hunt(malformed.Readers(tmp_path, whole_run.out), kind, drawn, start=1)
    assert rise < 1e6 * malformed.MEGABYTES
    program = [sys.executable, "-m", "tests.reliability.guided", kind, str(whole_run.out), str(changed)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    took = f"{time.perf_counter() - began:.0f} s"
    head = ":malformed | hypothesis | atheris | findings | peak memory rose by | took"
    printed(head, [(kind, f"{drawn:,}", f"{changed:,}", 0, f"{rise / 1e6:.0f} MB", took)])


def test_a_hang_is_found() -> None:
    def forever(_: bytes) -> None:
        while True:
            pass

    with pytest.raises(malformed.Hang), malformed.bounded(seconds=1):
        forever(b"")


def header(text: str) -> bytes:
    """A .npy file whose header is ``text``."""
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode() + bytes(64)


@pytest.mark.parametrize("name", ["dvs-gesture", "poker-dvs"])
@pytest.mark.parametrize(
    "content",
    [
        header("{'descr': '<i2', 'fortran_order': False, 'shape': (4, }"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 4)}"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 4)}"),
        b"PK\x05\x06" + bytes(18),
        b"\x80\x04\x95",
    ],
    ids=["torn header", "huge", "objects", "zip", "pickle"],
)
def test_tables_that_are_none(name: str, content: bytes, readers: Readers) -> None:
    with pytest.raises(UserError, match="is not a usable"):
        readers.events(name, content)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, -1.0, 4e12])
def test_numbers_that_no_event_has(value: float, readers: Readers, tmp_path: Path) -> None:
    rows = np.array([[1.0, 1, 0, 0], [1, 1, 0, value]])
    np.save(tmp_path / "table.npy", rows)
    with np.errstate(all="ignore"):
        if value == -1.0:  # a clock may begin anywhere
            readers.events("dvs-gesture", (tmp_path / "table.npy").read_bytes())
            return
        with pytest.raises(UserError, match="is not a usable"):
            readers.events("dvs-gesture", (tmp_path / "table.npy").read_bytes())


@pytest.mark.timeout(30)
def test_a_clock_that_overflows_all_the_time_takes_no_time(readers: Readers) -> None:
    marks = np.zeros((200_000, 5), np.uint8)
    marks[:, 1] = neuromorphic.OVERFLOW
    with pytest.raises(UserError, match="overflows more than"):
        readers.events("nmnist", marks.tobytes())


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50,
        "a: " * 30,
        "when: 2001-02-31",
        f"data: {{time_steps: {'9' * 5000}}}",
        f"data: {{name: {'x' * 1001}}}",
        "a: &a [*a]",
        "? [1, 2]\n: 3",
        "train: !!python/object/apply:os.system [true]",
        "data: {binning: [" + "9" * 900 + "]}",
        "\x00",
        "x" * (document.LARGEST_YAML + 1),
    ],
    ids=range(11),
)
def test_configurations_that_are_none(text: str, readers: Readers) -> None:
    path = readers.folder / "run.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        settings.read_file(path)
    assert len(str(refused.value)) < malformed.LONGEST


def test_a_device_is_no_configuration(readers: Readers) -> None:
    with pytest.raises(UserError, match="more than"):
        settings.read_file(Path("/dev/zero"))
