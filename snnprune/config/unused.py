"""Settings that somebody chose and that nothing in the run will read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.config.names import DATASETS, METHODS, MODELS, options_of, pick
from snnprune.nn.models.papers import WITHOUT_TIME

if TYPE_CHECKING:
    from collections.abc import Collection

    from snnprune.config.schema import RunConfig

IN_TIME = ("data.encoding", "data.time_steps")
SCHEDULES = {"step_epochs": "step", "step_gamma": "step", "warmup_epochs": "cosine"}


def unused(config: RunConfig, chosen: Collection[str]) -> list[str]:
    """Return a sentence for each of the settings ``chosen`` that ``config`` has no use for.

    They are said and not refused: one file of settings serves several methods and data sets, whose name an
    option replaces.

    Args:
        config: of the run.
        chosen: dotted keys.

    Raises:
        UserError: no such data set, model or method.
    """
    data, method, train = config.data.name, config.method.name, config.train
    events = pick(DATASETS, "data set", data).load().events
    known = options_of(METHODS, "method", method)
    reasons = {
        f"method.{name}": f"method '{method}' has no {name}"
        for name in ("target", "structured")
        if name not in known and getattr(config.method, name) is not None
    }
    if events:
        reasons["data.encoding"] = f"it is for still images, and {data} holds recordings"
    else:
        reasons["data.binning"] = f"it is for recordings, and {data} holds still images"
    if pick(MODELS, "model", config.model.name).load() in WITHOUT_TIME:
        # Of recordings such a network sees the mean of the frames, which depends on how many there are.
        keys = ("model.detach_reset", "model.accelerate", *(() if events else IN_TIME))
        reasons |= dict.fromkeys(
            keys, f"it is for spiking networks, and {config.model.name} has no time steps"
        )
    if train.optimizer != "sgd":
        reasons["train.momentum"] = f"it is for SGD, and train.optimizer is {train.optimizer}"
    for name, schedule in SCHEDULES.items():
        if train.schedule != schedule:
            reasons[f"train.{name}"] = (
                f"it is for the {schedule} schedule, and train.schedule is {train.schedule}"
            )
    return [f"{key} is not used: {reason}" for key, reason in reasons.items() if key in chosen]
