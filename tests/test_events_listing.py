"""What a folder of recordings holds: its layouts, groups and tables, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig
from snnprune.data.events.listing import listed

if TYPE_CHECKING:
    from pathlib import Path


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder: Path, group: str | None = None) -> list[tuple[str | None, str, str, str | None]]:
    """Part, class, file and group of each recording."""
    listing = listed(folder, DataConfig(group=group))
    return [
        (one.part, listing.classes[one.label], one.path.relative_to(folder).as_posix(), one.group)
        for one in listing.recordings
    ]


def test_classes(tmp_path: Path) -> None:
    touch(tmp_path, "2/b.npy", "10/a.npy", "2/c/a.npy", ".git/x/y.npy", "2/.DS_Store", "__MACOSX/a/b.npy")
    assert found(tmp_path) == [
        (None, "2", "2/b.npy", None),
        (None, "2", "2/c/a.npy", None),
        (None, "10", "10/a.npy", None),
    ]


def test_parts(tmp_path: Path) -> None:
    touch(tmp_path, "Train/no/1.raw", "Train/yes/1.raw", "test/yes/2.raw", "val/no/3.raw", "test/no/10.raw")
    assert found(tmp_path) == [
        ("train", "no", "Train/no/1.raw", None),
        ("train", "yes", "Train/yes/1.raw", None),
        ("validation", "no", "val/no/3.raw", None),
        ("test", "no", "test/no/10.raw", None),
        ("test", "yes", "test/yes/2.raw", None),
    ]


def test_groups(tmp_path: Path) -> None:
    touch(tmp_path, "wave/ann-1.es", "wave/bob-1.es", "clap/session3/x.es")
    assert [one[3] for one in found(tmp_path, "(ann|bob|session[0-9])")] == ["session3", "ann", "bob"]
    assert [one[3] for one in found(tmp_path, "/(?:(ann|bob)-|session)")] == ["/session", "ann", "bob"]
    with pytest.raises(UserError, match=r"finds no group in 'clap/session3/x.es'"):
        found(tmp_path, "ann|bob")


def test_a_table(tmp_path: Path) -> None:
    (tmp_path / "recordings.csv").write_text(
        "\ufefffile, label, start, end, split, group, light\n"
        "a.raw,wave,1000,2000,train,ann,day\n"
        'a.raw,clap,2000,,train,ann,day\n"b,1.raw",wave,,,TEST,bob,night\n'
    )
    listing = listed(tmp_path, DataConfig())
    assert listing.classes == ("clap", "wave")
    assert listing.parts == ("train", "test")
    assert [
        (one.path.name, one.label, one.start, one.end, one.part, one.group) for one in listing.recordings
    ] == [
        ("a.raw", 1, 1000, 2000, "train", "ann"),
        ("a.raw", 0, 2000, None, "train", "ann"),
        ("b,1.raw", 1, None, None, "test", "bob"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must begin with a line that names its columns"),
        ("file;label\na;b\n", "joined by commas; it begins with 'file;label'"),
        ("file,lable\na,b\n", "must begin with"),
        ("file,label,strat\na,b,1\n", "did you mean 'start'"),
        ("file,label,label\na,b,c\n", "two columns of one name"),
        ("file,label\n", "has no rows"),
        ("file,label\na\n", "line 2 has no label"),
        ("file,label\na,b,c\n", "line 2 has more values"),
        ("file,label,start\na,b,1.5\n", "start must be a whole number of microseconds"),
        ("file,label,start,end\na,b,5,5\n", "end must come after start"),
        ("file,label,split\na,b,dev\n", "split must be train, validation or test"),
        ("file,label,split\na,b,train\nc,b,\n", "line 3 has no split, and others have"),
        ("file,label,group\na,b,ann\nc,b,\n", "line 3 has no group, and others have"),
        ('file,label\n"a,b\n', "cannot be read"),
        ("file,label\n\x00,b\n", "line 2 has a file name"),
    ],
)
def test_tables_that_are_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "recordings.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        listed(tmp_path, DataConfig())


def test_a_table_of_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recordings.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="cannot be read as comma-separated values in UTF-8"):
        listed(tmp_path, DataConfig())


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "no recordings in folders of classes"),
        (["a.raw"], "no recordings in folders of classes"),
        (["train/a/1.raw", "b/1.raw"], "beside others"),
        (["train/a/1.raw", "Training/a/1.raw"], "two of one part"),
        (["train/a/1.raw", "test/b/1.raw"], "class 'b' that training does not have"),
    ],
)
def test_folders_that_are_refused(files: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        listed(touch(tmp_path, *files), DataConfig())


def test_an_empty_class_and_no_folder(tmp_path: Path) -> None:
    (touch(tmp_path, "a/1.raw") / "b").mkdir()
    with pytest.raises(UserError, match="/b has no recordings"):
        listed(tmp_path, DataConfig())
    with pytest.raises(UserError, match="there is no folder"):
        listed(tmp_path / "nowhere", DataConfig())
