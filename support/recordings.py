"""Fake recordings in the exact layouts on disk that Tonic reads, for tests that must not need real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])


def events(*rows: tuple[int, int, int, int]) -> np.ndarray:
    """A handful of events, each (x, y, t, p)."""
    return np.array(list(rows), dtype=FIELDS)


def moving_bar(label: int, seed: int, *, side: int, n: int = 400, length: int = 300_000) -> np.ndarray:
    """Events of a bar that wanders over a sensor at an angle and speed of its class, with some jitter."""
    rng = np.random.default_rng([label, seed])
    time = np.sort(rng.integers(0, length, n))
    angle = 2 * np.pi * label / 11
    along = rng.uniform(-0.3, 0.3, n) * side
    across = (time / length - 0.5) * 0.6 * side
    place = np.empty(n, dtype=FIELDS)
    place["x"] = np.clip(side / 2 + across * np.cos(angle) - along * np.sin(angle), 0, side - 1)
    place["y"] = np.clip(side / 2 + across * np.sin(angle) + along * np.cos(angle), 0, side - 1)
    place["t"] = time
    place["p"] = rng.integers(0, 2, n)
    return place


def write_bin(path: Path, recorded: np.ndarray) -> None:
    """Write a recording as N-MNIST does: 5 bytes an event, big-endian, polarity in the time's top bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.empty((len(recorded), 5), np.uint8)
    rows[:, 0], rows[:, 1] = recorded["x"], recorded["y"]
    rows[:, 2] = recorded["p"].astype(np.int64) << 7 | recorded["t"] >> 16
    rows[:, 3], rows[:, 4] = recorded["t"] >> 8 & 255, recorded["t"] & 255
    path.write_bytes(rows.tobytes())


def write_nmnist(root: Path, *, train: int = 4, test: int = 2, n: int = 400) -> Path:
    """Write `NMNIST/{Train,Test}/<label>/<id>.bin`, some recordings of each class; return `root`."""
    for folder, many in (("Train", train), ("Test", test)):
        for label in range(10):
            for i in range(many):
                recorded = moving_bar(label, i + 1000 * (folder == "Test"), side=34, n=n)
                write_bin(root / "NMNIST" / folder / str(label) / f"{label * many + i + 1:05d}.bin", recorded)
    return root


def write_dvs_gesture(root: Path, *, train: int = 2, test: int = 1, n: int = 2000) -> Path:
    """Write `DVSGesture/ibmGesture{Train,Test}/user<nn>_<light>/<label>.npy`; return `root`.

    Each user shows each of the 11 gestures once. A file holds floats, rows (x, y, p, t), t in milliseconds.
    """
    for folder, first, many in (("ibmGestureTrain", 1, train), ("ibmGestureTest", 24, test)):
        for user in range(first, first + many):
            place = root / "DVSGesture" / folder / f"user{user:02d}_led"
            place.mkdir(parents=True, exist_ok=True)
            for label in range(11):
                recorded = moving_bar(label, user, side=128, n=n, length=6_000_000)
                rows = np.stack([recorded["x"], recorded["y"], recorded["p"], recorded["t"] // 1000], axis=1)
                np.save(place / f"{label}.npy", rows.astype(np.float64))
    return root


def write_poker_dvs(root: Path, *, train: int = 3, test: int = 1) -> Path:
    """Write `POKERDVS/pips_{train,test}/<suit>/<n>.npy`, rows (t, x, y, p) of uint64; return `root`."""
    for folder, many in (("pips_train", train), ("pips_test", test)):
        for label, suit in enumerate(("cl", "he", "di", "sp")):
            place = root / "POKERDVS" / folder / suit
            place.mkdir(parents=True, exist_ok=True)
            for i in range(many):
                recorded = moving_bar(label, i, side=35, length=20_000)
                rows = np.stack([recorded["t"], recorded["x"], recorded["y"], recorded["p"]], axis=1)
                np.save(place / f"{i}.npy", rows.astype(np.uint64))
    return root


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write a file of MNIST's format: two zeros, 8 for bytes, the number of axes, their sizes, the bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, values.ndim]) + np.asarray(values.shape, ">i4").tobytes()
    path.write_bytes(head + values.astype(np.uint8).tobytes())


def write_mnist(root: Path, *, name: str = "MNIST", train: int = 40, test: int = 20) -> Path:
    """Write the four files of MNIST, with a bright row that tells the class; return `root`."""
    for part, many in (("train", train), ("t10k", test)):
        labels = np.arange(many) % 10
        images = np.zeros((many, 28, 28), np.uint8)
        images[np.arange(many), 2 * labels + 4] = 200
        write_idx(root / name / "raw" / f"{part}-images-idx3-ubyte", images)
        write_idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", labels)
    return root
