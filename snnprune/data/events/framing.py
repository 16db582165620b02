"""Recordings become frames in a cache: the one way that every data set of events goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.common.errors import UserError, in_one_line
from snnprune.config.values import pixels
from snnprune.data.cache import Batch, cached
from snnprune.data.events.cutting import samples
from snnprune.data.events.stream import Asked
from snnprune.data.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from snnprune.config.schema import DataConfig
    from snnprune.data.cache import Stored
    from snnprune.data.events.layouts import Recording
    from snnprune.data.events.stream import Stream

WAYS_OUT = "mend or remove the file, or leave it out with --data.skip_corrupt true"

SHAPING = ("time_steps", "binning", "bin", "window", "stride", "crop", "size", "polarity", "hot_pixels")
"""Settings that decide how events become frames."""


def asked(config: DataConfig) -> Asked:
    """Return what the configuration says of files that do not say it themselves."""
    return Asked(
        sensor=pixels(config.sensor) if config.sensor else None,
        unit=config.time_unit,
        columns=tuple(name.strip() for name in config.columns.split(",")) if config.columns else None,
        stream=config.stream,
    )


def framed(
    title: str,
    recordings: Sequence[Recording],
    reader: Callable[[], Callable[[Recording], Stream]],
    config: DataConfig,
    key: Mapping[str, Any],
    *,
    named: bool = False,
) -> Stored:
    """Cut recordings into frames, or open the cache of an earlier call.

    Args:
        title: a readable beginning for the name of the cache.
        recordings: what is cut.
        reader: returns a function that reads the events of a recording, or raises a UserError that names it.
            It is called if there is no cache yet.
        config: how events become frames.
        key: what the events themselves depend on, as values that JSON can hold.
        named: whether hot pixels are remarked on.

    Returns:
        The frames. In place of a label, each has the index of its recording.

    Raises:
        UserError: a recording cannot be read or cut, and unreadable ones are not to be left out; all of them
            cannot; or frames of two recordings have different sizes.
    """
    made_of = dict(key) | {name: getattr(config, name) for name in SHAPING}
    made_of["skip_corrupt"] = config.skip_corrupt
    stored = cached(
        cache_folder(config.cache),
        f"{title}-T{config.time_steps}-{config.binning}",
        made_of,
        lambda: _batches(recordings, reader(), config, named=named),
        len(recordings),
    )
    if recordings and not len(stored.labels):
        raise UserError(
            f"none of the {len(recordings)} recordings of {title} can be read: {stored.skipped[0]}"
        )
    return stored


def _batches(
    recordings: Sequence[Recording],
    read: Callable[[Recording], Stream],
    config: DataConfig,
    *,
    named: bool,
) -> Iterator[Batch]:
    shape: tuple[int, ...] | None = None
    nothing = np.zeros(0, np.int64)
    for number, recording in enumerate(recordings):
        name = str(recording.path)
        try:
            cut = samples(_read(read, recording), recording, config, named=named)
            for frames in cut.frames:
                shape = _same(shape, frames.shape, recordings[0])
                yield Batch(frames[None], np.asarray([number]), share=0)
        except ValueError as error:
            if not config.skip_corrupt:
                said = f"{name} {in_one_line(error)}"
                # Where an option is missing or wrong, the file is not to be left out.
                raise UserError(said if "--data." in said else f"{said}; {WAYS_OUT}") from error
            yield Batch(np.zeros((0, *(shape or (0,))), np.uint8), nothing, (name,))
            continue
        remarks = tuple((name, remark) for remark in cut.remarks)
        yield Batch(np.zeros((0, *shape), np.uint8), nothing, remarks=remarks, share=1)  # type: ignore[misc]


def _read(read: Callable[[Recording], Stream], recording: Recording) -> Stream:
    """Read a recording. What is wrong with it is a ValueError from here on; with settings, it is none."""
    try:
        return read(recording)
    except UserError as error:
        raise ValueError(str(error).removeprefix(f"{recording.path} ")) from error


def _same(shape: tuple[int, ...] | None, other: tuple[int, ...], first: Recording) -> tuple[int, ...]:
    if shape is not None and shape != other:
        raise ValueError(
            f"has frames of {other[-1]} x {other[-2]} pixels, and {first.path} of {shape[-1]} x {shape[-2]}: "
            "all must have one size, which --data.crop WIDTHxHEIGHT gives them"
        )
    return other
