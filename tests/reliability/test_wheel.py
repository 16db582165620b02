"""The wheel: what is in it, and whether a Python that has nothing else can train with it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Printed

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    """Build the wheel of this checkout into ``folder``, in an environment of its own, and return it."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    (wheel,) = folder.glob("snnprune-*.whl")
    return wheel


def content(wheel: Path) -> list[tuple[str, int, int]]:
    """Return (room, files, bytes) of what is in a wheel, and a last row of its own size."""
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            parts = PurePosixPath(member.filename).parts
            room = "/".join(parts[:2]) if len(parts) > 2 else parts[0]
            files[room] += 1
            sizes[room] += member.file_size
    rows = [(room, files[room], sizes[room]) for room in sorted(files)]
    return [*rows, (f"{wheel.name}, packed", sum(files.values()), wheel.stat().st_size)]


def strangers(wheel: Path) -> list[str]:
    """Return members that no wheel of this package should have: other kinds of files, and other folders."""
    expected = re.compile(r"snnprune/.+\.(py|css|j2|yaml|typed)|snnprune-[^/]+\.dist-info/.+")
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if not expected.fullmatch(name)]


def missing(wheel: Path) -> set[str]:
    """Return files of the package that the wheel lacks: a rule of .gitignore may have kept them out."""
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    files = (file for file in (ROOT / "snnprune").rglob("*") if file.is_file())
    return {str(f.relative_to(ROOT)) for f in files if f.parent.name != "__pycache__"} - inside


def try_out(wheel: Path, python: str) -> str:
    """Install ``wheel`` with ``python`` where nothing is, train in an empty folder, say what was written."""
    with tempfile.TemporaryDirectory(prefix="snnprune-wheel-") as place:
        environment, home = Path(place) / "venv", Path(place) / "home"
        home.mkdir()
        subprocess.run([python, "-m", "venv", str(environment)], check=True)
        interpreter, program = environment / "bin" / "python", environment / "bin" / "snnprune"
        subprocess.run([interpreter, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
        subprocess.run([interpreter, "-m", "pip", "check"], check=True, stdout=subprocess.DEVNULL)
        alone = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
        trained = subprocess.run(
            [program, "train", "--train.epochs", "2"],
            cwd=home,
            env=alone,
            capture_output=True,
            text=True,
            check=False,
        )
        version = subprocess.run(
            [interpreter, "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
        assert trained.returncode == 0, f"{version}: {trained.stderr[-400:]}"
        (summary,) = home.glob("runs/*/summary.json")
        made = sorted(path.name for path in summary.parent.iterdir() if not path.name.startswith("."))
        return f"{version}: trained, wrote {', '.join(made)}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_wheel_has_the_package_alone_and_trains_where_nothing_else_is(
    tmp_path: Path, printed: Printed, request: pytest.FixtureRequest
) -> None:
    """It is installed with each ``--python``: that fetches all that the package needs."""
    wheel = build(tmp_path)
    rows = [(room, files, f"{size:,}") for room, files, size in content(wheel)]
    printed(":part | files | bytes", rows)
    assert strangers(wheel) == []
    assert missing(wheel) == set()
    pythons = request.config.getoption("python", default=None) or []
    if pythons:
        printed(":installed with | :and", [(python, try_out(wheel, python)) for python in pythons])
