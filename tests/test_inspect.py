"""`snnprune data inspect`: every file is looked at, what is odd is said, and the page shows each class."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from snnprune import cli, inspecting
from snnprune.data.events import reading
from snnprune.data.events.inspection import FRAMES, Inspection, inspected
from snnprune.data.events.layouts import Listing, Recording
from snnprune.data.events.oddities import oddities
from snnprune.data.events.reading import FORMATS, Format
from snnprune.data.events.stream import Asked, Raw, Stream
from snnprune.report import inspection_page, page
from snnprune.report.inspection_page import MOST_CARDS, write_inspection
from support import public_sets
from support.recordings import moving_bar, write_bin, write_poker_dvs

SENSOR = (12, 10)


class Saved(Format):
    """A format of tests: structured arrays of NumPy, whose file's name may hold a remark or a sensor."""

    def read(self, path: Path, asked: Asked) -> Raw:
        events = np.load(path, allow_pickle=False)
        remarks = ("ends within an event, which was left out",) if "cut" in path.name else ()
        sensor = (20, 20) if "wide" in path.name else asked.sensor
        return Raw(*(events[name] for name in "txyp"), unit=asked.unit, sensor=sensor, remarks=remarks)


@pytest.fixture(autouse=True)
def a_format(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reading, "FORMATS", (Saved("Saved", (".saved",), ""),))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def save(path: Path, n: int = 200, length: int = 1000, **columns: Any) -> None:
    """Write a recording of a bar that moves to the right: ON before it, OFF behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(n) * length // n
    own = {"t": t, "x": t * 10 // length + np.arange(n) % 2, "y": np.arange(n) % 8, "p": np.arange(n) % 2}
    own |= columns
    kinds = [(name, np.asarray(own[name]).dtype) for name in "txyp"]
    events = np.empty(n, kinds)
    for name in "txyp":
        events[name] = own[name]
    with path.open("wb") as file:
        np.save(file, events)


def folder(tmp_path: Path, *, classes: int = 2, each: int = 4) -> Path:
    for kind in range(classes):
        for number in range(each):
            save(tmp_path / "set" / f"kind{kind}" / f"{number}.saved", 200 + 10 * number)
    return tmp_path / "set"


def inspect(path: Path, *options: str) -> int:
    return cli.main(["data", "inspect", str(path), "--data.sensor", "12x10", *options])


def test_a_folder_without_anything_odd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder(tmp_path).rglob("*"))
    assert inspect(tmp_path / "set") == 0
    said = capsys.readouterr()
    assert "8 recordings: 8 can be trained on, 0 cannot; 0 odd" in said.out
    assert re.search(r"kind1 +4 +215 ", said.out)
    assert said.err == ""
    html = (tmp_path / "here" / "set-inspection.html").read_text()
    assert "Class kind0" in html
    assert "Class kind1" in html
    assert "Odd" not in html
    assert sorted((tmp_path / "set").rglob("*")) == before
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["set-inspection.html"]


ODD = {
    "kind0/cut.saved": ({}, "kind0/cut.saved ends within an event, which was left out"),
    "kind0/mixed.saved": ({"t": [*range(100, 0, -1), *range(200, 300)]}, "has 99 events out of order"),
    "kind0/on.saved": ({"p": np.ones(200, bool)}, "kind0/on.saved has ON events only"),
    "kind0/off.saved": ({"p": np.zeros(200, bool)}, "kind0/off.saved has OFF events only"),
    "kind0/hot.saved": ({"x": [11] * 200, "y": [3] * 200}, "has 1 hot pixel (x 11, y 3)"),
    "kind0/long.saved": ({"length": 100_000}, "lasts 99.5 ms, more than 10 times the median of its class, "),
    "kind0/brief.saved": ({"length": 10}, "events a second, more than 10 times the median of its class"),
    "kind0/once.saved": ({"t": np.zeros(200, int)}, "lasts 0 us, less than 1/10 of the median of its class"),
}
"""Recordings that can be trained on, and what is said of each."""

UNUSABLE = {
    "kind1/outside.saved": ({"x": [12] * 200}, "x must be from 0 to 11"),
    "kind1/empty.saved": ({"n": 0}, "it has no events"),
    "kind1/wide.saved": ({}, "its header says that the sensor has 20 x 20 pixels"),
}


def test_what_is_odd_is_said_of_each_file_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder(tmp_path, each=9)
    for name, (columns, _) in (ODD | UNUSABLE).items():
        save(data / name, **columns)
    (data / "kind1" / "damaged.saved").write_bytes((data / "kind1" / "0.saved").read_bytes()[:-7])
    (data / "kind1" / "notes.txt").write_text("mine")
    assert inspect(data) == 1
    out = capsys.readouterr().out
    for name, (_, said) in (ODD | UNUSABLE).items():
        line = next(line for line in out.splitlines() if name in line)
        assert said in line, name
    assert next(line for line in out.splitlines() if "damaged.saved" in line)
    assert "notes.txt is in no format that is read" in out
    assert "31 recordings: 26 can be trained on, 5 cannot; 8 odd" in out
    html = (tmp_path / "here" / "set-inspection.html").read_text()
    for name in (*ODD, *UNUSABLE, "kind1/damaged.saved", "kind1/notes.txt"):
        assert name in html
    assert "Cannot be trained on" in html


def test_a_sensor_unlike_most_is_odd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "set"
    for number in range(3):
        save(data / "kind0" / f"wide{number}.saved")
    listing = Listing(data, ("kind0",), tuple(Recording(data / str(n), 0, str(n)) for n in range(4)))
    sensors = [(12, 10), (20, 20), (12, 10), (12, 10)]
    found = inspected(listing, lambda one: plain(sensors[int(one.group)]))
    (odd,) = oddities(found)
    assert odd.look.recording.group == "1"
    assert not odd.usable
    assert odd.said[0].startswith("is of a sensor of 20 x 20 pixels, and most are of 12 x 10")
    assert found.sensor == (12, 10)
    assert cli.main(["data", "inspect", str(data)]) == 0
    assert "can be trained on, 0 cannot" in capsys.readouterr().out


def plain(sensor: tuple[int, int], n: int = 100) -> Stream:
    bar = moving_bar(0, 0, side=min(sensor), n=n)
    x, y = bar["x"].astype(np.uint16), bar["y"].astype(np.uint16)
    return Stream(bar["t"] - bar["t"][0], x, y, bar["p"].astype(bool), sensor)


def test_means_and_films_by_arithmetic(tmp_path: Path) -> None:
    def read(one: Recording) -> Stream:
        n = int(one.group)
        place = np.full(n, one.label, np.uint16)
        return Stream(np.arange(n), place, place, np.ones(n, bool), (3, 2))

    recordings = [
        Recording(tmp_path / str(n), label, str(n)) for label, n in ((0, 10), (0, 20), (0, 60), (1, 8))
    ]
    found = inspected(Listing(tmp_path, ("a", "b"), tuple(recordings)), read)
    assert found.means[0].tolist() == [[[0, 0, 0], [0, 0, 0]], [[30, 0, 0], [0, 0, 0]]]
    assert found.means[1][1].tolist() == [[0, 0, 0], [0, 8, 0]]
    assert found.films[0].path.name == "20"
    assert found.films[0].span == 19
    assert found.films[0].frames.shape == (FRAMES, 2, 2, 3)
    assert found.films[0].frames.sum() == 20
    assert found.films[1].frames[:, 1, 1, 1].tolist() == [1] * 8


def test_one_recording_and_a_folder_of_files_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder(tmp_path)
    assert inspect(data / "kind0" / "2.saved") == 0
    assert "1 recording: 1 can be trained on" in capsys.readouterr().out
    assert "Class 2.saved" in (tmp_path / "here" / "2.saved-inspection.html").read_text()
    assert inspect(data / "kind0") == 0
    assert "4 recordings: 4 can be trained on" in capsys.readouterr().out
    assert (tmp_path / "here" / "kind0-inspection.html").exists()


def test_intervals_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "set" / "a.saved", 100, 1000, t=5000 + np.arange(100) * 10)
    rows = ["a.saved,up,5000,5500", "a.saved,down,5500,6000", "a.saved,down,9000,9001"]
    (tmp_path / "set" / "recordings.csv").write_text("\n".join(["file,label,start,end", *rows]))
    assert inspect(tmp_path / "set") == 1
    out = capsys.readouterr().out
    assert re.search(r"up +1 +50 +490 us", out)
    assert re.search(r"down +2, 1", out)
    assert "a.saved has no events from 9000 to 9001" in out
    assert "clock, which runs from 5000 to 5990" in out


@pytest.mark.parametrize("place", ["page.html", "kind0/page.html", "../set/new/page.html"])
def test_the_page_is_never_among_the_recordings(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder(tmp_path)
    before = sorted(data.rglob("*"))
    assert inspect(data, "--out", str(data / place)) == 2
    assert "among the recordings" in capsys.readouterr().err
    assert sorted(data.rglob("*")) == before


def test_the_page_is_not_written_into_a_data_folder_that_is_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder(tmp_path))
    assert inspect(Path()) == 2
    assert "give --out FILE in another folder" in capsys.readouterr().err
    assert inspect(Path(), "--out", str(tmp_path / "here" / "own.html")) == 0
    assert "<title>set</title>" in (tmp_path / "here" / "own.html").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere"], "there is no file or folder nowhere"),
        (["set", "--out", "set-not"], "is a folder"),
        (["set", "--data.sensor", "12"], "--data.sensor must be WIDTHxHEIGHT"),
        (["set", "--data.binning", "time"], "there is no option --data.binning"),
        (["set", "--data.group", "person[0-9]"], "finds no group"),
        (["bare"], "has no recordings in folders of classes"),
        ([], "required: folder"),
    ],
)
def test_wrong_usage(
    given: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder(tmp_path)
    for name in ("set-not", "bare"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "inspect", *given]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_names_of_classes_and_files_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        save(tmp_path / "set" / "<b>[red]a & b" / f"[bold]{number}<i>.saved", p=np.ones(200, bool))
    assert inspect(tmp_path / "set") == 0
    assert "<b>[red]a & b/[bold]1<i>.saved has ON events only" in capsys.readouterr().out
    html = (tmp_path / "here" / "set-inspection.html").read_text()
    assert "&lt;b&gt;[red]a &amp; b" in html
    assert "<b>" not in html


def test_names_that_cannot_be_shown_stop_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = Path(os.fsdecode(b"kind\xff\x1b[31m"))
    save(tmp_path / "set" / odd / os.fsdecode(b"a\n\xfe.saved"), p=np.ones(200, bool))
    (tmp_path / "set" / odd / os.fsdecode(b"\xfe.unknown\xfe")).write_text("mine")
    assert inspect(tmp_path / "set") == 1
    out = capsys.readouterr().out
    assert "kind??[31m/a??.saved has ON events only\n" in out
    assert "/?.unknown? is in no format" in out
    assert "\x1b" not in out
    assert "Class kind??[31m" in (tmp_path / "here" / "set-inspection.html").read_text()


def test_a_pipe_among_the_recordings_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(tmp_path, classes=1)
    os.mkfifo(tmp_path / "set" / "kind0" / "pipe.saved")
    assert inspect(tmp_path / "set") == 1
    assert "pipe.saved must be a file of events, and is a folder, a pipe" in capsys.readouterr().out


def test_a_page_of_many_classes_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(
        inspection_page, "draw_all", lambda makers, kinds, _: (drawn.append(kinds), ([], []))[1]
    )
    many = MOST_CARDS + 90
    listing = Listing(tmp_path, tuple(map(str, range(many))), tuple(_recordings(tmp_path, many)))
    found = inspected(listing, lambda one: plain((64, 48), 50 + one.label))
    written = write_inspection(found, [], "many", tmp_path / "many.html")
    assert f"<td>{50 + many - 1}</td>" in written.path.read_text()
    sheet, *cards = drawn
    assert len(sheet) == many
    assert [card.number for card in cards] == list(range(MOST_CARDS))
    assert {kind.mean.shape for kind in sheet} == {(2, 24, 32)}


@pytest.mark.slow
@pytest.mark.parametrize("many", [4, 8, MOST_CARDS, 120])
def test_pages_of_cameras_that_see_nothing_but_noise_can_be_written(many: int, tmp_path: Path) -> None:
    def read(one: Recording) -> Stream:
        rng = np.random.default_rng(one.label)
        x, y = (rng.integers(0, size, 400_000, np.uint16) for size in (640, 480))
        return Stream(np.arange(400_000), x, y, rng.integers(0, 2, 400_000).astype(bool), (640, 480))

    listing = Listing(tmp_path, tuple(map(str, range(many))), tuple(_recordings(tmp_path, many)))
    written = write_inspection(inspected(listing, read), [], "noise", tmp_path / "noise.html")
    assert not written.failures
    assert written.path.stat().st_size < page.LARGEST


def _recordings(folder: Path, many: int) -> list[Recording]:
    return [Recording(folder / str(label), label, str(label)) for label in range(many)]


def test_a_swapped_axis_and_a_flipped_polarity_are_seen(tmp_path: Path) -> None:
    """The pictures of the page show ON where ON is, and columns where columns are."""
    save(tmp_path / "set" / "kind0" / "a.saved", 80, x=[9] * 80, y=[1] * 80, p=[1] * 80)
    found = looked(tmp_path / "set")
    assert np.argwhere(found.means[0]).tolist() == [[1, 1, 9]]
    assert {tuple(place) for place in np.argwhere(found.films[0].frames)[:, 1:].tolist()} == {(1, 1, 9)}


def looked(data: Path) -> Inspection:
    recordings = sorted(data.rglob("*.saved"))
    listing = Listing(data, ("kind0",), tuple(Recording(path, 0, path.name) for path in recordings))
    return inspected(listing, lambda one: reading.read(one.path, Asked(sensor=SENSOR)))


def test_memory_that_is_full_for_one_file_stops_nothing(tmp_path: Path) -> None:
    def read(one: Recording) -> Stream:
        if one.label == 1:
            raise MemoryError
        return plain((12, 10))

    listing = Listing(tmp_path, ("0", "1", "2"), tuple(_recordings(tmp_path, 3)))
    (odd,) = oddities(inspected(listing, read))
    assert odd.said == (f"{tmp_path / '1'} does not fit into the memory",)


def test_a_sensor_beyond_any_camera_is_said_with_the_file(tmp_path: Path) -> None:
    listing = Listing(tmp_path, ("0",), tuple(_recordings(tmp_path, 1)))
    (odd,) = oddities(inspected(listing, lambda _: replace(plain((12, 10)), sensor=(60_000, 60_000))))
    assert odd.said[0].startswith(f"{tmp_path / '0'}: events are counted on sensors of at most")
    assert not odd.usable


def test_a_public_data_set_is_read_as_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "FORMATS", FORMATS)
    root = write_poker_dvs(tmp_path) / "POKERDVS"
    rows = np.load(root / "pips_train" / "he" / "1.npy")
    np.save(root / "pips_train" / "cl" / "0.npy", rows[:0])
    outside = rows.copy()
    outside[0, 1] = 99
    np.save(root / "pips_train" / "cl" / "1.npy", outside)
    np.save(root / "pips_train" / "he" / "1.npy", rows[::-1])
    (root / "pips_test" / "sp" / "0.npy").write_bytes(b"\x93NUMPY, or not")
    assert cli.main(["data", "inspect", str(root)]) == 1
    out = capsys.readouterr().out
    assert "read as POKER-DVS" in out
    assert "16 recordings: 13 can be trained on, 3 cannot; 1 odd" in out
    assert "pips_train/he/1.npy has 399 events out of order" in out
    html = (tmp_path / "here" / "POKERDVS-inspection.html").read_text()
    for suit in ("club", "heart", "diamond", "spade"):
        assert f"Class {suit}" in html


def test_a_file_of_shd_holds_many_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One polarity is nothing odd in sound."""
    written = public_sets.shd(tmp_path, each=1)
    assert cli.main(["data", "inspect", str(tmp_path / "SHD")]) == 0
    out = capsys.readouterr().out
    assert "read as SHD" in out
    assert f"{len(written)} recordings: {len(written)} can be trained on, 0 cannot; 0 odd" in out
    assert re.search(r"neun +2 ", out)
    assert cli.main(["data", "inspect", str(tmp_path / "SHD" / "shd_test.h5")]) == 0
    assert re.search(r"neun +1 ", capsys.readouterr().out)


def test_a_recording_of_shd_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public_sets.shd(tmp_path, each=1)
    with h5py.File(tmp_path / "SHD" / "shd_test.h5", "r+") as file:
        file["spikes/units"][3] = file["spikes/units"][3] + 700
    assert cli.main(["data", "inspect", str(tmp_path / "SHD")]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert f"{tmp_path / 'SHD' / 'shd_test.h5' / '3'} is not usable" in out
    (tmp_path / "SHD" / "shd_test.h5").write_bytes(b"not HDF5")
    assert cli.main(["data", "inspect", str(tmp_path / "SHD")]) == 2
    assert "is no file of SHD" in " ".join(capsys.readouterr().err.split())


def test_files_of_several_formats_in_a_program_of_its_own(tmp_path: Path) -> None:
    """With the package's own readers."""
    bar = moving_bar(0, 0, side=30)
    for part in ("train", "test"):
        for kind in ("up", "down"):
            home = tmp_path / "set" / part / kind
            write_bin(home / "a.bin", bar)
            np.save(home / "b.npy", bar)
            header, rows = "t,x,y,p\n", (f"{e['t']},{e['x']},{e['y']},{e['p']}\n" for e in bar)
            (home / "c.csv").write_text(header + "".join(rows))
    (tmp_path / "set" / "test" / "up" / "a.bin").write_bytes(b"")
    (tmp_path / "set" / "test" / "down" / "c.csv").write_text("t,x,y,p\n1,30,99,1\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "snnprune",
            "data",
            "inspect",
            str(tmp_path / "set"),
            "--data.sensor",
            "30x30",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path / "here",
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "200"},
    )
    assert done.returncode == 1
    assert done.stderr == ""
    assert "12 recordings: 10 can be trained on, 2 cannot; 0 odd" in done.stdout
    assert re.search(r"up +6, 5 readable +400 .* 2 ATIS, 2 numpy, 2 text", done.stdout)
    assert "set/test/up/a.bin is not a usable ATIS recording" in done.stdout
    assert "set/test/down/c.csv is not a usable text recording: its x must be from 0 to 29" in done.stdout
    assert (tmp_path / "here" / "set-inspection.html").is_file()


def test_the_page_of_a_folder_is_named_after_it(tmp_path: Path) -> None:
    assert inspecting.page_of(tmp_path / "set" / "..") == Path(f"{tmp_path.name}-inspection.html")


@pytest.mark.data
@pytest.mark.parametrize(
    ("given", "many"),
    [
        (["POKERDVS"], 68),
        pytest.param(["NMNIST-small/NMNIST", "--data.sensor", "34x34"], 700, marks=pytest.mark.slow),
    ],
)
def test_nothing_is_odd_about_real_recordings(
    given: list[str],
    many: int,
    real_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, *options = given
    if not (real_data / folder).is_dir():
        pytest.skip(f"no {folder} in {real_data}")
    monkeypatch.setattr(reading, "FORMATS", FORMATS)
    assert cli.main(["data", "inspect", str(real_data / folder), *options]) == 0
    assert f"{many} recordings: {many} can be trained on, 0 cannot; 0 odd" in capsys.readouterr().out
