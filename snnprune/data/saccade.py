"""A simulated event camera turns still images into event recordings, in the way N-MNIST was made.

For N-MNIST a real camera was moved in front of a screen in three saccades along a triangle, so that each
digit wandered over the sensor (Orchard, Jayawant, Cohen and Thakor, Frontiers in Neuroscience 9:437, 2015).
This module simulates it. A pixel at (x, y) sees, blurred by the optics and shifted by the path (a, b)(t),

    L(x, y, t) = ln(dark + I(x - a(t), y - b(t))),   I in [0, 1]

and remembers a level M, at first L(x, y, 0). Whenever L moves a threshold c or d away from M,

    L >= M + c:  an ON event (p = 1),  M <- M + c
    L <= M - d:  an OFF event (p = 0), M <- M - d

so a large change gives several events. Each saccade takes the path of least jerk from one corner of
the triangle to the next, s(u) = 10 u^3 - 15 u^4 + 6 u^5: slowly, fast, slowly. The real recordings fire in
the same way. Background events are added, Poisson in time, at any pixel, of either polarity.
docs/data.md compares the result with real recordings of the same digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])
# Images at a time: few enough that the arrays of a step stay in the processor's cache.
CHUNK = 32


@dataclass(frozen=True)
class Camera:
    """The constants of the simulation.

    Attributes:
        height: pixels of the sensor, downwards.
        width: pixels of the sensor, to the right.
        rise: c, rise of log intensity that makes an ON event.
        fall: d, fall that makes an OFF event. With d = c every pixel would be very close to an event when the
            path returns to its start, and rounding would decide.
        dark: intensity of a black pixel of the screen, where a white one adds 1.
        blur: standard deviation of the optics' point spread, in pixels.
        corners: of the triangle, (a, b) in pixels right of and below the middle of the sensor. They follow
            from the motion that Tonic's `stabilize` takes out of N-MNIST, 3.5 and 7 pixels, and from the
            mean place of its events.
        saccades: when each saccade begins and ends, in microseconds: read off N-MNIST's rate of events.
        length: of a recording, in microseconds.
        samples: of the path in a saccade, equally spaced; between two of them L is taken as linear in place.
        background: rate of background events, per pixel and second.
        seed: of the background events.
    """

    height: int = 34
    width: int = 34
    rise: float = 0.39
    fall: float = 0.41
    dark: float = 0.11
    blur: float = 0.18
    corners: tuple[tuple[float, float], ...] = ((-3.5, -1.8), (-0.5, 4.6), (2.5, -1.8), (-3.5, -1.8))
    saccades: tuple[tuple[int, int], ...] = ((0, 98_000), (98_000, 197_000), (216_000, 304_000))
    length: int = 310_000
    samples: int = 16
    background: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        times = [time for saccade in self.saccades for time in saccade]
        if len(self.corners) != len(self.saccades) + 1:
            raise ValueError(
                f"{len(self.saccades)} saccades need one more corner than that, not {len(self.corners)}"
            )
        if times != sorted(times) or not 0 <= times[0] <= times[-1] <= self.length:
            raise ValueError(
                f"saccades must follow each other within 0 .. {self.length} us, not {self.saccades}"
            )
        if min(self.rise, self.fall, self.dark) <= 0:
            raise ValueError("thresholds and the intensity of black must be above 0")


def record(images: npt.NDArray[np.uint8], camera: Camera | None = None) -> Iterator[npt.NDArray[np.void]]:
    """Move the camera in front of each image in turn.

    The same images and constants always give the same events.

    Args:
        images: uint8 [N, h, w], bright on dark as on a screen; at most as large as the sensor.
        camera: the constants.

    Yields:
        For each image a structured array with fields x, y, t (microseconds, rising) and p (1 = ON).

    Raises:
        ValueError: images are no uint8 [N, h, w], or larger than the sensor.
    """
    camera = camera or Camera()
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"expected uint8 images [N, h, w], got {images.dtype} {list(images.shape)}")
    if images.shape[1] > camera.height or images.shape[2] > camera.width:
        raise ValueError(
            f"images of {images.shape[1:]} pixels do not fit a {camera.height} x {camera.width} sensor"
        )
    path = _path(camera)
    for begin in range(0, len(images), CHUNK):
        chunk = images[begin : begin + CHUNK]
        which, events = _crossings(_blurred(chunk, camera), path, camera)
        yield from _divided(which, events, begin, len(chunk), camera)


def _path(camera: Camera) -> npt.NDArray[np.float64]:
    """Return the sampled points of the path: a, b, and how far along, 2.5 half-way in the third saccade."""
    along = np.linspace(0, 1, camera.samples + 1)
    points = [np.array([[*camera.corners[0], 0.0]])]
    for number, (here, there) in enumerate(pairwise(camera.corners)):
        places = np.asarray(here) + along[1:, None] * (np.asarray(there) - np.asarray(here))
        points.append(np.column_stack([places, number + along[1:]]))
    return np.concatenate(points)


def _times(along: npt.NDArray[np.float64], camera: Camera) -> npt.NDArray[np.float64]:
    """Return the times in microseconds at which the camera is at the points ``along`` its path."""
    u = np.linspace(0, 1, 401)
    passed = 10 * u**3 - 15 * u**4 + 6 * u**5
    places = np.concatenate([number + passed for number in range(len(camera.saccades))])
    moments = np.concatenate([begin + u * (end - begin) for begin, end in camera.saccades])
    return np.interp(along, places, moments)


def _blurred(images: npt.NDArray[np.uint8], camera: Camera) -> npt.NDArray[np.float32]:
    """Return the blurred images in [0, 1], with a dark margin as wide as the path needs."""
    reach = 1 + int(np.ceil(np.abs(camera.corners).max()))
    height, width = camera.height + 2 * reach, camera.width + 2 * reach
    top, left = (height - images.shape[1]) // 2, (width - images.shape[2]) // 2
    # Blurring is a product from either side with a band matrix whose rows sum to 1.
    rows = _spread(height, top, images.shape[1], camera.blur)
    columns = _spread(width, left, images.shape[2], camera.blur)
    light = 1 - rows @ (images.astype(np.float32) / 255) @ columns.T
    return light.astype(np.float32, copy=False)


def _spread(size: int, offset: int, inner: int, blur: float) -> npt.NDArray[np.float32]:
    distance = np.arange(size)[:, None] - np.arange(offset, offset + inner)
    if blur <= 0:
        return (distance == 0).astype(np.float32)
    around = np.arange(-size, size + 1)
    weight = np.exp(-0.5 * (distance / blur) ** 2) / np.exp(-0.5 * (around / blur) ** 2).sum()
    return weight.astype(np.float32)


def _seen(scene: npt.NDArray[np.float32], a: float, b: float, camera: Camera) -> npt.NDArray[np.float32]:
    """Return L of every pixel with the image shifted by (a, b): bilinear between the scene's pixels."""
    reach_y, reach_x = (scene.shape[1] - camera.height) // 2, (scene.shape[2] - camera.width) // 2
    y, x = reach_y - b, reach_x - a
    top, left = int(np.floor(y)), int(np.floor(x))
    down, right = np.float32(y - top), np.float32(x - left)
    part = scene[:, top : top + camera.height + 1, left : left + camera.width + 1]
    rows = part[:, :-1] + down * (part[:, 1:] - part[:, :-1])
    pixels = rows[:, :, :-1] + right * (rows[:, :, 1:] - rows[:, :, :-1])
    return np.log(pixels + np.float32(camera.dark))


def _crossings(
    scene: npt.NDArray[np.float32], path: npt.NDArray[np.float64], camera: Camera
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.void]]:
    """Return the image that each event belongs to, and the events of all images, unsorted."""
    size = camera.height * camera.width
    rise, fall = np.float32(camera.rise), np.float32(camera.fall)
    before = _seen(scene, path[0, 0], path[0, 1], camera).ravel()
    level = before.copy()
    found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]] = []
    for (_, _, begin), (a, b, end) in pairwise(path):
        now = _seen(scene, a, b, camera).ravel()
        change = now - level
        steps = np.trunc(change / np.where(change > 0, rise, fall))
        hit = np.flatnonzero(steps != 0)
        count = np.abs(steps[hit]).astype(np.int64)
        pixel = np.repeat(hit, count)
        # 1, 2, ... within each pixel's run of crossings
        nth = np.arange(1, len(pixel) + 1) - np.repeat(np.cumsum(count) - count, count)
        up = steps[pixel] > 0
        crossed = level[pixel] + nth * np.where(up, rise, -fall)
        moved = now[pixel] - before[pixel]
        # Because of rounding, a crossing may fall into a step without change; it gets the step's beginning.
        share = (crossed - before[pixel]) / np.where(moved == 0, np.inf, moved)
        found.append((pixel, begin + np.clip(share, 0, 1) * (end - begin), up))
        level[hit] += steps[hit] * np.where(steps[hit] > 0, rise, fall)
        before = now
    pixel, along, on = (np.concatenate(parts) for parts in zip(*found, strict=True))
    events = np.empty(len(pixel), EVENT)
    events["y"], events["x"] = np.divmod(pixel % size, camera.width)
    events["t"], events["p"] = _times(along, camera), on
    return pixel // size, events


def _divided(
    which: npt.NDArray[np.int64], events: npt.NDArray[np.void], begin: int, many: int, camera: Camera
) -> Iterator[npt.NDArray[np.void]]:
    """Add the background events and yield the events of each image, sorted by time."""
    noise = [_background(begin + image, camera) for image in range(many)]
    which = np.concatenate([which, np.repeat(np.arange(many), [len(one) for one in noise])])
    events = np.concatenate([events, *noise])
    order = np.argsort(which * camera.length + events["t"], kind="stable")
    cuts = np.cumsum(np.bincount(which, minlength=many))[:-1]
    yield from np.split(events[order], cuts)


def _background(image: int, camera: Camera) -> npt.NDArray[np.void]:
    rng = np.random.default_rng([camera.seed, image])
    many = rng.poisson(camera.background * camera.height * camera.width * camera.length * 1e-6)
    events = np.empty(many, EVENT)
    for field, top in (("x", camera.width), ("y", camera.height), ("t", camera.length), ("p", 2)):
        events[field] = rng.integers(0, top, many)
    return events
