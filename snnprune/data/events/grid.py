"""From the pixels of a sensor to those of a frame: the centre is cropped, neighbours are pooled.

A pixel (x, y) of a sensor of W x H pixels, cropped to w x h and pooled by k x l, goes to

    x' = (x - floor((W - w) / 2)) / k,   y' = (y - floor((H - h) / 2)) / l   (rounded down)

Pooling adds up the counts of k x l pixels, so k and l are whole numbers: no event is divided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from snnprune.config.values import pixels
from snnprune.data.frames import OUTSIDE

if TYPE_CHECKING:
    import numpy.typing as npt

    from snnprune.config.schema import DataConfig
    from snnprune.data.events.stream import Stream


@dataclass(frozen=True)
class Grid:
    """Which pixels and polarities of a sensor a frame shows, and where.

    Attributes:
        sensor: width and height of the sensor.
        crop: width and height of the part at its centre that is kept.
        size: width and height of a frame; each divides that of ``crop``.
        polarity: "both" in channels of their own, "merged" in one, or "on" alone.
    """

    sensor: tuple[int, int]
    crop: tuple[int, int]
    size: tuple[int, int]
    polarity: str = "both"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Polarities, height and width of a frame."""
        return 2 if self.polarity == "both" else 1, self.size[1], self.size[0]

    def places(self) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
        """Return for each column of the sensor, and for each row, its place in a frame, or `OUTSIDE`."""
        columns, rows = (_places(*axis) for axis in zip(self.sensor, self.crop, self.size, strict=True))
        return columns, rows

    def onto(self, stream: Stream) -> Stream:
        """Return the events that a frame shows, at their place in it."""
        if self.polarity == "on" and not stream.p.all():
            stream = stream.picked(stream.p)
        if self.crop != self.sensor or self.size != self.sensor:
            columns, rows = self.places()
            x, y = columns[stream.x], rows[stream.y]
            inside = (x != OUTSIDE) & (y != OUTSIDE)
            stream = replace(stream, x=x, y=y, sensor=self.size)
            stream = stream if inside.all() else stream.picked(inside)
        if self.polarity != "both":
            stream = replace(stream, p=np.zeros(len(stream), np.bool_))
        return stream


def grid(config: DataConfig, sensor: tuple[int, int]) -> Grid:
    """Return how the pixels of a sensor become those of frames.

    Raises:
        ValueError: the crop is larger than the sensor, or the size does not divide it. The message is the
            end of a sentence that begins with the sensor.
    """
    crop = pixels(config.crop) if config.crop else sensor
    if crop[0] > sensor[0] or crop[1] > sensor[1]:
        raise ValueError(f"cannot be cropped to {config.crop}: give a smaller --data.crop")
    size = pixels(config.size) if config.size else crop
    if any(whole % part for whole, part in zip(crop, size, strict=True)):
        raise ValueError(_uneven(crop, size, cropped=config.crop is not None))
    return Grid(sensor, crop, size, config.polarity)


def _uneven(crop: tuple[int, int], size: tuple[int, int], *, cropped: bool) -> str:
    """Return why frames of ``size`` cannot be had, and the two nearest ways to something like them."""
    by = min(whole // part for whole, part in zip(crop, size, strict=True))
    what = "{} x {} pixels of the crop".format(*crop) if cropped else "its pixels"
    if by < 1:
        return f"is smaller than --data.size {size[0]}x{size[1]}: {what} can be pooled, not divided"
    return (
        f"cannot be pooled to --data.size {size[0]}x{size[1]} by whole numbers of {what}: keep the centre "
        f"with --data.crop {size[0] * by}x{size[1] * by}, which is pooled {by} x {by}"
    )


def _places(whole: int, kept: int, size: int) -> npt.NDArray[np.uint16]:
    """Return for each pixel along an axis its place in the frame, or `OUTSIDE`."""
    places = np.full(whole, OUTSIDE, np.uint16)
    first = (whole - kept) // 2
    places[first : first + kept] = np.arange(kept) // (kept // size)
    return places
