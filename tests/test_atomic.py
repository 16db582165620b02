"""Files that appear whole: their rights, and what is left of those that fail."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from snnprune.common import atomic
from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0o000])
def test_a_file_has_the_rights_of_any_new_file_and_the_umask_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: int
) -> None:
    """The umask belongs to the whole process: other threads write files at the same time."""
    before = os.umask(mask)
    try:
        with monkeypatch.context() as patched:
            patched.delattr(os, "umask")
            atomic.write_text(tmp_path / "folder" / "file", "text")
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "folder/file", tmp_path / "plain")}
    assert modes == {0o666 & ~mask}


@pytest.mark.parametrize("at", ["file/below", "n" * 300])
def test_a_file_that_cannot_be_made_is_one_sentence(tmp_path: Path, at: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*; make the folder writable"):
        atomic.write_text(tmp_path / at, "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
