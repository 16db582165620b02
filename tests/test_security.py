"""Nobody gets in: files of others run nothing, land nowhere else, and are no markup on a page."""

from __future__ import annotations

import ast
import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import shutil
import stat
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from snnprune.common import document
from snnprune.common.errors import UserError
from snnprune.data import archives
from snnprune.data.archives import unpack
from snnprune.export import evaluation
from snnprune.report.report import report
from snnprune.runs import checkpoint
from snnprune.runs.folder import RunFolder
from snnprune.training import initial, run
from support import tiny_run

PACKAGE = Path(__file__).parents[1] / "snnprune"

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}$\\frac$"


class Poison:
    """Makes a file when it is unpickled."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> Any:
        return Path.touch, (self.trap,)


def poisoned(kind: str, trap: Path) -> bytes:
    memory = io.BytesIO()
    if kind == "pickle":
        return pickle.dumps(Poison(trap))
    torch.save({"state_dict": Poison(trap)}, memory, _use_new_zipfile_serialization=kind == "zip")
    return memory.getvalue()


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_a_checkpoint_with_code_runs_nothing(kind: str, tmp_path: Path) -> None:
    trap, file = tmp_path / "trap", tmp_path / "evil.ckpt"
    file.write_bytes(poisoned(kind, trap))
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        checkpoint.load(file)
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        initial.load(torch.nn.Linear(1, 1), file)
    file.write_bytes(checkpoint.seal(poisoned("zip", trap)))  # a checksum is no signature
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        checkpoint.newest([file])
    assert not trap.exists()
    torch.load(io.BytesIO(poisoned("zip", trap)), weights_only=False)
    assert trap.exists(), "the trap does not snap: the test shows nothing"


def test_a_run_with_a_poisoned_checkpoint_is_neither_resumed_nor_measured(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.claim(tiny_run.config())
        folder.last.parent.mkdir()
        folder.last.write_bytes(checkpoint.seal(poisoned("zip", tmp_path / "trap")))
    for use in (run.resume, evaluation.evaluate):
        with pytest.raises(UserError, match="cannot read the checkpoint"):
            use(tmp_path / "run")
    assert not (tmp_path / "trap").exists()


def test_a_checkpoint_that_grows_is_refused(tmp_path: Path) -> None:
    memory = io.BytesIO()
    torch.save({"state_dict": {"w": torch.zeros(1_000_000)}}, memory)
    packed = io.BytesIO()
    with zipfile.ZipFile(memory) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as small:
        for member in plain.infolist():
            small.writestr(member.filename, plain.read(member))
    (tmp_path / "bomb.ckpt").write_bytes(packed.getvalue())
    with pytest.raises(UserError, match="members are larger than the file"):
        checkpoint.load(tmp_path / "bomb.ckpt")


def calls(file: Path) -> list[tuple[str, set[str], ast.Call]]:
    """Every call in a file: its name as written, its keywords."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return [(ast.unparse(n.func), {k.arg or "" for k in n.keywords}, n) for n in nodes]


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_nothing_is_unpickled_or_evaluated(file: Path) -> None:
    names = {ast.unparse(n) for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Attribute)}
    forbidden = (
        "pickle.load",
        "marshal.",
        "shelve.",
        "joblib.load",
        "yaml.unsafe",
        "yaml.full_load",
        "dill.",
    )
    assert not [name for name in names if name.startswith(forbidden)]
    for name, keywords, call in calls(file):
        assert name not in {"eval", "exec", "compile", "os.system"}, f"{file} calls {name}"
        assert not name.endswith(("extractall", "unpack_archive")), f"{file} calls {name}"
        text = ast.unparse(call)
        assert "allow_pickle=True" not in text
        assert "weights_only=False" not in text
        assert "shell=True" not in text
        if name == "torch.load":
            assert "weights_only" in keywords, f"{file} leaves it to torch what a checkpoint may do"
        if file.name != "document.py":
            assert not name.startswith(("yaml.load", "yaml.safe_load", "json.load(")), f"{file}: no bounds"
            assert name != "json.loads" or text.startswith("json.loads(json.dumps("), f"{file}: no bounds"


# --- archives


def packed(kind: str, path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """Write an archive of any kind."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members:
                info = zipfile.ZipInfo(member.name)
                if member.type == tarfile.SYMTYPE:
                    info.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, member.linkname.encode() or content)
        return path
    with tarfile.open(path, f"w:{kind}" if kind != "tar" else "w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def plain(name: str) -> tarfile.TarInfo:
    return tarfile.TarInfo(name)


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


KINDS = ("zip", "tar", "gz", "bz2", "xz")


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_archive_is_unpacked(kind: str, tmp_path: Path) -> None:
    file = packed(kind, tmp_path / "good", [(plain("Train/0/1.bin"), b"abcde"), (plain("readme"), b"")])
    unpack(file, tmp_path / "to")
    assert (tmp_path / "to/Train/0/1.bin").read_bytes() == b"abcde"
    assert sorted(p.name for p in (tmp_path / "to").iterdir()) == ["Train", "readme"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "a\\..\\..\\out", "//out", ".."])
def test_names_that_lead_out_are_refused_and_nothing_is_left(kind: str, name: str, tmp_path: Path) -> None:
    file = packed(kind, tmp_path / "evil", [(plain("good"), b"x"), (plain(name), b"x")])
    to = tmp_path / "deep" / "to"
    with pytest.raises(ValueError, match="leads out of its folder"):
        unpack(file, to)
    assert list(to.iterdir()) == []
    assert not list(tmp_path.rglob("out"))


@pytest.mark.parametrize("kind", KINDS)
def test_links_and_devices_are_left_out(kind: str, tmp_path: Path) -> None:
    members = [(special("link", tarfile.SYMTYPE, str(tmp_path)), b""), (plain("link/inside"), b"x")]
    if kind != "zip":
        members += [
            (special("hard", tarfile.LNKTYPE, "/etc/passwd"), b""),
            (special("pipe", tarfile.FIFOTYPE), b""),
            (special("device", tarfile.CHRTYPE), b""),
        ]
    unpack(packed(kind, tmp_path / "evil", members), tmp_path / "to")
    assert (tmp_path / "to/link/inside").read_bytes() == b"x"
    assert [p.name for p in (tmp_path / "to").iterdir()] == ["link"]
    assert not (tmp_path / "to/link").is_symlink()
    assert not (tmp_path / "inside").exists()


def test_a_link_that_was_there_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "to/Train").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a link"):
        unpack(packed("gz", tmp_path / "a", [(plain("Train/x"), b"x")]), tmp_path / "to")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("kind", ["zip", "gz", "bz2", "xz"])
def test_a_bomb_is_refused_and_leaves_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "ROOM", 2**20)
    content = bytes(50 * 2**20)
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", content)
    else:
        packed(kind, tmp_path / "bomb", [(plain("zeros"), content)])
    assert (tmp_path / "bomb").stat().st_size < 2**18
    with pytest.raises(OSError, match="unpacks to more than 100 times its size"):
        unpack(tmp_path / "bomb", tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.parametrize("opener", [open, gzip.open, bz2.open, lzma.open])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_SPARSE])
def test_a_header_that_would_fill_the_memory_is_refused(opener: Any, kind: bytes, tmp_path: Path) -> None:
    header = special("x", kind)
    header.size = 10**10
    with opener(tmp_path / "bomb", "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(10 * 512))
    with pytest.raises(OSError, match=r"one of its headers has|sparse files"):
        unpack(tmp_path / "bomb", tmp_path / "to")


@pytest.mark.parametrize("kind", KINDS)
def test_half_an_archive_leaves_nothing(kind: str, tmp_path: Path) -> None:
    members = [(plain(f"Train/{i}"), os.urandom(3000)) for i in range(20)]
    file = packed(kind, tmp_path / "half", members)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises((OSError, ValueError)):
        unpack(file, tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []


# --- names and paths


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard", "figures", "dense"])
def test_a_link_in_a_run_is_not_followed(name: str, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    with RunFolder(out) as folder:
        folder.claim(tiny_run.config())
    elsewhere.mkdir()
    (out / name).symlink_to(elsewhere)
    with pytest.raises(UserError, match=f"{name} must be a folder .* and is a link"):
        run.resume(out)
    assert list(elsewhere.iterdir()) == []


def test_a_lock_that_is_a_link_empties_nothing(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("all I have")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.lock").symlink_to(precious)
    with pytest.raises(UserError, match="cannot write in the run folder"), RunFolder(tmp_path / "run"):
        pass
    assert precious.read_text() == "all I have"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a data set whose classes are markup."""
    out = tmp_path_factory.mktemp("hostile") / "run"
    splits = replace(tiny_run.splits(), classes=(MARKUP, "<b>two</b>", "three\x00\u202e"))
    config = tiny_run.config(epochs=2)
    config = replace(config, data=replace(config.data, name=MARKUP, root=f"/{MARKUP}"))
    run.train(config, out, splits=splits)
    return out


def assert_no_markup(page: str) -> None:
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "<b>two" not in page
    assert "<svg onload" not in page
    assert "onerror=alert" not in page.replace("&gt;&lt;img src=x onerror=alert", "")
    assert "&lt;script&gt;alert(1)" in page, "the names are not on the page: the test shows nothing"
    assert "{{7*7}}" in page


def test_names_are_no_markup_on_a_page(hostile: Path) -> None:
    assert_no_markup((hostile / "report.html").read_text())
    for picture in (hostile / "figures").glob("*.svg"):
        assert "<script" not in picture.read_text()


def test_files_of_a_run_are_no_markup_on_a_page(hostile: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(hostile, out)
    summary = json.loads((out / "summary.json").read_text())
    summary["git_commit"] = summary["device"] = MARKUP
    summary["versions"] = {MARKUP: MARKUP}
    for part in ("layers", "neurons_left"):
        summary[part] = {f"{MARKUP}{name}": value for name, value in summary[part].items()}
    (out / "summary.json").write_text(json.dumps(summary))
    (out / "config.yaml").write_text((out / "config.yaml").read_text() + f"# {MARKUP}\n")
    assert_no_markup(report(out).path.read_text())


def test_aliases_are_not_expanded(tmp_path: Path) -> None:
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with RunFolder(tmp_path / "run") as folder:
        folder.config.write_text(laughs)
        with pytest.raises(UserError, match="aliases"):
            folder.read_config()


def test_yaml_makes_plain_values_alone() -> None:
    for text in ("!!python/object/apply:os.system [true]", "!!python/name:os.system", "!!python/module:os"):
        with pytest.raises(document.yaml.YAMLError):
            document.parse_yaml(text)
