"""Whether a configuration can work: each value by its type, and conditions across settings.

Everything is found out before anything is read, imported or written.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

from snnprune.common.errors import UserError
from snnprune.config import values
from snnprune.config.names import DATASETS, METHODS, MODELS, pick, typed
from snnprune.config.schema import SECTIONS, ModelConfig

if TYPE_CHECKING:
    from snnprune.config.schema import DataConfig, MethodConfig, RunConfig, TrainConfig

ELSEWHERE = ("target", "structured", "compact_every")
"""Settings of every method, which are no options of it."""


@cache
def types_of(section: type) -> dict[str, Any]:
    """Return the types of a section's settings, with their bounds, by name."""
    return get_type_hints(section, include_extras=True)


def check(config: RunConfig, *, data: bool = True) -> None:
    """Look at every setting of ``config``.

    Args:
        config: of a run.
        data: ``data.name`` has to be a data set, rather than a word for one that was made by hand.

    Raises:
        UserError: a value of another type or out of bounds, an unknown name, settings that do not go
            together, or a GPU asked for where there is none.
    """
    for name in SECTIONS:
        check_values(getattr(config, name), name)
    if data:
        pick(DATASETS, "data set", config.data.name)
    check_model(config.model)
    check_method(config.method)
    check_processes(config.train)
    check_device(config.train)


def check_names(config: RunConfig, *, data: bool = True) -> None:
    """Import what the user wrote themselves, so that what is missing is said before a run begins.

    Args:
        config: of a run, that was checked.
        data: as in `check`.

    Raises:
        UserError: a thing of the user's own cannot be imported or is something else, or an option of the
            method is unknown or does not fit.
    """
    for table, kind, name in (
        (DATASETS, "data set", config.data.name if data else next(iter(DATASETS))),
        (MODELS, "model", config.model.name),
        (METHODS, "method", config.method.name),
    ):
        entry = pick(table, kind, name)
        if entry.kind is not None:
            entry.load()
    if config.method.options or pick(METHODS, "method", config.method.name).kind is not None:
        typed(METHODS, "method", config.method.name, config.method.options)


def check_values(section: DataConfig | ModelConfig | MethodConfig | TrainConfig, name: str) -> None:
    """Look at each value of a section by its type.

    Raises:
        UserError: one is of another type, or out of its bounds; or it is no such section.
    """
    if not isinstance(section, SECTIONS[name]):
        raise UserError(f"{name} must be a {SECTIONS[name].__name__}, and is {values.shown(section)}")
    for key, kind in types_of(SECTIONS[name]).items():
        values.check(getattr(section, key), kind, f"{name}.{key}")


def check_model(model: ModelConfig) -> None:
    """Look whether there is such a model, and whether it has neurons as ``model`` says.

    Raises:
        UserError: there is not, or it has not.
    """
    if pick(MODELS, "model", model.name).has("time") and model.activation != ModelConfig.activation:
        raise UserError(
            f"model '{model.name}' spikes, and model.activation {model.activation} is of networks without "
            "time: choose one of those, such as mlp-ann"
        )


def check_method(method: MethodConfig) -> None:
    """Look whether there is such a method, and whether its options are options.

    Raises:
        UserError: there is not, or one of them is a setting.
    """
    pick(METHODS, "method", method.name)
    for name in ELSEWHERE:
        if name in method.options:
            raise UserError(f"write method.{name}, not method.options: '{name}' has a place of its own")


def check_processes(train: TrainConfig) -> None:
    """Look whether every process has a sample of each batch.

    Raises:
        UserError: one has none.
    """
    if train.batch_size < train.devices * train.nodes:
        raise UserError(
            f"train.batch_size is divided among {train.devices * train.nodes} processes (train.devices x "
            f"train.nodes), and is {train.batch_size}: each needs a sample"
        )


def check_device(train: TrainConfig) -> None:
    """Look whether this machine has the GPU that ``train`` asks for.

    Raises:
        UserError: it has none.
    """
    if train.device == "cuda" and not _has_gpu():
        raise UserError("train.device is cuda, and torch sees no CUDA device here: use cpu or auto")
    if train.precision == "fp16" and (train.device == "cpu" or not _has_gpu()):
        raise UserError("train.precision fp16 needs a GPU, and this run has none: use bf16 or float32")


def _has_gpu() -> bool:
    import torch  # noqa: PLC0415 - slow to import, and seldom asked

    return bool(torch.cuda.is_available())
