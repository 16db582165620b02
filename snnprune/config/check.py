"""Checks of a configuration: each value by its type, and conditions across settings.

They come before a run reads data or writes a file.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

from snnprune.common.errors import UserError
from snnprune.config import values
from snnprune.config.changes import Changes
from snnprune.config.names import DATASETS, METHODS, MODELS, build, divides, options_of, pick, typed
from snnprune.config.schema import SECTIONS, MethodConfig, ModelConfig, RunConfig

if TYPE_CHECKING:
    from snnprune.config.schema import DataConfig, TrainConfig

ELSEWHERE = tuple(f for f in MethodConfig.__dataclass_fields__ if f not in {"name", "options"})
"""Settings of the section "method", which are no options of the method."""

OPTIONS = tuple(f for f in ELSEWHERE if f != "compact_every")
"""Those of them that methods take as options."""


@cache
def types_of(section: type) -> dict[str, Any]:
    """Return the types of a section's settings, with their bounds, by name."""
    return get_type_hints(section, include_extras=True)


def check(config: RunConfig, *, data: bool = True) -> None:
    """Check every setting of ``config``.

    Args:
        config: the configuration of a run.
        data: whether ``data.name`` has to be a data set. It need not be where the splits were made by hand.

    Raises:
        UserError: a value of another type or out of bounds, an unknown name, settings that do not go
            together, or a GPU asked for where there is none.
    """
    if not isinstance(config, RunConfig):
        raise UserError(
            "config must be a RunConfig, such as snnprune.RunConfig(train=snnprune.TrainConfig(epochs=6)), "
            f"and is {type(config).__name__}"
        )
    for name in SECTIONS:
        check_values(getattr(config, name), name)
    check_data(config.data)
    if data:
        check_augmentation(config.data)
    check_model(config.model)
    check_method(config.method)
    check_processes(config.train)
    check_device(config.train)


def check_names(config: RunConfig, *, data: bool = True) -> None:
    """Import the user's own data set, model and method, so that errors come before a run begins.

    Args:
        config: the configuration of a run, already checked with `check`.
        data: as in `check`.

    Raises:
        UserError: the user's own data set, model or method cannot be imported or is something else, or an
            option of the method is unknown, does not fit or is out of its bounds.
    """
    for table, kind, name in (
        (DATASETS, "data set", config.data.name if data else next(iter(DATASETS))),
        (MODELS, "model", config.model.name),
        (METHODS, "method", config.method.name),
    ):
        entry = pick(table, kind, name)
        if entry.kind is not None:
            entry.load()
    own = pick(METHODS, "method", config.method.name).kind is not None
    if own:
        typed(METHODS, "method", config.method.name, config.method.options)
    elif config.method.options:
        said = ", ".join(f"method.options.{name} {value}" for name, value in config.method.options.items())
        build(METHODS, "method", config.method.name, options_of_run(config.method), said)


def check_values(section: DataConfig | ModelConfig | MethodConfig | TrainConfig, name: str) -> None:
    """Check each value of a section by its type.

    Raises:
        UserError: a value is of another type or out of its bounds, or ``section`` is of another class.
    """
    if not isinstance(section, SECTIONS[name]):
        raise UserError(f"{name} must be a {SECTIONS[name].__name__}, and is {values.shown(section)}")
    for key, kind in types_of(SECTIONS[name]).items():
        values.check(getattr(section, key), kind, f"{name}.{key}")


def check_data(data: DataConfig) -> None:
    """Check that the settings of time and size of ``data`` go together.

    Raises:
        UserError: a stride without a window; frames of fixed length with a rule that gives them others, or
            that do not fill a window; frames larger than the crop; ``columns`` does not name four columns; or
            ``group`` is no regular expression.
    """
    if data.stride is not None and data.window is None:
        raise UserError("data.stride is from one window to the next, and there is no data.window: give both")
    if data.bin is not None and data.binning != "time":
        raise UserError(
            f"data.bin gives every frame {data.bin}, and data.binning {data.binning} gives frames other "
            "lengths: leave one of them out"
        )
    if data.bin is not None and data.window is not None:
        shown, window = data.time_steps * values.microseconds(data.bin), values.microseconds(data.window)
        if shown != window:
            fit = divmod(window, values.microseconds(data.bin))
            hint = f"give data.time_steps {fit[0]}" if fit[0] and not fit[1] else "leave data.bin out"
            raise UserError(
                f"data.window {data.window} must be as long as data.time_steps {data.time_steps} frames of "
                f"data.bin {data.bin} together: {hint}"
            )
    if data.size is not None and data.crop is not None:
        size, crop = values.pixels(data.size), values.pixels(data.crop)
        if any(whole % part for whole, part in zip(crop, size, strict=True)):
            raise UserError(
                f"data.size {data.size} must divide data.crop {data.crop} in width and height: pixels are "
                "pooled by whole numbers"
            )
    if data.columns is not None:
        named = [name.strip() for name in data.columns.split(",")]
        if sorted(name for name in named if name != "-") != ["p", "t", "x", "y"]:
            raise UserError(
                "data.columns must name t, x, y and p once each, and - for columns to leave out, such as "
                f"t,x,y,p, and is '{data.columns}'"
            )
    if data.group is not None:
        try:
            re.compile(data.group)
        except re.error as error:
            raise UserError(
                f"data.group must be a regular expression, and is '{data.group}': {error}"
            ) from error


def check_augmentation(data: DataConfig) -> None:
    """Check that there is such a data set, and that its recordings may be changed in this way.

    Raises:
        UserError: there is no such data set, or channels of sound would be flipped.
    """
    is_sound = pick(DATASETS, "data set", data.name).has("channels")
    if is_sound and data.augment is not None and Changes.of(data.augment).flip is not None:
        raise UserError(
            f"data.augment must not flip {data.name}, and is '{data.augment}': high and low frequencies "
            "would change places; leave flip out, or take shift, which moves sounds along the channels"
        )


def check_model(model: ModelConfig) -> None:
    """Check that there is such a model, and that it can have the activation.

    Raises:
        UserError: there is no such model, or it spikes and has no activation.
    """
    if pick(MODELS, "model", model.name).has("time") and model.activation != ModelConfig.activation:
        raise UserError(
            f"model.activation {model.activation} is for networks without time, and model '{model.name}' "
            "spikes: choose a model such as mlp-ann, or leave model.activation out"
        )


def check_method(method: MethodConfig) -> None:
    """Check that there is such a method, and that none of its options is a setting.

    Raises:
        UserError: there is no such method, or an option is a setting.
    """
    pick(METHODS, "method", method.name)
    for name in ELSEWHERE:
        if name in method.options and name != "target_macs":  # an option up to version 0.1
            raise UserError(f"method.options must not hold '{name}': write method.{name} instead")


def options_of_run(method: MethodConfig) -> dict[str, Any]:
    """Return the options of a run's method: its own, and those of the settings that it takes and uses."""
    known = set(options_of(METHODS, "method", method.name))
    if not divides(method.name, method.options):
        known -= {"structured"}
    general = {name: getattr(method, name) for name in OPTIONS}
    return {name: value for name, value in general.items() if name in known} | method.options


def check_processes(train: TrainConfig) -> None:
    """Check that every rank gets a sample of each batch.

    Raises:
        UserError: the batch has fewer samples than there are ranks.
    """
    if train.batch_size < train.devices * train.nodes:
        raise UserError(
            f"train.batch_size must be at least {train.devices * train.nodes}, a sample for each process "
            f"(train.devices x train.nodes), and is {train.batch_size}"
        )


def check_device(train: TrainConfig) -> None:
    """Check that this machine has the GPU that ``train`` asks for.

    Raises:
        UserError: the machine has no GPU.
    """
    if train.device == "cuda" and not _has_gpu():
        raise UserError("train.device is cuda, and torch sees no CUDA device here: use cpu or auto")
    if train.precision == "fp16" and (train.device == "cpu" or not _has_gpu()):
        raise UserError("train.precision fp16 needs a GPU, and this run has none: use bf16 or float32")


def _has_gpu() -> bool:
    import torch  # noqa: PLC0415 - slow to import, and seldom needed

    return bool(torch.cuda.is_available())
