"""Environments of other tools: each with its pinned packages, apart from that of this project.

PyTorch, with what it brings, takes gigabytes. So there is one environment that holds it, and those of tools
that need it look there for what they do not have themselves.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TORCH = ("torch==2.14.1", "numpy==2.4.6", "h5py==3.16.0")
"""What the environments of tools on PyTorch share."""


class AbsentError(Exception):
    """A tool that cannot be installed, with the reason."""


def python_of(folder: Path, requirements: Sequence[str], *, torch: bool) -> Path:
    """Return the Python of an environment with ``requirements``, made if it is not there.

    Args:
        folder: of all environments.
        requirements: pinned, as pip takes them.
        torch: whether the environment looks in that of `TORCH` for what it lacks.

    Raises:
        AbsentError: pip cannot install them.
    """
    shared = python_of(folder, TORCH, torch=False).parents[1] if torch else None
    key = hashlib.sha256(" ".join((sys.version, *requirements, str(shared))).encode()).hexdigest()[:12]
    home = folder / key
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        _called(sys.executable, "-m", "venv", str(home))
        if shared is not None:
            (packages,) = home.glob("lib/*/site-packages")
            (others,) = shared.glob("lib/*/site-packages")
            (packages / "shared.pth").write_text(f"{others}\n")
        _called(str(python), "-m", "pip", "install", "--quiet", *requirements)
        (home / "complete").touch()
    return python


def _called(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise AbsentError((errors or done.stderr.splitlines() or ["pip failed"])[-1].removeprefix("ERROR: "))
