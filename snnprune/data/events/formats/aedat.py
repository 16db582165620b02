"""AEDAT 2.0 of jAER: pairs of an address and a time, 32 bits each, most significant byte first.

What an address means is up to the class of jAER that describes the chip (docs.inivation.com, "AEDAT 2.0"), so
the reader follows these classes. All count x from the right of what jAER shows, and y from the bottom. Both
are turned here: x counts from the left, and y from the top.

| Chip | y | x | polarity | no polarity event if |
| --- | --- | --- | --- | --- |
| DVS128 (`DVS128.java`) | bits 14 to 8 | bits 7 to 1 | bit 0, set for OFF | bit 15 or 31 is set |
| DAVIS (`DavisBaseCamera.java`) | bits 30 to 22 | bits 21 to 12 | bit 11, set for ON | bit 31 or 10 is set |

The table in iniVation's document says of the DVS128 that a set bit is ON. The camera's driver (libcaer,
`dvs128.c`), jAER and the scripts that came with MNIST-DVS and CIFAR10-DVS agree on the opposite.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.data.events.formats import aedat3, aedat4
from snnprune.data.events.formats.content import content
from snnprune.data.events.stream import Raw

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.data.events.stream import Asked

LAP = 2**32
"""Microseconds after which the clock begins again."""

DVS128 = (128, 128)
DAVIS = {128: (128, 128), 208: (208, 192), 240: (240, 180), 346: (346, 260), 640: (640, 480)}
"""Sensors of the cameras of this family by the number in their names."""

OLD_NAMES = {"sbret10": 240, "sbret20": 240, "sbret21": 240}
"""Classes of jAER for DAVIS cameras that have no number of pixels in their names."""


def read(path: Path, asked: Asked) -> Raw:
    """Read an AEDAT file, of the version that its first line says.

    Raises:
        ValueError: it is of another version or damaged, or it is not known which camera recorded it.
        OSError: it cannot be read.
    """
    data = content(path)
    version = re.match(rb"#!AER-DAT(\d\.\d)", data[:16].tobytes())
    if version is None:
        raise ValueError("its first line is not #!AER-DAT with a version (files without are AEDAT 1.0)")
    if version[1] == b"2.0":
        return _read(data, asked)
    if version[1] == b"3.1":
        return aedat3.read(data, asked)
    if version[1] == b"4.0":
        return aedat4.read(path, asked)
    raise ValueError(f"it is of version {version[1].decode()}: versions 2.0, 3.1 and 4.0 are read")


def _read(data: npt.NDArray[np.uint8], asked: Asked) -> Raw:
    header = aedat3.header(data)
    chip = next((line.partition(":")[2].strip() for line in header.lines if "AEChip:" in line), None)
    sensor, is_dvs128 = camera(chip) if chip is not None else _told(asked)
    left = (len(data) - header.size) // 8 * 8
    remarks = [] if left == len(data) - header.size else ["ends within an event, which was left out"]
    pairs = data[header.size : header.size + left].view(">u4").reshape(-1, 2)
    address = pairs[:, 0].astype(np.uint32)
    if is_dvs128 and np.bitwise_or.reduce(address) & 0x7FFF0000:
        raise ValueError("it has addresses that no DVS128 has: give the camera's --data.sensor")
    others = (address & (0x80008000 if is_dvs128 else 0x80000400)) != 0
    if others.any():
        address = address[~others]
        remarks.append(f"holds {others.sum()} frame, inertial or external samples, which were left out")
    x, y, p = _fields(address, sensor, is_dvs128)
    t = pairs[:, 1][~others] if others.any() else pairs[:, 1]
    return Raw(t.astype(np.uint32), x, y, p, "us", sensor, lap=LAP, remarks=tuple(remarks))


def _fields(
    address: npt.NDArray[np.uint32], sensor: tuple[int, int], is_dvs128: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return x, y and whether events are ON. What lies outside the sensor becomes negative."""
    width, height = sensor
    x, y = (
        (address >> 1 & 0x7F, address >> 8 & 0x7F)
        if is_dvs128
        else (address >> 12 & 0x3FF, address >> 22 & 0x1FF)
    )
    on = (address & 1) == 0 if is_dvs128 else (address & 0x800) != 0
    return np.int16(width - 1) - x.astype(np.int16), np.int16(height - 1) - y.astype(np.int16), on


def camera(name: str) -> tuple[tuple[int, int], bool]:
    """Return the sensor of a camera, and whether it is a DVS128.

    Args:
        name: as a header has it, such as "eu.seebetter.ini.chips.davis.DAVIS240C" or "DVS128".

    Raises:
        ValueError: it is of neither family.
    """
    short = name.rpartition(".")[2].lower()
    if short in ("dvs128", "tmpdiff128"):
        return DVS128, True
    found = re.match(r"davis(\d{3})", short)
    pixels = int(found[1]) if found else OLD_NAMES.get(short)
    if pixels not in DAVIS:
        raise ValueError(f"it was recorded by {name[:60]!r}: of AEDAT 2.0, DVS128 and DAVIS cameras are read")
    return DAVIS[pixels], False


def _told(asked: Asked) -> tuple[tuple[int, int], bool]:
    """Return the sensor that the user names, and whether it is a DVS128.

    Raises:
        ValueError: none is named, or no camera has it.
    """
    known = {DVS128, *DAVIS.values()}
    listed = ", ".join(f"{width}x{height}" for width, height in sorted(known))
    if asked.sensor is None:
        raise ValueError(
            f"its header names no camera, and addresses depend on it: give one of {listed} as --data.sensor"
        )
    if asked.sensor not in known:
        raise ValueError(
            "its header names no camera, and none has {} x {} pixels: give one of {} as --data.sensor".format(
                *asked.sensor, listed
            )
        )
    return asked.sensor, asked.sensor == DVS128
