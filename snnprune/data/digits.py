"""digits-events, the data set that comes with the package: simulated recordings of scanned digits.

The 1,797 digits of scikit-learn (8 x 8 pixels, 17 greys; the test set of UCI's "Optical Recognition of
Handwritten Digits") are enlarged to the size of MNIST's and shown to the simulated camera of `saccade`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from snnprune.data.events.framing import framed
from snnprune.data.events.layouts import Recording
from snnprune.data.events.stream import Stream
from snnprune.data.saccade import Camera, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from snnprune.config.schema import DataConfig
    from snnprune.data.events.layouts import Part
    from snnprune.data.splits import Splits

TOTAL = 1797
# The digits are sorted by writer, so splitting at two places keeps most writers of the test set unseen.
TRAIN, VALIDATION = 1257, 1437


@dataclass(frozen=True)
class DigitsEvents:
    """digits-events as a `snnprune.data.source.Source`.

    Attributes:
        camera: the constants of the simulated camera.
        side: pixels that a digit of 8 x 8 is enlarged to.
        contrast: steepness of the edge between paper and ink after enlarging.
    """

    camera: Camera = field(default_factory=Camera)
    side: int = 22
    contrast: float = 20.0
    events: ClassVar[bool] = True

    def found(self, root: Path | None) -> Path | None:  # noqa: ARG002
        """Return scikit-learn's folder of digits, wherever ``root`` is."""
        package = importlib.util.find_spec("sklearn")
        return Path(package.origin).parent / "datasets" / "data" if package and package.origin else None

    def load(self, config: DataConfig) -> Splits:
        """Simulate and bin all recordings, or open the cache of an earlier call."""
        from snnprune.data.events.parting import Held, parted  # noqa: PLC0415 - imports torch

        recordings = [
            Recording(Path(f"digit {i}"), label, part=_part(i)) for i, label in enumerate(self._labels())
        ]
        key = {"data": "digits-events", "made": [self.side, self.contrast, asdict(self.camera)]}
        stored = framed("digits-events", recordings, self._reader, config, key)
        return parted([Held(recordings, stored)], tuple("0123456789"), config)

    def images(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Return what the camera looks at, uint8 [1797, 28, 28], and the labels."""
        from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import

        digits = load_digits()
        images = enlarged(digits.images / 16, self.side, self.contrast)
        margin = (28 - self.side) // 2
        rest = 28 - self.side - margin
        return np.pad(images, ((0, 0), (margin, rest), (margin, rest))), digits.target.astype(np.int64)

    def _labels(self) -> list[int]:
        """Return the labels, from scikit-learn's file: its import would take longer than opening a cache."""
        folder = self.found(None)
        assert folder is not None  # scikit-learn is a dependency
        return np.loadtxt(folder / "digits.csv.gz", np.int64, delimiter=",", usecols=64).tolist()

    def _reader(self) -> Callable[[Recording], Stream]:
        streams = self._streams()
        return lambda _: next(streams)

    def _streams(self) -> Iterator[Stream]:
        sensor = self.camera.width, self.camera.height
        for events in record(self.images()[0], self.camera):
            x, y = (events[name].astype(np.uint16) for name in "xy")
            yield Stream(events["t"] - events["t"][0], x, y, events["p"] == 1, sensor)


def _part(i: int) -> Part:
    return "train" if i < TRAIN else "validation" if i < VALIDATION else "test"


def enlarged(images: npt.NDArray[np.float64], side: int, contrast: float) -> npt.NDArray[np.uint8]:
    """Enlarge square images linearly and sharpen their edges again.

    Args:
        images: [N, h, h], 0 (paper) to 1 (ink).
        side: pixels of the result.
        contrast: k; the enlarged image v becomes 1 / (1 + exp(-k (v - 1/2))), stretched to [0, 1].

    Returns:
        uint8 [N, side, side].
    """
    small = images.shape[1]
    place = (np.arange(side) + 0.5) * small / side - 0.5
    # Row i of the matrix holds the weights of the two small pixels on either side of large pixel i.
    weights = np.clip(1 - np.abs(place.clip(0, small - 1)[:, None] - np.arange(small)), 0, None)
    large = weights @ images @ weights.T
    low, high = (1 / (1 + np.exp(-contrast * (end - 0.5))) for end in (0.0, 1.0))
    sharp = (1 / (1 + np.exp(-contrast * (large - 0.5))) - low) / (high - low)
    return np.round(255 * sharp).astype(np.uint8)


DIGITS_EVENTS = DigitsEvents()
