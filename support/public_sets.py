"""Small copies of public data sets in the layout and the file format of the real ones, with every class.

Each function writes below ``root`` what stands there once the archives are unpacked, and returns what it put
in. Folders are those that Tonic expects, where Tonic has the data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from support import event_files, event_tables
from support.recordings import moving_bar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.data.events.stream import Stream

CIFAR10_DVS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

ASL_DVS = tuple("abcdefghiklmnopqrstuvwxy")
"""Letters that are signed without a movement: neither j nor z."""

CALTECH = """
accordion airplanes anchor ant BACKGROUND_Google barrel bass beaver binocular bonsai brain brontosaurus buddha
butterfly camera cannon car_side ceiling_fan cellphone chair chandelier cougar_body cougar_face crab crayfish
crocodile crocodile_head cup dalmatian dollar_bill dolphin dragonfly electric_guitar elephant emu euphonium
ewer Faces_easy ferry flamingo flamingo_head garfield gerenuk gramophone grand_piano hawksbill headphone
hedgehog helicopter ibis inline_skate joshua_tree kangaroo ketch lamp laptop Leopards llama lobster lotus
mandolin mayfly menorah metronome minaret Motorbikes nautilus octopus okapi pagoda panda pigeon pizza platypus
pyramid revolver rhino rooster saxophone schooner scissors scorpion sea_horse snoopy soccer_ball stapler
starfish stegosaurus stop_sign strawberry sunflower tick trilobite umbrella watch water_lilly wheelchair
wild_cat windsor_chair wrench yin_yang
"""

N_CALTECH101 = tuple(CALTECH.split())
"""Folders of N-Caltech101: those of Caltech-101 without `Faces`."""

DIGITS = "zero one two three four five six seven eight nine"

SHD = tuple(f"{DIGITS} null eins zwei drei vier fuenf sechs sieben acht neun".split())

COMMANDS = """
yes no up down left right on off stop go bed bird cat dog happy house marvin sheila tree wow backward forward
follow learn visual
"""

SSC = (*COMMANDS.split(), *DIGITS.split())


@dataclass(frozen=True)
class Written:
    """A recording that was put in.

    Attributes:
        path: its file.
        word: its class, as the file system or the file calls it.
        part: "train", "valid" or "test"; None where the data set has no parts.
        events: its events; y from the top, times on the file's own clock behind `Stream.first`.
        place: which recording of the file it is, in the file's order.
    """

    path: Path
    word: str
    part: str | None
    events: Stream
    place: int = 0


def recorded(
    label: int,
    number: int,
    sensor: tuple[int, int],
    *,
    many: int = 60,
    length: int = 300_000,
    begin: int = 0,
) -> Stream:
    """Film a bar that wanders at the angle of its class, from ``begin`` in microseconds."""
    bar = moving_bar(label, number, side=min(sensor), n=many, length=length)
    return event_files.stream(bar["t"] + begin, bar["x"], bar["y"], bar["p"], sensor)


def cifar10_dvs(
    root: Path, *, form: str = "aedat4", numbers: Sequence[int] = (0, 99, 100, 999)
) -> list[Written]:
    """Write `CIFAR10DVS/<class>/cifar10_<class>_<number>.aedat4`, as Tonic has it.

    There are no parts; what papers call the test set has the numbers below 100 of each class.

    Args:
        root: the folder above.
        form: "aedat4", or "aedat" for the authors' own files, which are AEDAT 2.0 of a DVS128.
        numbers: of the recordings of each class, from 0 to 999.
    """
    write = {"aedat4": event_tables.aedat4, "aedat": event_tables.aedat2}[form]
    written = []
    for label, word in enumerate(CIFAR10_DVS):
        folder = _made(root / "CIFAR10DVS" / word)
        for number in numbers:
            path = folder / f"cifar10_{word}_{number}.{form}"
            events = recorded(label, number, (128, 128), length=1_200_000, begin=5_000)
            write(path, events)
            written.append(Written(path, word, None, events))
    return written


def n_caltech101(root: Path, *, each: int = 2) -> list[Written]:
    """Write `NCALTECH101/Caltech101/<class>/image_<number>.bin`, of sensors of different sizes; no parts."""
    written = []
    for label, word in enumerate(N_CALTECH101):
        folder = _made(root / "NCALTECH101" / "Caltech101" / word)
        for number in range(1, each + 1):
            path = folder / f"image_{number:04d}.bin"
            events = recorded(label, number, (240 - 20 * (number % 3), 180 - 9 * (label % 3)))
            event_files.atis_bin(path, events)
            written.append(Written(path, word, None, events))
    return written


def n_cars(root: Path, *, each: int = 2, within: bool = False) -> list[Written]:
    """Write `Prophesee_Dataset_n_cars/n-cars_{train,test}/{cars,background}/obj_<number>_td.dat`.

    The header of a file does not say the sensor's size: the windows are at most 120 x 100 pixels.

    Args:
        root: the folder above.
        each: number of recordings of a class in each part.
        within: put a folder `train` or `test` between, as the inner archives have it.
    """
    written = []
    for part, firsts in (
        ("train", {"cars": 4396, "background": 4211}),
        ("test", {"cars": 0, "background": 0}),
    ):
        outer = root / "Prophesee_Dataset_n_cars" / f"n-cars_{part}"
        for label, word in enumerate(("background", "cars")):
            folder = _made((outer / part if within else outer) / word)
            for number in range(firsts[word], firsts[word] + each):
                path = folder / f"obj_{number:06d}_td.dat"
                events = recorded(label, number, (120 - number % 40, 100 - number % 30), length=100_000)
                event_files.dat(path, events)
                size = "% Width {}\n% Height {}\n".format(*events.sensor).encode()
                path.write_bytes(path.read_bytes().replace(size, b"", 1))
                written.append(Written(path, word, part, events))
    return written


def asl_dvs(root: Path, *, each: int = 2, dtype: npt.DTypeLike = np.float64) -> list[Written]:
    """Write `ASLDVS/<letter>/<letter>_<number>.mat`: columns ts, x, y and pol, y from the bottom; no parts.

    Args:
        root: the folder above.
        each: number of recordings of a letter.
        dtype: of the columns; numbers of MATLAB are floats of 64 bits unless they were cast.
    """
    from scipy.io import savemat

    written = []
    for label, letter in enumerate(ASL_DVS):
        folder = _made(root / "ASLDVS" / letter)
        for number in range(1, each + 1):
            path = folder / f"{letter}_{number:04d}.mat"
            events = recorded(label, number, (240, 180), length=100_000, begin=1_000)
            columns = {"ts": event_tables.clock(events), "x": events.x, "y": 179 - events.y, "pol": events.p}
            savemat(path, {name: values.astype(dtype)[:, None] for name, values in columns.items()})
            written.append(Written(path, letter, None, events))
    return written


LIP_EVENT = np.dtype([("t", "<i4"), ("x", "i1"), ("y", "i1"), ("p", "i1")])
"""A row of DVS-Lip's files: 127 is the last column and row, and what an int8 holds."""


def dvs_lip(root: Path, *, words: Sequence[str], each: int = 1) -> list[Written]:
    """Write `DVSLip/DVS-Lip/{train,test}/<word>/<number>.npy`.

    Args:
        root: the folder above.
        words: the 100 words.
        each: number of recordings of a word in each part.
    """
    written = []
    for part in ("train", "test"):
        for label, word in enumerate(words):
            folder = _made(root / "DVSLip" / "DVS-Lip" / part / word)
            for number in range(each):
                path = folder / f"{number}.npy"
                seed = number + 1000 * (part == "test")
                events = recorded(label, seed, (128, 128), many=40, length=1_000_000)
                np.save(path, event_tables.structured(events, LIP_EVENT), allow_pickle=False)
                written.append(Written(path, word, part, events))
    return written


def shd(root: Path, *, each: int = 2) -> list[Written]:
    """Write `SHD/shd_{train,test}.h5`: times in seconds as floats of 16 bits, and channels of a cochlea."""
    return _heidelberg(root / "SHD", "shd", ("train", "test"), SHD, each)


def ssc(root: Path, *, each: int = 1) -> list[Written]:
    """Write `SSC/ssc_{train,valid,test}.h5`, of the same format."""
    return _heidelberg(root / "SSC", "ssc", ("train", "valid", "test"), SSC, each)


def _heidelberg(
    folder: Path, name: str, parts: Sequence[str], words: Sequence[str], each: int
) -> list[Written]:
    """Write a file for each part.

    Times pass through 16 bits, of which a microsecond is lost: `Written.events` has what the file has.
    """
    import h5py

    written = []
    for part in parts:
        path = _made(folder) / f"{name}_{part}.h5"
        labels = np.random.default_rng(len(part)).permutation(np.repeat(np.arange(len(words)), each))
        sounds = [_heard(int(label), place) for place, label in enumerate(labels)]
        with h5py.File(path, "w") as file:
            spikes, extra = file.create_group("spikes"), file.create_group("extra")
            times = spikes.create_dataset("times", len(labels), h5py.vlen_dtype(np.float16))
            units = spikes.create_dataset("units", len(labels), h5py.vlen_dtype(np.uint16))
            for place, (seconds, channels) in enumerate(sounds):
                times[place], units[place] = seconds, channels
            file["labels"] = labels.astype(np.uint16)
            extra["keys"] = np.array([word.encode() for word in words])
            extra["speaker"] = (np.arange(len(labels)) % 12).astype(np.uint16)
        for place, (label, (seconds, channels)) in enumerate(zip(labels, sounds, strict=True)):
            ones = np.ones(len(channels))
            microseconds = (seconds.astype(np.float64) * 1e6).astype(np.int64)
            events = event_files.stream(microseconds, channels, 0 * ones, ones, (700, 1))
            written.append(Written(path, words[label], part, events, place))
    return written


def _heard(label: int, seed: int) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.uint16]]:
    """Return the times in seconds and the channels of a sound that rises at the pace of its class."""
    rng = np.random.default_rng([label, seed])
    seconds = np.sort(rng.uniform(0, 1, 80).astype(np.float16))
    rising = 100 + 15 * label + 250 * seconds.astype(np.float64) + rng.normal(0, 10, 80)
    return seconds, rising.clip(0, 699).astype(np.uint16)


GESTURES = (*range(1, 9), 8, *range(9, 12))
"""Labels of a trial in the order in which they are shown; arm rolls come twice, as in a real one."""


def dvs_gesture(root: Path, *, train: int = 2, test: int = 1) -> list[Written]:
    """Write IBM's own `DvsGesture`: AEDAT 3.1 of whole trials, each with a table of labelled intervals.

    ``place`` is the row of the table. Times are on the file's clock; an interval ends before its last number.
    """
    folder, written = _made(root / "DvsGesture"), []
    for part, first, many in (("train", 1, train), ("test", 24, test)):
        trials = [f"user{user:02d}_led" for user in range(first, first + many)]
        (folder / f"trials_to_{part}.txt").write_text("".join(f"{trial}.aedat\n" for trial in trials))
        for user, trial in enumerate(trials, first):
            path, shown, rows = folder / f"{trial}.aedat", [], ["class,startTime_usec,endTime_usec"]
            for place, label in enumerate(GESTURES):
                begin = 1_000_000 * (1 + 7 * place)
                events = recorded(
                    label - 1, user + place, (128, 128), many=200, length=6_000_000, begin=begin
                )
                rows.append(f"{label},{begin},{begin + 6_000_000}")
                shown.append(events)
                written.append(Written(path, str(label), part, events, place))
            event_tables.aedat31(path, _joined(shown))
            (folder / f"{trial}_labels.csv").write_text("\n".join(rows) + "\n")
    return written


def _joined(parts: Sequence[Stream]) -> Stream:
    columns = (np.concatenate([part[name] for part in parts]) for name in "xyp")
    return event_files.stream(
        np.concatenate([event_tables.clock(part) for part in parts]), *columns, parts[0].sensor
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
