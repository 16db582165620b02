"""The data set `recordings`: the same frames from every format, a run from every layout."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from snnprune import cli, data
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig
from snnprune.data.events import reading
from snnprune.data.events.gate import admitted
from snnprune.data.events.reading import read
from snnprune.data.events.stream import Asked, Raw, Stream
from snnprune.data.neuromorphic import NMNIST, POKER_DVS, Recordings
from support import event_files, event_tables
from support.event_files import WRITERS, Writer
from support.recordings import moving_bar, write_poker_dvs

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.data.splits import FrameSet, Splits

EACH = [writer for writers in WRITERS.values() for writer in writers]
STRUCTURED = next(writer for writer in EACH if str(writer) == "npy_structured")


def bar(label: int, seed: int, *, side: int = 16, length: int = 300_000) -> Stream:
    events = moving_bar(label, seed, side=side, n=200, length=length)
    return admitted(Raw(*(events[name] for name in "txyp"), unit="us", sensor=(side, side)), Asked())


def write(folder: Path, files: dict[str, Stream], writer: Writer = STRUCTURED) -> Path:
    for name, recorded in files.items():
        path = (folder / name).with_suffix(writer.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        writer.write(path, recorded)
    return folder


def own(folder: Path, **asked: Any) -> DataConfig:
    given = {"sensor": "16x16", "time_steps": 4, "validation": 0.0} | asked
    return DataConfig("recordings", root=str(folder), cache=str(folder.parent / "cache"), **given)


def content(frames: FrameSet) -> tuple[np.ndarray, list[int]]:
    x, y = frames.__getitems__(range(len(frames)))
    return x.numpy(), y.tolist()


def equal(one: Splits, other: Splits) -> bool:
    return all(
        np.array_equal(content(getattr(one, part))[0], content(getattr(other, part))[0])
        and content(getattr(one, part))[1] == content(getattr(other, part))[1]
        for part in ("train", "validation", "test")
    )


def converted(source: Recordings, root: Path, folder: Path, writer: Writer) -> Path:
    """Write the recordings of a public data set into a folder of another format."""
    place = source.found(root)
    assert place is not None
    decoded, rows = source.reader(), ["file,label,split"]
    for part in ("train", "test"):
        for number, recording in enumerate(source.list(place, part)):  # type: ignore[arg-type]
            name = f"{part}/{number}"
            write(folder, {name: centred(decoded(recording), writer)}, writer)
            # Classes are numbered, and rows are sorted, as the data set has them.
            rows.append(f"{name}{writer.suffix},{recording.label},{part}")
    (folder / "recordings.csv").write_text("\n".join(rows))
    return folder


def centred(recorded: Stream, writer: Writer) -> Stream:
    """Put a recording into the centre of the only sensor that a format's cameras have, if so it is."""
    if not writer.only:
        return recorded
    right, down = ((size - own) // 2 for size, own in zip(writer.sensor, recorded.sensor, strict=True))
    x, y = (recorded.x + right).astype(np.uint16), (recorded.y + down).astype(np.uint16)
    return replace(recorded, x=x, y=y, sensor=writer.sensor)


def options(writer: Writer, sensor: str) -> dict[str, str]:
    """What the files of a writer do not say of recordings of a sensor."""
    found = {"sensor": "{}x{}".format(*writer.sensor), "crop": sensor} if writer.only else {"sensor": sensor}
    if writer.asked.columns:
        found["columns"] = ",".join(writer.asked.columns)
    if writer.asked.unit:
        found["time_unit"] = writer.asked.unit
    return found


@pytest.mark.parametrize("writer", EACH, ids=str)
def test_every_format_gives_the_frames_of_the_original(writer: Writer, tmp_path: Path) -> None:
    root = write_poker_dvs(tmp_path / "original")
    original = data.load(DataConfig("poker-dvs", root=str(root), cache=str(tmp_path / "c"), time_steps=4))
    place = converted(POKER_DVS, root, tmp_path / "own", writer)
    found = data.load(own(place, validation=0.1, **options(writer, "35x35")))
    assert equal(found, original)


LAYOUTS: dict[str, dict[str, Stream]] = {
    "classes": {f"{label}/{i}": bar(label, i) for label in range(2) for i in range(6)},
    "parts": {
        f"{part}/{label}/{i}": bar(label, i + 10 * (part == "test"))
        for part, many in (("train", 4), ("test", 2))
        for label in range(2)
        for i in range(many)
    },
    "table": {f"{i}": bar(i % 2, i) for i in range(6)},
}


def laid_out(name: str, folder: Path) -> Path:
    write(folder, LAYOUTS[name])
    if name == "table":
        rows = [
            f"{i}.npy,{(i + half) % 2},{150_000 * half},{150_000 * (half + 1)},person{i // 2}"
            for i in range(6)
            for half in range(2)
        ]
        (folder / "recordings.csv").write_text("\n".join(["file,label,start,end,group", *rows]) + "\n")
    return folder


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_run_from_every_layout(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = laid_out(name, tmp_path / "data")
    given = {
        "data.name": "recordings",
        "data.root": str(folder),
        "data.sensor": "16x16",
        "data.time_steps": "2",
        "data.test": "0.34",
        "model.name": "mlp-snn",
        "model.hidden": "8",
        "train.epochs": "2",
        "train.batch_size": "4",
        "train.twin": "false",
    }
    assert (
        cli.main(
            ["train", *(word for key, value in given.items() for word in (f"--{key}", value)), "--out", "run"]
        )
        == 0
    )
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["samples"]["test"] == 4 if "samples" in summary else summary
    assert cli.main(["report", "run"]) == 0
    assert cli.main(["eval", "run"]) == 0


def counts(splits: Splits) -> list[int]:
    return [len(getattr(splits, part)) for part in ("train", "validation", "test")]


def test_no_group_is_on_two_sides(tmp_path: Path) -> None:
    folder = laid_out("table", tmp_path / "data")
    splits = data.load(own(folder, test=0.34, validation=0.34))
    assert counts(splits) == [4, 4, 4]  # three people, of two files with two intervals each


def test_windows_of_a_file_stay_together(tmp_path: Path) -> None:
    folder = laid_out("classes", tmp_path / "data")
    splits = data.load(own(folder, window="100ms", test=0.34, validation=0.2))
    assert counts(splits) == [3 * 6, 3 * 2, 3 * 4]
    whole = data.load(own(folder, test=0.34, validation=0.2))
    for part in ("train", "validation", "test"):
        windows, labels = content(getattr(splits, part))
        once, _ = content(getattr(whole, part))
        # A recording's events are those of its three windows.
        per_file = windows.reshape(-1, 3, 4, 2, 16, 16).sum((1, 2), dtype=int)
        assert np.array_equal(per_file, once.sum(1, dtype=int))
        assert labels == sorted(labels)


def test_a_group_in_two_parts_is_refused(tmp_path: Path) -> None:
    folder = laid_out("parts", tmp_path / "data")
    with pytest.raises(UserError, match=r"the group '0' is both in train and in test"):
        data.load(own(folder, group="[0-9](?=\\.npy)"))


def test_one_group_cannot_be_divided(tmp_path: Path) -> None:
    folder = laid_out("classes", tmp_path / "data")
    with pytest.raises(UserError, match="all recordings are of one, 'npy'"):
        data.load(own(folder, group="npy"))
    with pytest.raises(UserError, match="each class has one alone"):
        data.load(own(folder, group="^[0-9]"))


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    folder = laid_out("classes", tmp_path / "data")
    (folder / "1" / "3.npy").write_bytes(b"\x93NUMPY")
    return folder


def test_a_damaged_file_is_named_or_left_out(damaged: Path) -> None:
    with pytest.raises(UserError, match=r"1/3\.npy is not a usable numpy recording") as error:
        data.load(own(damaged))
    assert "--data.skip_corrupt true" in str(error.value)
    with pytest.warns(UserWarning, match=r"of 12 samples 1 could not be read and was left out"):
        splits = data.load(own(damaged, skip_corrupt=True))
    assert len(splits.skipped) == 1
    assert sum(counts(splits)) == 11


def test_a_file_of_no_known_format_is_named(tmp_path: Path) -> None:
    folder = laid_out("classes", tmp_path / "data")
    (folder / "1" / "notes.doc").write_text("hello")
    with pytest.raises(UserError, match=r"notes\.doc is in no format that is read"):
        data.load(own(folder))


def test_what_is_noticed_is_said_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for i in range(6):
        recorded = bar(i % 2, i)
        order = np.arange(len(recorded))
        order[[10, 50]] = order[[50, 10]]
        write(folder, {f"{i % 2}/{i}": recorded.picked(order)})
    for _ in range(2):
        with pytest.warns(
            UserWarning, match=r"0/0\.npy has \d+ events out of order, .* \(5 others are like it\)"
        ):
            data.load(own(folder))


def test_sensors_of_two_sizes(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    table = next(writer for writer in EACH if writer.suffix == ".h5")
    write(folder, {f"{i % 2}/{i}": bar(i % 2, i, side=16 if i < 5 else 20) for i in range(6)}, table)
    asked = own(folder, sensor=None)
    with pytest.raises(UserError, match=r"has frames of 20 x 20 pixels, and .*: all must have one size"):
        data.load(asked)
    assert data.load(replace(asked, crop="12x12")).shape == (2, 12, 12)


def test_test_alone(tmp_path: Path) -> None:
    folder = laid_out("parts", tmp_path / "data")
    whole = content(data.load(own(folder)).test)
    (folder / "train").rename(tmp_path / "elsewhere")
    alone = data.read(own(folder), needed=("test",))
    assert np.array_equal(content(alone.test)[0], whole[0])
    assert counts(alone) == [0, 0, 4]
    with pytest.raises(UserError, match="has recordings for test and none for train"):
        data.load(own(folder))


def test_a_changed_table_or_option_is_another_cache(tmp_path: Path) -> None:
    folder = laid_out("table", tmp_path / "data")
    before = data.load(own(folder)).train
    table = folder / "recordings.csv"
    table.write_text(table.read_text().replace("150000", "140000"))
    assert not np.array_equal(content(before)[0], content(data.load(own(folder)).train)[0])
    assert data.load(own(folder, polarity="merged")).shape == (1, 16, 16)
    assert data.load(own(folder, size="4x8")).shape == (2, 8, 4)


def runs(given: dict[str, str], out: Path) -> dict[str, Any]:
    words = [word for key, value in given.items() for word in (f"--{key}", value)]
    assert cli.main(["train", *words, "--out", str(out)]) == 0
    weights = load_file(out / "model.safetensors")
    summary = json.loads((out / "summary.json").read_text())
    return {"accuracy": summary["accuracy"], "weights": {name: x.tolist() for name, x in weights.items()}}


REAL: dict[str, tuple[Recordings, str]] = {"poker-dvs": (POKER_DVS, "35x35"), "nmnist": (NMNIST, "34x34")}


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("writer", EACH, ids=str)
@pytest.mark.parametrize("name", REAL)
def test_training_on_converted_recordings_is_training_on_the_originals(
    name: str, writer: Writer, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source, sensor = REAL[name]
    place = converted(source, real_data, tmp_path / "own", writer)
    given = {
        "model.name": "mlp-snn",
        "train.epochs": "2",
        "train.twin": "false",
        "train.threads": "1",
        "data.time_steps": "4",
    }
    original = runs(given | {"data.name": name, "data.root": str(real_data)}, tmp_path / "a")
    said = {f"data.{key}": value for key, value in options(writer, sensor).items()}
    asked = {"data.name": "recordings", "data.root": str(place)}
    found = runs(given | asked | said, tmp_path / "b")
    assert found == original


def test_one_class_alone_is_refused_with_a_hint(tmp_path: Path) -> None:
    folder = laid_out("classes", tmp_path / "data" / "one_too_high").parent
    with pytest.raises(UserError, match=r"one class alone, 'one_too_high', and .* name the folder that"):
        data.load(own(folder))


def test_a_file_on_two_sides_is_said_where_a_table_wants_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", LAYOUTS["table"])
    rows = [f"{i}.npy,{i % 2},,150000,train\n{i}.npy,{i % 2},150000,,test" for i in range(6)]
    (folder / "recordings.csv").write_text("\n".join(["file,label,start,end,split", *rows]) + "\n")
    with pytest.warns(UserWarning, match=r"0\.npy has intervals both in train and in test"):
        splits = data.load(own(folder))
    assert counts(splits) == [6, 0, 6]


def test_options_are_asked_for_and_files_are_not_left_out(tmp_path: Path) -> None:
    folder = laid_out("classes", tmp_path / "data")
    with pytest.raises(UserError, match=r"give --data\.sensor WIDTHxHEIGHT") as error:
        data.load(own(folder, sensor=None))
    assert "skip_corrupt" not in str(error.value)
    with pytest.raises(UserError, match=r"data\.columns must name t, x, y and p once"):
        data.load(own(folder, columns="t,x,y,z"))


def test_a_share_for_a_test_that_is_there_is_named(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"data\.test is not used"):
        data.load(own(laid_out("parts", tmp_path / "data"), test=0.3))


def test_formats_may_stand_side_by_side(tmp_path: Path) -> None:
    text = next(writer for writer in EACH if str(writer) == "text")
    folder = write(tmp_path / "data", {f"{i % 2}/{i}": bar(i % 2, i) for i in range(6)})
    write(folder, {f"{i % 2}/{i}": bar(i % 2, i) for i in range(6, 12)}, text)
    for path in folder.glob("*/*.npy"):
        event_tables.h5_compound(path.with_suffix(".h5"), bar(int(path.parent.name), int(path.stem)))
        path.unlink()
    (folder / "0" / "camera.bias").write_text("")
    (folder / "1" / "1.raw.tmp_index").write_text("")
    splits = data.load(own(folder, time_unit="s", columns="t,x,y,p"))
    assert sum(counts(splits)) == 12


def test_a_run_is_not_written_among_the_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = laid_out("classes", tmp_path / "data")
    monkeypatch.chdir(folder)
    assert cli.main(["train", "--data.name", "recordings", "--data.root", ".", "--data.sensor", "16x16"]) == 2
    assert "where a run would be taken for a class" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1"]


def test_a_file_of_many_intervals_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = laid_out("table", tmp_path / "data")
    opened: list[str] = []
    own_read = reading.read
    monkeypatch.setattr(
        reading, "read", lambda path, *asked: opened.append(path.name) or own_read(path, *asked)
    )
    data.load(own(folder, test=0.34))
    assert opened == [f"{i}.npy" for i in range(6)]


def test_capital_endings(tmp_path: Path) -> None:
    for writer in EACH:
        path = tmp_path / f"A{writer.suffix.upper()}"
        recorded = centred(bar(0, 0), writer)
        writer.write(tmp_path / f"a{writer.suffix}", recorded)
        (tmp_path / f"a{writer.suffix}").rename(path)
        assert np.array_equal(read(path, writer.said(recorded.sensor)).t, recorded.t)


@pytest.mark.slow
def test_a_large_sensor_trains_within_two_gigabytes(tmp_path: Path) -> None:
    for label in range(2):
        for i in range(4):
            path = tmp_path / "data" / str(label) / f"{i}.raw"
            path.parent.mkdir(parents=True, exist_ok=True)
            event_files.evt3(path, event_files.drawn(10_000_000, (1280, 720), seed=10 * label + i, gap=2))
    words = [
        "train",
        "--data.name",
        "recordings",
        "--data.root",
        str(tmp_path / "data"),
        "--data.size",
        "64x36",
    ]
    words += ["--train.epochs", "1", "--method.name", "dense", "--out", str(tmp_path / "run")]
    code = (
        "import resource, subprocess, sys;"
        f"done = subprocess.run([sys.executable, '-m', 'snnprune', *{words!r}], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(said.split()[-1]) < 2_000_000  # kilobytes
