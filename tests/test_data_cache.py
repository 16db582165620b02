"""The cache of frames: kept, noticed when it is no good, and safe with two processes."""

from __future__ import annotations

import errno
import multiprocessing
import pickle
import time
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snnprune.common.errors import UserError
from snnprune.data.cache import END, MAGIC, START, Batch, Stored, cached
from snnprune.data.splits import FrameSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FRAMES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


class Builder:
    """Yields two samples, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.built = 0

    def __call__(self) -> Iterator[Batch]:
        self.built += 1
        for label, frame in enumerate(FRAMES):
            yield Batch(frame[None], np.array([label]))
        yield Batch(FRAMES[:0], np.zeros(0, np.int64), ("broken.bin",))


def stored(folder: Path, build: Callable[[], Iterator[Batch]], **key: int) -> Stored:
    return cached(folder, "a set", {"T": 1, **key}, build, 3)


def only_file(folder: Path) -> Path:
    (file,) = folder.glob("*.frames")
    return file


def assert_whole(result: Stored) -> None:
    assert np.array_equal(result.frames, FRAMES)
    assert result.labels.tolist() == [0, 1]
    assert result.skipped == ("broken.bin",)


def test_built_once_then_read(tmp_path: Path) -> None:
    build = Builder()
    for _ in range(3):
        assert_whole(stored(tmp_path, build))
    assert build.built == 1
    assert not list(tmp_path.glob("*.part"))


def test_another_key_is_another_file(tmp_path: Path) -> None:
    build = Builder()
    stored(tmp_path, build)
    stored(tmp_path, build, T=2)
    assert build.built == 2
    assert len(list(tmp_path.glob("*.frames"))) == 2


def cut_short(content: bytes) -> bytes:
    return content[:-1]


def cut_in_the_middle(content: bytes) -> bytes:
    return content[:70]


def nothing(content: bytes) -> bytes:
    return b""


def longer(content: bytes) -> bytes:
    return content + b"\0"


def one_frame_byte_changed(content: bytes) -> bytes:
    return content[:66] + b"\xff" + content[67:]


def somebody_elses(content: bytes) -> bytes:
    return b"something else altogether" * 20


def other_magic(content: bytes) -> bytes:
    return b"X" + content[1:]


def footer_changed(content: bytes) -> bytes:
    return content.replace(b'"labels": [0, 1]', b'"labels": [1, 0]')


DAMAGES = (
    cut_short,
    cut_in_the_middle,
    nothing,
    longer,
    one_frame_byte_changed,
    somebody_elses,
    other_magic,
    footer_changed,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_mended(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    build = Builder()
    stored(tmp_path, build)
    file = only_file(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    with pytest.warns(UserWarning, match=f"{file.name} is damaged"):
        assert_whole(stored(tmp_path, build))
    assert build.built == 2
    assert file.read_bytes() == whole


def test_a_cache_made_of_something_else_is_noticed(tmp_path: Path) -> None:
    build = Builder()
    stored(tmp_path, build, T=2)
    foreign = only_file(tmp_path).read_bytes()
    stored(tmp_path, build)
    (mine,) = (file for file in tmp_path.glob("*.frames") if file.read_bytes() != foreign)
    mine.write_bytes(foreign)
    with pytest.warns(UserWarning, match="is built anew"):
        assert_whole(stored(tmp_path, build))
    assert build.built == 3


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Iterator[Batch]:
        yield Batch(FRAMES[:1], np.array([0]))
        raise UserError("no further")

    with pytest.raises(UserError, match="no further"):
        stored(tmp_path, fail)
    assert not list(tmp_path.glob("*.frames"))
    assert not list(tmp_path.glob("*.part"))
    assert_whole(stored(tmp_path, Builder()))


def _process(folder: Path, diary: Path) -> None:
    def build() -> Iterator[Batch]:
        with diary.open("a") as file:
            file.write("built\n")
        for batch in Builder()():
            time.sleep(0.1)
            yield batch

    assert_whole(stored(folder, build))


def test_two_processes_build_once(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_process, args=(tmp_path, diary)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert diary.read_text() == "built\n"


def test_no_room_to_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"could not be written.*--data.cache"):
        stored(tmp_path / "absent", Builder())


def test_full_memory_is_not_called_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(np, "memmap", full)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        stored(tmp_path, Builder())


def test_a_footer_that_is_none_is_built_anew(tmp_path: Path) -> None:
    """A checksum is no seal: whoever writes a cache can compute it."""
    build = Builder()
    stored(tmp_path, build)
    text = b"[" * 10**5
    body = only_file(tmp_path).read_bytes()[: START + FRAMES.nbytes]
    end = END.pack(len(text), zlib.crc32(text, zlib.crc32(body[START:])), MAGIC)
    only_file(tmp_path).write_bytes(body + text + end)
    with pytest.warns(UserWarning, match="is built anew"):
        assert_whole(stored(tmp_path, build))
    assert build.built == 2


def test_a_frame_set_travels_by_name(tmp_path: Path) -> None:
    result = stored(tmp_path, Builder())
    here = FrameSet(result.frames[:, None], result.labels, np.array([1]))
    sent = pickle.dumps(here)
    assert str(only_file(tmp_path)).encode() in sent
    assert FRAMES[1].tobytes() not in sent
    there = pickle.loads(sent)
    assert np.array_equal(there[0][0][0], FRAMES[1])
    assert there[0][1] == 1
