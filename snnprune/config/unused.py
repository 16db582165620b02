"""Settings that the user chose and that the run does not use: one table says when that is so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from snnprune.config.names import DATASETS, METHODS, MODELS, Entry, divides, options_of, pick
from snnprune.config.schema import FURTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from snnprune.config.schema import RunConfig

DENSE = "dense"
"""The method that prunes nothing: the baseline of all others."""

SURVIVAL = ("dpap", "hebb", "stdp")
"""Methods with a survival function."""


@dataclass(frozen=True)
class Facts:
    """What decides whether a setting is used. What is not known of the user's own data set or model is None.

    Attributes:
        config: the configuration of the run.
        data: the data set.
        model: the model.
    """

    config: RunConfig
    data: Entry
    model: Entry

    def lacks(self, option: str) -> bool:
        """Tell whether ``option`` was set although the method has no such option; this imports the method."""
        method = self.config.method
        return getattr(method, option) is not None and option not in options_of(
            METHODS, "method", method.name
        )

    @property
    def is_aimed(self) -> bool:
        """Whether a share to prune is asked for."""
        method = self.config.method
        return method.target is not None or bool(method.further_targets)

    @property
    def has_no_time(self) -> bool:
        """Whether the model has no time steps."""
        return self.model.has("time") is False


Row = tuple[str, "Callable[[Facts], bool]", str]

IN_TIME = "it is for spiking networks, and {model.name} has no time steps"

LOCALLY = "{model.name} learns without gradients, by a rule of its own with model.eta"

OF_GRADIENTS = (
    "model.detach_reset",
    "model.dropout",
    "train.optimizer",
    "train.lr",
    "train.weight_decay",
    "train.momentum",
    "train.schedule",
    "train.step_epochs",
    "train.step_gamma",
    "train.warmup_epochs",
    "train.activity_penalty",
)
"""Settings of training by gradients."""

TABLE: tuple[Row, ...] = (
    ("method.target", lambda f: f.lacks("target"), "method '{method.name}' has no target"),
    *(
        (f"method.{name}", lambda f, name=name: f.lacks(name), "method '{method.name}' has no targets")
        for name in FURTHER
    ),
    (
        "method.target",
        lambda f: "target_macs" in f.config.method.options,
        "method.options.target_macs is used in its place",
    ),
    ("method.structured", lambda f: f.lacks("structured"), "method '{method.name}' has no structured"),
    (
        "method.structured",
        lambda f: not f.lacks("structured") and not divides(f.config.method.name, f.config.method.options),
        "it divides the target between units and synapses, and method '{method.name}' is not to prune both: "
        "method.options.unit both says so, where a method has that option",
    ),
    ("method.structured", lambda f: not f.is_aimed, "it divides a target, and method.target is null"),
    (
        "method.options",
        lambda f: f.config.method.name in SURVIVAL and "epsilon" in f.config.method.options and f.is_aimed,
        "method.target is used in place of epsilon; set method.target to null to use epsilon",
    ),
    (
        "method.compact_every",
        lambda f: f.config.method.name == DENSE,
        "method '{method.name}' prunes nothing",
    ),
    ("data.root", lambda f: f.data.has("embedded") is True, "{data.name} comes with the package"),
    ("data.download", lambda f: f.data.has("embedded") is True, "{data.name} comes with the package"),
    ("data.cache", lambda f: f.data.has("cached") is False, "{data.name} is read into memory"),
    (
        "data.encoding",
        lambda f: f.data.has("events") is True,
        "it is for still images, and {data.name} holds recordings",
    ),
    *(
        (
            f"data.{name}",
            lambda f: f.data.has("events") is False,
            "it is for recordings, and {data.name} holds still images",
        )
        for name in (
            "binning",
            "bin",
            "window",
            "stride",
            "crop",
            "size",
            "polarity",
            "hot_pixels",
            "augment",
        )
    ),
    *(
        (
            f"data.{name}",
            lambda f: f.data.has("own") is False,
            "it is for data set 'recordings', and {data.name} is known",
        )
        for name in ("sensor", "time_unit", "columns", "stream", "group")
    ),
    ("data.test", lambda f: f.data.has("undivided") is False, "{data.name} has a test set of its own"),
    ("data.polarity", lambda f: f.data.has("channels") is True, "{data.name} has events of one polarity"),
    (
        "data.augment",
        lambda f: f.data.has("events") is False,
        "it is for recordings, and {data.name} holds still images",
    ),
    (
        "data.skip_corrupt",
        lambda f: f.data.has("files") is False,
        "{data.name} is not read from a file for each sample",
    ),
    (
        "data.validation",
        lambda f: f.data.has("divided") is True,
        "{data.name} has a validation set of its own",
    ),
    ("train.over_time", lambda f: f.has_no_time, IN_TIME),
    ("train.activity_penalty", lambda f: f.has_no_time, IN_TIME),
    ("model.detach_reset", lambda f: f.has_no_time, IN_TIME),
    ("model.accelerate", lambda f: f.has_no_time, IN_TIME),
    ("model.activation", lambda f: f.model.has("time") is True, "{model.name} spikes"),
    *(
        (
            f"model.{name}",
            lambda f: f.model.has("recurrent") is False,
            "it is for recurrent networks, and {model.name} is none",
        )
        for name in ("neuron", "tau", "readout")
    ),
    *(
        (
            f"model.{name}",
            lambda f: f.model.has("local") is False,
            "it is for networks that learn without gradients, and {model.name} learns by them",
        )
        for name in ("eta", "trace", "membrane")
    ),
    *(
        (
            f"model.{name}",
            lambda f: f.model.has("compete") is False,
            "it is for networks whose units compete, and those of {model.name} do not",
        )
        for name in ("stdp", "inhibition")
    ),
    *((key, lambda f: f.model.has("local") is True, LOCALLY) for key in OF_GRADIENTS),
    # A network without time gets the mean of a recording's frames, which depends on the number of frames.
    ("data.encoding", lambda f: f.has_no_time and f.data.has("events") is False, IN_TIME),
    ("data.time_steps", lambda f: f.has_no_time and f.data.has("events") is False, IN_TIME),
    (
        "train.momentum",
        lambda f: f.config.train.optimizer != "sgd",
        "it is for SGD, and train.optimizer is {train.optimizer}",
    ),
    *(
        (
            f"train.{name}",
            lambda f, wanted=wanted: f.config.train.schedule != wanted,
            f"it is for the {wanted} schedule, and train.schedule is {{train.schedule}}",
        )
        for name, wanted in (("step_epochs", "step"), ("step_gamma", "step"), ("warmup_epochs", "cosine"))
    ),
    (
        "train.step_epochs",
        lambda f: f.config.train.step_epochs >= f.config.train.epochs,
        "the run ends after {train.epochs} epochs, before the first step",
    ),
    (
        "train.twin",
        lambda f: f.config.method.name == DENSE,
        "method '{method.name}' trains the unpruned network itself",
    ),
)
"""Settings, the condition under which each is not used, and the reason. Other settings are always used."""


def unused(config: RunConfig, chosen: Collection[str]) -> list[str]:
    """Return a sentence for each of the settings ``chosen`` that ``config`` does not use.

    They are warnings, not errors: one file of settings serves several methods and data sets, and an option
    chooses among these.

    Args:
        config: the configuration of the run.
        chosen: dotted keys.

    Raises:
        UserError: there is no such data set, model or method.
    """
    return _sentences(reasons(config, chosen))


def unused_in_all(configs: Sequence[RunConfig], chosen: Collection[str]) -> list[str]:
    """Return a sentence for each of the settings ``chosen`` that none of ``configs`` uses."""
    first, *others = [reasons(config, chosen) for config in configs]
    return _sentences({key: why for key, why in first.items() if all(key in other for other in others)})


def reasons(config: RunConfig, chosen: Collection[str]) -> dict[str, str]:
    """Return the settings ``chosen`` that ``config`` does not use, each with the reason."""
    data = pick(DATASETS, "data set", config.data.name)
    if data.kind is not None:
        events = getattr(data.load(), "events", None)
        # It is not known which other settings a data set of the user's own uses.
        data = replace(
            data,
            traits=frozenset({"cached", "files", "own", "undivided"} | ({"events"} if events else set())),
        )
    facts = Facts(config, data, pick(MODELS, "model", config.model.name))
    found: dict[str, str] = {}
    for key, is_useless, why in TABLE:
        if key in chosen and key not in found and is_useless(facts):
            found[key] = why.format(**vars(config))
    return found


def _sentences(found: dict[str, str]) -> list[str]:
    return [f"{key} is not used: {why}" for key, why in found.items()]
