"""N-MNIST, DVS-Gesture and POKER-DVS: real recordings, in the forms that Tonic downloads.

Tonic decodes N-MNIST. The others are tables of numbers, which are read as one's own are.

The files are listed from the folder in sorted order. So a subset of the data set works, and the order does
not depend on the file system. Only snnprune/data imports Tonic, which is GPL-3.0.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from snnprune.common.errors import UserError
from snnprune.data.cache import fingerprint
from snnprune.data.download import fetch_recordings
from snnprune.data.events import reading
from snnprune.data.events.framing import framed
from snnprune.data.events.gate import admitted
from snnprune.data.events.layouts import Listing, Recording, check_classes
from snnprune.data.events.stream import Asked, Raw
from snnprune.data.folders import held, incomplete, missing, root_given, search
from snnprune.data.source import HALVES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snnprune.config.schema import DataConfig
    from snnprune.data.events.layouts import Part
    from snnprune.data.events.parting import Held
    from snnprune.data.events.stream import Stream
    from snnprune.data.source import Half
    from snnprune.data.splits import Splits

LARGEST = 2**28
"""Bytes of a recording of N-MNIST: fifty million events. A decoder makes several copies of a file."""

EVENT_BYTES = 5
"""Bytes of an event in a file of N-MNIST, which is nothing but events."""

OVERFLOW = 240  # in place of y: a mark of an overflowing clock in a file of N-MNIST
OVERFLOWS = 1000
"""Most such marks in a file. For each of them the decoder adds to all later times, which takes long."""


@dataclass(frozen=True)
class Recordings:
    """A data set of recordings that Tonic can decode.

    Attributes:
        name: in the registry.
        title: the name in messages.
        tonic: Tonic's class, which also names the folder.
        train: folder of the training recordings.
        test: folder of the test recordings.
        pattern: where the recordings of a class are in such a folder; `{word}` stands for the class.
        words: the words for the classes, in the order of the labels.
        classes: the names of the classes.
        sensor: polarities, height, width.
        home: where to get the data set.
        table: what files that are tables do not say; None for files that Tonic decodes.
    """

    name: str
    title: str
    tonic: str
    train: str
    test: str
    pattern: str
    words: tuple[str, ...]
    classes: tuple[str, ...]
    sensor: tuple[int, int, int]
    home: str
    table: Asked | None = None
    events: ClassVar[bool] = True

    def found(self, root: Path | None) -> Path | None:
        """Return the folder with the training and test folders, or with one of them, or None."""
        return search(root, (self.tonic,), lambda folder, half: (folder / getattr(self, half)).is_dir())

    def load(self, config: DataConfig) -> Splits:
        """Bin all recordings, or open the cache of an earlier call.

        Raises:
            UserError: no data, a class without a recording, or a recording that cannot be read.
        """
        from snnprune.data.events.parting import parted  # noqa: PLC0415 - imports torch

        folder = self.folder(config)
        return parted([self._held(folder, half, config) for half in HALVES], self.classes, config)

    def load_test(self, config: DataConfig) -> Splits:
        """Bin the test recordings, or open the cache of an earlier call.

        Raises:
            UserError: as `load`, of the test set.
        """
        from snnprune.data.events.parting import parted  # noqa: PLC0415 - imports torch

        return parted([self._held(self.folder(config, "test"), "test", config)], self.classes, config)

    def folder(self, config: DataConfig, *halves: Half) -> Path:
        """Return the data set's folder. Download what is not there first if the configuration asks for it.

        Args:
            config: says where the folder is.
            halves: that have to be there; both by default.

        Raises:
            UserError: the folder or one of these halves is not there.
        """
        root, halves = root_given(config.root), halves or HALVES
        try:
            return held(self, root, halves)
        except UserError:
            if not config.download or root is None:
                raise
        folder = self.found(root) or root / self.tonic
        lacking = [half for half in halves if self.absent(folder, half)]
        fetch_recordings(self.tonic_class(), folder, self.title, self.home, lacking)
        return held(self, root, halves)

    def absent(self, folder: Path, half: Half) -> UserError | None:
        """Return the error for a half whose folder is not there, else None."""
        if (folder / getattr(self, half)).is_dir():
            return None
        what = f"{'training' if half == 'train' else 'test'} recordings"
        return incomplete(self.title, what, folder / getattr(self, half), self.home, downloads=True)

    def missing(self, root: Path | None) -> UserError:
        """Return the error for a data set that is not on disk."""
        return missing(self.title, root, f"{self.tonic}/{self.train}", self.home, downloads=True)

    def list(self, folder: Path, part: Part) -> list[Recording]:
        """List the recordings of a part in the data set's folder, sorted by path."""
        # With a wildcard in the last part of a pattern, glob returns broken links, too. `reader` names them.
        pattern = self.pattern.replace(".", "[.]")
        found = [
            Recording(path, label, part=part)
            for label, word in enumerate(self.words)
            for path in (folder / getattr(self, part)).glob(pattern.format(word=word))
        ]
        return sorted(found, key=lambda recording: str(recording.path))

    def listing(self, folder: Path) -> Listing:
        """List the recordings of both parts in the data set's folder."""
        return Listing(folder, self.classes, tuple(one for half in HALVES for one in self.list(folder, half)))

    def tonic_class(self) -> Any:
        """Import Tonic and return its class for this data set."""
        return getattr(importlib.import_module("tonic.datasets"), self.tonic)

    def reader(self) -> Callable[[Recording], Stream]:
        """Return a function that reads a recording and checks its events.

        Tables are read as they are. Tonic casts their places and polarities before anybody can look: a
        polarity of -1 becomes ON, and a column of 65,536 the first.

        For a recording that is empty, cannot be decoded, or has events outside the sensor, the function
        raises a UserError that names the file.
        """
        table = self.table
        if table is not None:
            return reading.reader(table)
        tonic_class = self.tonic_class()
        # Tonic lists files itself, in the file system's order, and refuses subsets. So its object is made
        # with a folder without files and without its check for completeness, and gets one file after another.
        unchecked = type(self.tonic, (tonic_class,), {"_check_exists": lambda _: True})
        tonic_set = unchecked(save_to=os.devnull)

        def read(recording: Recording) -> Stream:
            path = recording.path
            try:
                _check_bytes(path)
                tonic_set.data, tonic_set.targets = [str(path)], [recording.label]
                events = tonic_set[0][0]
                columns = {name: events[name] for name in "txyp"}
                _, height, width = self.sensor
                return admitted(Raw(**columns, unit="us", sensor=(width, height)), Asked())
            except (
                ValueError,
                IndexError,
                TypeError,
                OverflowError,
                EOFError,
                OSError,
                SyntaxError,
            ) as error:
                raise UserError(f"{path} is not a usable {self.title} recording ({error})") from error

        return read

    def _held(self, folder: Path, part: Part, config: DataConfig) -> Held:
        from snnprune.data.events.parting import Held  # noqa: PLC0415 - imports torch

        recordings, home = self.list(folder, part), folder / getattr(self, part)
        if not (config.skip_corrupt and recordings):
            patterns = [str(home / self.pattern.format(word=word)) for word in self.words]
            check_classes(self.title, self.classes, recordings, home, patterns)
        key = {
            "data": self.name,
            "files": fingerprint(home, [recording.path for recording in recordings]),
            "sensor": self.sensor,
        }
        return Held(recordings, framed(f"{self.name}-{home.name}", recordings, self.reader, config, key))


def _check_bytes(path: Path) -> None:
    """Check that a file can be decoded in reasonable time.

    Raises:
        ValueError: it is empty, cut within an event or too large, or its clock overflows too often.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")
    if size == 0:
        raise ValueError("it is empty")
    if size % EVENT_BYTES:
        raise ValueError(f"its {size} bytes are not a whole number of {EVENT_BYTES}-byte events")
    if np.count_nonzero(np.fromfile(path, np.uint8)[1::EVENT_BYTES] == OVERFLOW) > OVERFLOWS:
        raise ValueError(f"its clock overflows more than {OVERFLOWS} times")


_DIGITS = tuple("0123456789")

NMNIST = Recordings(
    name="nmnist",
    title="N-MNIST",
    tonic="NMNIST",
    train="Train",
    test="Test",
    pattern="{word}/*.bin",
    words=_DIGITS,
    classes=_DIGITS,
    sensor=(2, 34, 34),
    home="https://www.garrickorchard.com/datasets/n-mnist",
)

DVS_GESTURE = Recordings(
    name="dvs-gesture",
    title="DVS-Gesture",
    tonic="DVSGesture",
    train="ibmGestureTrain",
    test="ibmGestureTest",
    pattern="user*_*/{word}.npy",
    words=(*_DIGITS, "10"),
    classes=(
        "hand clapping",
        "right hand wave",
        "left hand wave",
        "right arm clockwise",
        "right arm counter-clockwise",
        "left arm clockwise",
        "left arm counter-clockwise",
        "arm roll",
        "air drums",
        "air guitar",
        "other gestures",
    ),
    sensor=(2, 128, 128),
    table=Asked(sensor=(128, 128), unit="ms", columns=("x", "y", "p", "t")),
    home="https://research.ibm.com/interactive/dvsgesture",
)

POKER_DVS = Recordings(
    name="poker-dvs",
    title="POKER-DVS",
    tonic="POKERDVS",
    train="pips_train",
    test="pips_test",
    pattern="{word}/*.npy",
    words=("cl", "he", "di", "sp"),
    classes=("club", "heart", "diamond", "spade"),
    sensor=(2, 35, 35),
    home="http://www2.imse-cnm.csic.es/caviar/POKERDVS.html",
    table=Asked(sensor=(35, 35), unit="us", columns=("t", "x", "y", "p")),
)
