"""Nothing lost: kills, damage, full disks and Ctrl-C leave the last good checkpoint, and a sentence."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import resource
import shutil
import signal
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from matplotlib.figure import Figure

from snnprune import cli
from snnprune.common import atomic
from snnprune.common.errors import UserError
from snnprune.export import evaluation, load
from snnprune.report.picture import Picture, draw
from snnprune.runs import checkpoint
from snnprune.runs.folder import RunFolder
from snnprune.training import run
from snnprune.training.task import Task
from support import tiny_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four epochs, without its page."""
    return tiny_run.finished(tmp_path_factory.mktemp("whole") / "run", epochs=4)


@pytest.fixture
def unfinished(whole: Path, tmp_path: Path) -> RunFolder:
    """The same run, killed before its summary: with checkpoints of the third and the fourth epoch."""
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    return RunFolder(tmp_path / "run")


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def numbers(out: Path) -> dict[str, Any]:
    summary = json.loads((out / "summary.json").read_text())
    return {key: value for key, value in summary.items() if key not in {"seconds", "machine", "git_commit"}}


def halved(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def one_bit(file: Path) -> None:
    flip(file, file.stat().st_size // 2)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("harm", [halved, one_bit, emptied])
def test_a_damaged_checkpoint_is_named_and_the_one_before_goes_on(
    harm: Callable[[Path], None], whole: Path, unfinished: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(unfinished.last)
    run.resume(unfinished.path, page=False)
    said = capsys.readouterr().out
    assert f"cannot read the checkpoint {unfinished.last}" in said
    assert "from the checkpoint before, after epoch 3" in said
    assert "dpap  epoch 4/4" in said
    assert "dpap  epoch 3/4" not in said
    assert numbers(unfinished.path) == numbers(whole)
    assert unfinished.network.read_bytes() == (whole / "model.safetensors").read_bytes()
    assert unfinished.last.with_suffix(".damaged").exists()


def test_the_last_checkpoint_may_be_missing(whole: Path, unfinished: RunFolder) -> None:
    """A kill between two renames leaves the one before alone."""
    unfinished.last.unlink()
    run.resume(unfinished.path, page=False)
    assert numbers(unfinished.path) == numbers(whole)


def test_two_damaged_checkpoints_are_a_sentence_that_names_both(unfinished: RunFolder) -> None:
    for file in unfinished.checkpoints:
        one_bit(file)
    for use in (run.resume, evaluation.evaluate):
        with pytest.raises(UserError, match=r"last\.ckpt .*damaged.*previous\.ckpt .*damaged"):
            use(unfinished.path)


def test_every_byte_of_a_checkpoint_is_under_its_seal(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    parts = {"state_dict": {"w": torch.arange(3.0)}, "callbacks": {}, "epoch": 0}
    checkpoint.AtomicCheckpoints(tmp_path / "previous.ckpt").save_checkpoint(parts, file)
    whole = file.read_bytes()
    assert torch.load(file, weights_only=True)["state_dict"]["w"].tolist() == [0, 1, 2]
    for place in range(len(whole)):
        flip(file, place)
        with pytest.raises(UserError, match=r"damaged|has no checksum"):
            checkpoint.newest([file])
        file.write_bytes(whole)
    checkpoint.newest([file])


def test_the_checkpoint_before_stays(tmp_path: Path) -> None:
    files = RunFolder(tmp_path)
    writer = checkpoint.AtomicCheckpoints(files.previous)
    for epoch in range(3):
        writer.save_checkpoint({"state_dict": {}, "callbacks": {}, "epoch": epoch}, files.last)
    assert [checkpoint.newest([path])[1]["epoch"] for path in files.checkpoints] == [2, 1]
    assert sorted(path.name for path in files.last.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_every_byte_of_a_saved_network_is_under_a_checksum(whole: Path, tmp_path: Path) -> None:
    names = ("model.safetensors", "model.json")
    for name in names:
        shutil.copy(whole / name, tmp_path / name)
    size = (tmp_path / "model.json").stat().st_size
    for name, places in (("model.safetensors", (0, 9, -1)), ("model.json", range(0, size, size // 40))):
        content = (tmp_path / name).read_bytes()
        for place in places:
            flip(tmp_path / name, place)
            with pytest.raises(UserError, match=r"model\.json|model\.safetensors"):
                load(tmp_path / "model", lambda: torch.nn.Linear(1, 1))
            (tmp_path / name).write_bytes(content)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "{", '{"accuracy": NaN}', "\x00", "[" * 100_000, "1" * 5000]
)
def test_a_damaged_summary_is_a_sentence(text: str, unfinished: RunFolder) -> None:
    unfinished.summary.write_text(text)
    with pytest.raises(UserError, match=r"summary\.json is damaged .*delete it"):
        run.resume(unfinished.path, page=False)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("train", "epochs", "many"), ("train", "lr", True), ("data", "name", None), ("model", "hidden", 1.5)],
)
def test_a_configuration_of_other_types_is_a_sentence(
    section: str, key: str, value: Any, unfinished: RunFolder
) -> None:
    config = asdict(tiny_run.config())
    config[section][key] = value
    unfinished.config.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=rf"cannot read .*config\.yaml \({section}\.{key} must be"):
        run.resume(unfinished.path, page=False)


def test_a_section_that_is_none(unfinished: RunFolder) -> None:
    unfinished.config.write_text("data: null\nmodel: {}\nmethod: {}\ntrain: {}\n")
    with pytest.raises(UserError, match="must hold keys"):
        run.resume(unfinished.path, page=False)


@contextlib.contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes: what a full disk answers, for anybody who may run tests."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [100, 3_000, 20_000, 60_000])
def test_no_room_is_a_sentence_and_leaves_what_was_there(
    size: int, unfinished: RunFolder, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(unfinished.previous, unfinished.last)  # an epoch is left to train
    before = unfinished.last.read_bytes()

    def resumed(_: list[str]) -> int:
        run.resume(unfinished.path, page=False)
        return 0

    monkeypatch.setitem(cli.COMMANDS, "train", resumed)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), no_file_beyond(size):
        code = cli.main(["train"])
    assert code == cli.WRONG_INPUT
    assert said.getvalue().startswith("snnprune: ")
    assert before in [path.read_bytes() for path in unfinished.checkpoints if path.exists()]
    run.resume(unfinished.path, page=False)
    assert numbers(unfinished.path) == numbers(whole)


def test_ctrl_c_says_what_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Task.training_step

    def interrupted(self: Task, *given: Any) -> Any:
        if self.current_epoch == 2:
            raise KeyboardInterrupt
        return step(self, *given)

    monkeypatch.setattr(Task, "training_step", interrupted)
    with pytest.raises(SystemExit):
        run.train(tiny_run.config(epochs=4), tmp_path / "run")
    said = capsys.readouterr().out.replace("\n", "")
    assert "saved up to the end of epoch 2" in said
    assert f"snnprune train --resume {tmp_path / 'run'}" in said
    assert checkpoint.newest(RunFolder(tmp_path / "run").checkpoints)[1]["epoch"] == 1


FULL = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB.\nSee documents"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
)


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_full_memory_says_what_to_lower_and_what_is_saved(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, folder = Task.training_step, RunFolder(tmp_path / "run")
    full_in = 0

    def full(self: Task, *given: Any) -> Any:
        if self.current_epoch == full_in:
            raise error
        return step(self, *given)

    monkeypatch.setattr(Task, "training_step", full)
    config = tiny_run.config(epochs=2)
    monkeypatch.setitem(cli.COMMANDS, "train", lambda _: run.train(config, folder.path, page=False) and 0)
    assert cli.main(["train"]) == cli.WRONG_INPUT
    said = capsys.readouterr().err
    assert said.startswith("snnprune: the memory is full (")
    assert said.endswith(
        "): lower --train.batch_size (12) or --data.time_steps (4), or take --train.precision bf16\n"
    )
    full_in = 1
    assert cli.main(["train"]) == cli.WRONG_INPUT
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert (
        "in a new folder with --out; or free some memory, since the run is saved up to the end of epoch 1"
        in said
    )
    assert f"`snnprune train --resume {folder.path}` goes on from there" in said
    full_in = 2
    assert run.resume(folder.path, page=False)["epochs"] == 2


def test_full_memory_of_any_command_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fills(_: list[str]) -> int:
        torch.empty(2**60)
        return 0

    monkeypatch.setitem(cli.COMMANDS, "eval", fills)
    assert cli.main(["eval"]) == cli.WRONG_INPUT
    said = capsys.readouterr().err
    assert said.startswith("snnprune: the memory is full (")
    assert "lower --data.time_steps" in said
    assert said.count("\n") == 1


def test_other_errors_are_not_taken_for_full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: list[str]) -> int:
        raise RuntimeError("shapes differ")

    monkeypatch.setitem(cli.COMMANDS, "eval", fails)
    with pytest.raises(RuntimeError, match="shapes differ"):
        cli.main(["eval"])


def test_a_checkpoint_is_not_called_damaged_where_memory_is_full(
    unfinished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", full)
        with pytest.raises(UserError, match=r"the memory is full, .* the checkpoint .*last\.ckpt"):
            run.resume(unfinished.path, page=False)
    assert unfinished.last.is_file()
    assert not list(unfinished.last.parent.glob("*.damaged"))


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.last.parent.mkdir()
        left = folder.last.with_name(f".last.ckpt.abcdefgh{atomic.ASIDE}")
        left.write_bytes(b"half")
    with RunFolder(tmp_path / "run"):
        assert not left.exists()


def test_a_picture_is_whole_or_not_there(tmp_path: Path) -> None:
    class Half(Figure):
        def savefig(self, file: Any, **_: Any) -> None:
            file.write(b"half a picture")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(Picture("half", "", "", "", Half), tmp_path)
    assert list(tmp_path.iterdir()) == []
