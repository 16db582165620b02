"""Events in HDF5: the layouts in use, and what is refused in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from snnprune.common import extras
from snnprune.common.errors import UserError
from snnprune.data.events import reading
from snnprune.data.events.stream import Asked

if TYPE_CHECKING:
    from pathlib import Path

SENSOR = Asked(sensor=(346, 260))
COLUMNS: dict[str, Any] = {"t": [1000, 3000], "x": [1, 2], "y": [3, 4], "p": [1, 0]}
COMPOUND = np.array([(1, 3, 1, 1000), (2, 4, 0, 3000)], [("x", "u2"), ("y", "u2"), ("p", "i2"), ("t", "i8")])


def made(path: Path, things: dict[str, Any], **attributes: Any) -> Path:
    """Write datasets by their paths, and attributes of the file."""
    with h5py.File(path, "w") as file:
        for name, values in things.items():
            file[name] = values
        file.attrs.update(attributes)
    return path


def in_group(group: str, names: str = "txyp", **changed: Any) -> dict[str, Any]:
    values = dict(zip(names.split() if " " in names else names, COLUMNS.values(), strict=True))
    return {f"{group}/{name}".lstrip("/"): changed.get(name, column) for name, column in values.items()}


def refused(path: Path, asked: Asked, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        reading.read(path, asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "things",
    [
        in_group("events"),
        in_group("CD"),
        in_group(""),
        in_group("prophesee/left"),
        in_group("a/b/c", "timestamp x y polarity"),
        in_group("events", "ts xs ys ps"),
        in_group("events", "timestamps x y on", on=[True, False]),
        in_group("events", p=[1, -1]),
        {"CD/events": COMPOUND},
        {"events": COMPOUND},
        {"CD/events": COMPOUND, "EXT_TRIGGER/events": np.zeros(2, [("p", "i2"), ("t", "i8"), ("id", "i2")])},
        {**in_group("events"), "ms_to_idx": np.zeros(4), "images": np.zeros((2, 3, 4))},
    ],
)
def test_layouts(things: dict[str, Any], tmp_path: Path) -> None:
    found = reading.read(made(tmp_path / "a.h5", things), SENSOR)
    assert [found[name].tolist() for name in "txyp"] == [[0, 2000], [1, 2], [3, 4], [True, False]]
    assert found.first == 1000


def test_mvsec_has_seconds_and_two_cameras(tmp_path: Path) -> None:
    left = np.array([[1, 3, 1.5e9, 1], [2, 4, 1.5e9 + 0.25, -1]])
    things = {
        "davis/left/events": left,
        "davis/right/events": left,
        "davis/left/imu": np.zeros((5, 6)),
    }
    path = made(tmp_path / "a.hdf5", things)
    refused(path, SENSOR, r"give one of davis/left/events, davis/right/events as --data\.stream")
    for stream in ("davis/left", "davis/left/events"):
        found = reading.read(path, Asked((346, 260), stream=stream))
        assert [found[name].tolist() for name in "txyp"] == [[0, 250_000], [1, 2], [3, 4], [True, False]]
    refused(path, Asked((346, 260), stream="davis"), "no stream of events called 'davis'")


def test_a_table_of_others_says_nothing_of_its_columns(tmp_path: Path) -> None:
    path = made(tmp_path / "a.h5", {"events": np.array([[0.5, 1, 3, 1], [0.75, 2, 4, 0]])})
    refused(path, SENSOR, r"4 columns have no names: say what they hold with --data\.columns")
    columns = ("t", "x", "y", "p")
    refused(path, Asked((346, 260), columns=columns), r"floats without a unit: give --data\.time_unit")
    assert reading.read(path, Asked((346, 260), "s", columns)).t.tolist() == [0, 250_000]


def test_the_offset_of_dsec_is_added_and_names_the_unit(tmp_path: Path) -> None:
    path = made(tmp_path / "a.h5", {**in_group("events"), "t_offset": 2**40})
    assert reading.read(path, SENSOR).first == 2**40 + 1000
    assert reading.read(path, Asked((346, 260), "ns")).first == 2**40 + 1000  # the file knows it better
    for offset in (-1, 2**63 - 1, 0.5, [1, 2], "x"):
        path = made(tmp_path / "b.h5", {**in_group("events"), "t_offset": offset})
        refused(path, SENSOR, "t_offset")


@pytest.mark.parametrize(
    ("things", "attributes", "sensor"),
    [
        ({}, {"width": 640, "height": 480}, (640, 480)),
        ({}, {"geometry": "640x480"}, None),
        ({}, {"geometry": np.bytes_("640x480")}, (640, 480)),
        ({}, {"geometry": np.bytes_("480x640")}, (480, 640)),
        ({}, {"sensor_resolution": [480, 640]}, None),
        ({"events/x": [600, 2]}, {"sensor_resolution": [480, 640]}, (640, 480)),
        ({"events/y": [600, 2]}, {"sensor_resolution": [480, 640]}, (480, 640)),
        ({}, {"sensor_resolution": [128, 128]}, (128, 128)),
        ({"events/x": [1200, 2], "events/calib/resolution": [1280, 720]}, {}, (1280, 720)),
        ({}, {}, None),
    ],
)
def test_the_sensor(
    things: dict[str, Any], attributes: dict[str, Any], sensor: tuple[int, int] | None, tmp_path: Path
) -> None:
    path = made(tmp_path / "a.h5", in_group("events") | things, **attributes)
    if sensor is None:
        refused(path, Asked(), r"--data\.sensor WIDTHxHEIGHT")
    else:
        assert reading.read(path, Asked()).sensor == sensor


@pytest.mark.parametrize(
    "size", [np.bytes_("640 by"), [1, 2, 3], [0.5, 2], {"width": np.bytes_("a"), "height": 3}]
)
def test_a_size_that_is_none(size: Any, tmp_path: Path) -> None:
    attributes = size if isinstance(size, dict) else {"geometry": size}
    refused(made(tmp_path / "a.h5", in_group("events"), **attributes), SENSOR, "size of the sensor|a size of")


@pytest.mark.parametrize(
    ("things", "said"),
    [
        ({}, "no group or compound dataset has t, x, y and p.* it has no datasets"),
        ({"events/t": [1], "events/x": [2]}, "it has events/t, events/x"),
        ({**in_group("events", p=[1]), "events/p": [1]}, "different lengths"),
        ({**in_group("events"), "events/p": 1}, r"/events/p .*shape \[\], expected one value an event"),
        ({**in_group("events"), "events/p": h5py.Empty("i4")}, "shape none"),
        ({**in_group("events"), "events/p": [[1, 0], [0, 1]]}, r"shape \[2, 2\]"),
        ({**in_group("events"), "events/p": ["a", "b"]}, "holds object, expected numbers"),
        ({**in_group("events"), "events/pol": [1, 0]}, "both p and pol could be its column p"),
        (
            {"events/t/deep": [1, 2], "events/x": [1, 2], "events/y": [1, 2], "events/p": [1, 0]},
            "no group or compound",
        ),
        ({"events": np.zeros((0, 4))}, "no names"),
        (in_group("events", t=[[1, 2]]), "shape"),
        (in_group("events", t=[0.5, 1.0]), r"floats without a unit: give --data\.time_unit"),
    ],
)
def test_what_is_refused(things: dict[str, Any], said: str, tmp_path: Path) -> None:
    refused(made(tmp_path / "a.h5", things), SENSOR, said)


def test_two_cameras_are_never_merged(tmp_path: Path) -> None:
    path = made(tmp_path / "a.h5", in_group("left") | in_group("right", x=[8, 9]))
    refused(path, SENSOR, r"several streams of events: give one of left, right as --data\.stream")
    assert reading.read(path, Asked((346, 260), stream="right")).x.tolist() == [8, 9]


def test_links_are_not_followed(tmp_path: Path) -> None:
    other = made(tmp_path / "other.h5", in_group("events"))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["events"] = h5py.ExternalLink(other.name, "/events")
    refused(path, SENSOR, "no datasets; links are not followed: events$")
    with h5py.File(path, "w") as file:
        for name in "xyp":
            file[f"events/{name}"] = COLUMNS[name]
        file["events/t"] = h5py.SoftLink("/gone")
        file["events/self"] = h5py.SoftLink("/events")
    refused(path, SENSOR, "links are not followed: events/")
    with h5py.File(path, "w") as file:
        for name in "xyp":
            file[f"events/{name}"] = COLUMNS[name]
        layout = h5py.VirtualLayout((2,), "i8")
        layout[:] = h5py.VirtualSource(other, "events/t", (2,))
        file.create_virtual_dataset("events/t", layout)
    refused(path, SENSOR, "/events/t lies in other files")
    with h5py.File(path, "w") as file:
        for name in "xyp":
            file[f"events/{name}"] = COLUMNS[name]
        (tmp_path / "raw").write_bytes(bytes(16))
        file.create_dataset("events/t", (2,), "i8", external=[(str(tmp_path / "raw"), 0, 16)])
    refused(path, SENSOR, "/events/t lies in other files")


def test_more_than_a_file_can_hold_is_not_allocated(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name in "txyp":
            file.create_dataset(f"events/{name}", (2**40,), "i8", chunks=(1024,))
    refused(path, SENSOR, "claims 8796093022208 bytes, more than its file can hold")


def with_filter(path: Path, code: int) -> Path:
    """Write a compressed file, and give its filter another number."""
    with h5py.File(path, "w") as file:
        for name, values in COLUMNS.items():
            file.create_dataset(f"events/{name}", data=values, chunks=(2,), compression="lzf")
    content = path.read_bytes()
    at = content.index(b"lzf\0") - 8
    assert content[at : at + 2] == (32_000).to_bytes(2, "little")
    path.write_bytes(
        content.replace(content[at : at + 12], code.to_bytes(2, "little") + content[at + 2 : at + 12])
    )
    return path


def test_a_filter_that_is_not_there(tmp_path: Path) -> None:
    refused(
        with_filter(tmp_path / "a.h5", 0x8ECF), SENSOR, "Prophesee's ECF, which is not installed: install"
    )
    refused(with_filter(tmp_path / "a.h5", 0x7AAA), SENSOR, r"by the filter 31402 .* not installed")


def test_filters_of_hdf5plugin_are_found_by_themselves(tmp_path: Path) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name, values in COLUMNS.items():
            file.create_dataset(f"events/{name}", data=values, chunks=(2,), **hdf5plugin.Blosc())
    assert reading.read(path, SENSOR).x.tolist() == [1, 2]


def test_what_is_no_hdf5(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    refused(tmp_path / "a.h5", SENSOR, "file signature not found")
    refused(tmp_path / "none.h5", SENSOR, "No such file")


def test_a_library_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    for name, needed in (("a.h5", "h5py"), ("a.es", "faery")):
        with pytest.raises(UserError, match=rf"needs {needed}: pip install 'snnprune\[events\]'"):
            reading.read(tmp_path / name, SENSOR)
