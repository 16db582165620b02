"""Data sets of events that papers compare on, read by the same readers and the same gate as one's own files.

None of these has a validation set but SSC. CIFAR10-DVS, N-Caltech101 and ASL-DVS have no official test set
either: a share of each class is set aside for it, evenly spaced in the order of the files, so that every run
with the same files has the same parts. docs/data.md says which papers divide them how.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from snnprune.data.cache import fingerprint
from snnprune.data.events.classes import CALTECH, LIP
from snnprune.data.events.framing import framed
from snnprune.data.events.layouts import Listing, Part, Recording, check_classes, half_of, natural
from snnprune.data.events.reading import Format, reader
from snnprune.data.events.stream import Asked
from snnprune.data.folders import held, incomplete, missing, root_given, search
from snnprune.data.source import HALVES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from snnprune.common.errors import UserError
    from snnprune.config.schema import DataConfig
    from snnprune.data.events.stream import Stream
    from snnprune.data.source import Half
    from snnprune.data.splits import Splits


@dataclass(frozen=True)
class Published:
    """A data set with a file for each recording, in folders of classes.

    Attributes:
        name: in the registry.
        title: the name in messages.
        names: possible names of its folder, best first; the first is the one in messages.
        classes: names of the classes, which are those of the folders, in the order of the labels.
        patterns: of the files in a class's folder.
        asked: what the files do not say.
        home: where to get the data set.
        parts: by half, possible folders with folders of classes; {} if there are no official parts.
        share: of each class that is set aside for the test where there are no official parts.
        form: the format of its files, where their ending does not tell.
    """

    name: str
    title: str
    names: tuple[str, ...]
    classes: tuple[str, ...]
    patterns: tuple[str, ...]
    asked: Asked
    home: str
    parts: Mapping[Half, tuple[str, ...]] = field(default_factory=dict)
    share: float = 0.0
    form: Format | None = None
    events: ClassVar[bool] = True

    def found(self, root: Path | None) -> Path | None:
        """Return the folder that holds the data set, or one of its parts, or None."""
        return search(root, self.names, lambda folder, half: self._home(folder, half) is not None)

    def missing(self, root: Path | None) -> UserError:
        """Return the error for a data set that is not on disk."""
        part = f"{self.parts['train'][0]}/" if self.parts else ""
        expected = f"{self.names[0]}/{part}{self.classes[0]}/{self.patterns[0]}"
        return missing(self.title, root, expected, self.home, downloads=False)

    def absent(self, folder: Path, half: Half) -> UserError | None:
        """Return the error for a half that is not there, else None."""
        if self._home(folder, half) is not None:
            return None
        place = folder / self.parts[half][0]
        return incomplete(self.title, f"{half} recordings", place, self.home, downloads=False)

    def load(self, config: DataConfig) -> Splits:
        """Cut all recordings into frames, or open the cache of an earlier call.

        Raises:
            UserError: no data, a class without a recording, or a recording that cannot be read.
        """
        return self._read(config, self._parts)

    def load_test(self, config: DataConfig) -> Splits:
        """Read the test recordings alone, where they are apart.

        Raises:
            UserError: as `load`, of the test set.
        """
        return self._read(config, ("test",)) if self.parts else self.load(config)

    def list(self, folder: Path, part: Part | None) -> list[Recording]:
        """List the recordings of a part, or all where there are none, by class and by number."""
        home = self._home(folder, half_of(part))
        if home is None:
            return []
        found = [
            Recording(path, label, part=part)
            for label, word in enumerate(self.classes)
            for pattern in self.patterns
            for path in (home / word).glob(pattern)
        ]
        return sorted(found, key=lambda one: (one.label, natural(one.path.name)))

    def listing(self, folder: Path) -> Listing:
        """List all recordings in the data set's folder."""
        every = (one for part in self._parts for one in self.list(folder, part))
        return Listing(folder, self.classes, tuple(every))

    def reader(self) -> Callable[[Recording], Stream]:
        """Return a function that reads a recording, or raises a UserError that names it."""
        return reader(self.asked, self.form)

    @property
    def _parts(self) -> tuple[Part | None, ...]:
        return HALVES if self.parts else (None,)

    def _home(self, folder: Path, half: Half) -> Path | None:
        """Return the folder of the classes of a half."""
        places = self.parts[half] if self.parts else (".",)
        homes = (folder / place for place in places)
        return next((home for home in homes if any((home / word).is_dir() for word in self.classes)), None)

    def _read(self, config: DataConfig, parts: Sequence[Part | None]) -> Splits:
        from snnprune.data.events.parting import Held, parted  # noqa: PLC0415 - imports torch

        folder = held(self, root_given(config.root), map(half_of, parts))
        both = []
        for part in parts:
            recordings = self.list(folder, part)
            if not (config.skip_corrupt and recordings):
                patterns = [f"{word}/{self.patterns[0]}" for word in self.classes]
                check_classes(self.title, self.classes, recordings, folder, patterns)
            key = {"data": self.name, "files": fingerprint(folder, [one.path for one in recordings])}
            title = f"{self.name}-{part or 'all'}"
            both.append(Held(recordings, framed(title, recordings, self.reader, config, key)))
        share = self.share if config.test is None else config.test
        return parted(both, self.classes, replace(config, test=share))


CIFAR10_DVS = Published(
    name="cifar10-dvs",
    title="CIFAR10-DVS",
    names=("CIFAR10DVS", "CIFAR10-DVS", "cifar10-dvs"),
    classes=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    patterns=("*.aedat4", "*.aedat"),
    asked=Asked(sensor=(128, 128)),
    home="https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",
    share=0.1,
)

N_CALTECH101 = Published(
    name="n-caltech101",
    title="N-Caltech101",
    names=("NCALTECH101/Caltech101", "N-Caltech101/Caltech101", "Caltech101", "NCALTECH101", "N-Caltech101"),
    classes=tuple(CALTECH.split()),
    patterns=("*.bin",),
    asked=Asked(sensor=(240, 180)),
    home="https://www.garrickorchard.com/datasets/n-caltech101",
    share=0.2,
)

N_CARS = Published(
    name="n-cars",
    title="N-CARS",
    names=("NCARS", "N-CARS", "n-cars", "Prophesee_Dataset_n_cars"),
    classes=("background", "cars"),
    patterns=("*.dat",),
    asked=Asked(sensor=(120, 100)),
    home="https://www.prophesee.ai/2018/03/13/dataset-n-cars/",
    parts={
        "train": ("n-cars_train", "n-cars_train/train", "train"),
        "test": ("n-cars_test", "n-cars_test/test", "test"),
    },
)

ASL_DVS = Published(
    name="asl-dvs",
    title="ASL-DVS",
    names=("ASLDVS", "ASL-DVS", "ICCV2019_DVS_dataset"),
    classes=tuple("abcdefghiklmnopqrstuvwxy"),
    patterns=("*.mat",),
    asked=Asked(sensor=(240, 180)),
    home="https://github.com/PIX2NVS/NVS2Graph",
    share=0.2,
    form=Format("ASL-DVS", (".mat",), "asl:read"),
)

DVS_LIP = Published(
    name="dvs-lip",
    title="DVS-Lip",
    names=("DVS-Lip", "DVSLip", "DVSLip/DVS-Lip"),
    classes=tuple(LIP.split()),
    patterns=("*.npy",),
    asked=Asked(sensor=(128, 128), unit="us"),
    home="https://sites.google.com/view/event-based-lipreading",
    parts={"train": ("train",), "test": ("test",)},
)
