"""Spoken digits and commands as spikes of a cochlea: SHD and SSC, of 700 channels.

Each part is one HDF5 file of all its recordings. A channel is a column of a sensor of 700 x 1; all events are
ON, so that a frame has one polarity. Times are floats of 16 bits in seconds: half a second on, neighbouring
times are half a millisecond apart. Source: Cramer, Stradmann, Schemmel and Zenke, IEEE TNNLS 33, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from snnprune.common.errors import UserError, in_one_line
from snnprune.common.extras import need
from snnprune.data.cache import fingerprint
from snnprune.data.events.framing import framed
from snnprune.data.events.gate import admitted
from snnprune.data.events.layouts import Listing, Part, Recording, half_of
from snnprune.data.events.stream import Asked, Raw
from snnprune.data.folders import held, incomplete, missing, root_given, search

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from snnprune.config.schema import DataConfig
    from snnprune.data.events.stream import Stream
    from snnprune.data.source import Half
    from snnprune.data.splits import Splits

CHANNELS = 700


@dataclass(frozen=True)
class Spoken:
    """SHD or SSC.

    Attributes:
        name: in the registry.
        title: the name in messages, and of its folder.
        files: of each part.
        home: where to get the data set.
    """

    name: str
    title: str
    files: dict[Part, str]
    home: str
    events: ClassVar[bool] = True

    def found(self, root: Path | None) -> Path | None:
        """Return the folder with the files for training and test, or with one of them, or None."""
        names = (self.title, self.title.lower())
        return search(root, names, lambda folder, half: (folder / self.files[half]).is_file())

    def missing(self, root: Path | None) -> UserError:
        """Return the error for a data set that is not on disk."""
        return missing(self.title, root, f"{self.title}/{self.files['train']}", self.home, downloads=False)

    def absent(self, folder: Path, half: Half) -> UserError | None:
        """Return the error for a half whose file is not there, else None."""
        file = folder / self.files[half]
        if file.is_file():
            return None
        return incomplete(self.title, f"{half} recordings", file, self.home, downloads=False)

    def load(self, config: DataConfig) -> Splits:
        """Cut all recordings into frames, or open the cache of an earlier call.

        Raises:
            UserError: no data, or a file or recording that cannot be read.
        """
        return self._read(config, tuple(self.files))

    def load_test(self, config: DataConfig) -> Splits:
        """Read the test recordings alone.

        Raises:
            UserError: as `load`, of the test set.
        """
        return self._read(config, ("test",))

    def listing(self, folder: Path) -> Listing:
        """List all recordings of the files that are in the data set's folder.

        Raises:
            UserError: a file that cannot be read, or two that name other classes.
        """
        need("events", self.title, "h5py")
        words: tuple[str, ...] = ()
        every: list[Recording] = []
        for part in self.files:
            if (folder / self.files[part]).is_file():
                words, recordings = self._list(folder, part, words)
                every += recordings
        return Listing(folder, words, tuple(every))

    def reader(self) -> Callable[[Recording], Stream]:
        """Return a function that reads a recording, or raises a UserError that names it."""
        of_file = cache(_reader)  # each file is opened once
        return lambda recording: of_file(recording.path.parent)(recording)

    def _list(
        self, folder: Path, part: Part, known: tuple[str, ...]
    ) -> tuple[tuple[str, ...], list[Recording]]:
        """Return the classes of a part, which have to be those ``known`` if there are any, and recordings."""
        path = folder / self.files[part]
        labels, words = _described(path, self.title)
        if known and words != known:
            raise UserError(f"{path} names other classes than the files of the other parts: get it anew")
        return words, [Recording(path / str(i), label, part=part) for i, label in enumerate(labels)]

    def _read(self, config: DataConfig, parts: Sequence[Part]) -> Splits:
        from snnprune.data.events.parting import Held, parted  # noqa: PLC0415 - imports torch

        need("events", self.title, "h5py")
        folder = held(self, root_given(config.root), map(half_of, parts))
        single = replace(config, polarity="on")
        words: tuple[str, ...] = ()
        all_held = []
        for part in parts:
            path = folder / self.files[part]
            if not path.is_file():
                raise UserError(f"{self.title}: expected {path}, which is not there: get it from {self.home}")
            words, recordings = self._list(folder, part, words)
            key = {"data": self.name, "files": fingerprint(folder, [path])}
            stored = framed(f"{self.name}-{part}", recordings, partial(_reader, path), single, key)
            all_held.append(Held(recordings, stored))
        return parted(all_held, words, config)


def _described(path: Path, title: str) -> tuple[list[int], tuple[str, ...]]:
    """Return the labels of a file, and the names of its classes."""
    import h5py  # noqa: PLC0415 - an extra

    try:
        with h5py.File(path, "r") as file:
            labels, keys = np.asarray(file["labels"][:]), file["extra/keys"][:]
            many = {len(file["spikes/times"]), len(file["spikes/units"]), len(labels)}
        words = tuple(key.decode() if isinstance(key, bytes) else str(key) for key in keys)
        if len(many) > 1:
            raise ValueError(f"its labels, times and units are of different lengths: {sorted(many)}")  # noqa: TRY301
        if labels.dtype.kind not in "iu" or (
            len(labels) and not 0 <= labels.min() <= labels.max() < len(words)
        ):
            raise ValueError(f"its labels are not from 0 to {len(words) - 1}")  # noqa: TRY301
    except Exception as error:  # h5py raises errors of many kinds for damage
        raise UserError(f"{path} is no file of {title}: {in_one_line(error)}; get it anew") from error
    return [int(label) for label in labels], words


def _reader(path: Path) -> Callable[[Recording], Stream]:
    """Return a function that reads one recording of a file."""
    import h5py  # noqa: PLC0415 - an extra

    file = h5py.File(path, "r")

    def read(recording: Recording) -> Stream:
        place = int(recording.path.name)
        try:
            seconds, units = (_numbers(file[f"spikes/{name}"][place]) for name in ("times", "units"))
            rows, on = np.zeros(len(units), np.uint8), np.ones(len(units), np.bool_)
            return admitted(Raw(seconds, units, rows, on, "s", (CHANNELS, 1)), Asked())
        except Exception as error:  # as above
            raise UserError(f"{recording.path} is not usable ({in_one_line(error)})") from error

    return read


def _numbers(values: Any) -> Any:
    found = np.asarray(values)
    return found.astype(np.float64) if found.dtype.kind == "f" else found


SHD = Spoken("shd", "SHD", {"train": "shd_train.h5", "test": "shd_test.h5"}, "https://zenkelab.org/datasets/")

SSC = Spoken(
    "ssc",
    "SSC",
    {"train": "ssc_train.h5", "validation": "ssc_valid.h5", "test": "ssc_test.h5"},
    "https://zenkelab.org/datasets/",
)
