"""Whether frames last as long as a recurrent network takes a time step to last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.config import values
from snnprune.config.names import DATASETS, MODELS, pick

if TYPE_CHECKING:
    from snnprune.config.schema import DataConfig, RunConfig

STEP = 10.0
"""Milliseconds that a time step of a recurrent network stands for, since the papers' constants are in
milliseconds. SHD and SSC are usually cut into frames of 10 to 14 ms."""

NEAR = 2.0
"""Frames may be so many times longer or shorter than a step before that is said. With frames of 20 ms, a
membrane's time constant of 20 ms becomes one of 40 ms."""


def out_of_step(config: RunConfig) -> list[str]:
    """Return a sentence if a recurrent model is given frames that do not last about `STEP`, else none.

    Raises:
        UserError: there is no such data set or model.
    """
    recurrent = pick(MODELS, "model", config.model.name).has("recurrent")
    if not recurrent or pick(DATASETS, "data set", config.data.name).has("events") is False:
        return []
    length = _milliseconds(config.data)
    if length is not None and STEP / NEAR <= length <= STEP * NEAR:
        return []
    came = "frames of no fixed length" if length is None else f"frames of {length:g} ms"
    return [
        f"model '{config.model.name}' expects frames of about {STEP:g} ms, since its time constants are in "
        f"milliseconds and a step stands for {STEP:g} ms, and gets {came}: set data.bin to {STEP:g}ms, and "
        "data.time_steps to as many as a recording lasts"
    ]


def _milliseconds(data: DataConfig) -> float | None:
    """Return the length of a frame; None where each recording is divided into as many frames."""
    if data.bin is not None:
        return values.microseconds(data.bin) / 1000
    if data.window is not None and data.binning == "time":
        return values.microseconds(data.window) / data.time_steps / 1000
    return None
