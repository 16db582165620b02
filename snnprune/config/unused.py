"""Settings that somebody chose and that nothing in the run will read: one table says when each is used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from snnprune.config.names import DATASETS, METHODS, MODELS, Entry, options_of, pick

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from snnprune.config.schema import RunConfig

DENSE = "dense"
"""The method that prunes nothing, which all others are compared with."""

SURVIVAL = ("dpap", "hebb", "stdp")
"""Methods with a survival function."""

SCORED = ("magnitude", "random")
"""Methods that cut synapses alone unless their option ``unit`` says otherwise."""


@dataclass(frozen=True)
class Facts:
    """What decides whether a setting is used.

    Attributes:
        config: of the run.
        data: the data set; what is not known of it is None.
        model: the model, likewise.
    """

    config: RunConfig
    data: Entry
    model: Entry

    @property
    def known(self) -> Collection[str]:
        """Names of the method's options; only asked for settings of the method, for they import it."""
        return options_of(METHODS, "method", self.config.method.name)


def of_data(trait: str, why: str, *, when: bool = False) -> Callable[[Facts], str | None]:
    """Return what names the data set as the reason ``when`` it has ``trait``, or lacks it."""
    return lambda facts: f"{facts.config.data.name} {why}" if facts.data.has(trait) is when else None


def of_time(facts: Facts) -> str | None:
    """Say that the model has no time steps."""
    if facts.model.has("time") is not False:
        return None
    return f"it is for spiking networks, and {facts.config.model.name} has no time steps"


def of_spikes(facts: Facts) -> str | None:
    """Say that the model has spiking neurons."""
    return f"{facts.config.model.name} spikes" if facts.model.has("time") else None


def of_images_in_time(facts: Facts) -> str | None:
    """Say that a still image is seen once; of recordings such a network sees the mean of the frames."""
    return of_time(facts) if facts.data.has("events") is False else None


def of_method(name: str) -> Callable[[Facts], str | None]:
    """Return what says that the method has no such option."""

    def reason(facts: Facts) -> str | None:
        method = facts.config.method
        asked = getattr(method, name) is not None and name not in facts.known
        return f"method '{method.name}' has no {name}" if asked else None

    return reason


def of_structured(facts: Facts) -> str | None:
    """Say that nothing is left to divide between units and synapses."""
    method = facts.config.method
    if method.name in SCORED and method.options.get("unit", "synapses") != "both":
        return f"method '{method.name}' prunes units and synapses with method.options.unit both alone"
    if "target_macs" not in method.options and method.target is None and "structured" in facts.known:
        return "it divides a target, and method.target is null"
    return None


def of_epsilon(facts: Facts) -> str | None:
    """Say that a target stands in for the threshold."""
    method = facts.config.method
    aimed = method.target is not None or "target_macs" in method.options
    if method.name in SURVIVAL and aimed and "epsilon" in method.options:
        return f"a target decides in place of epsilon, and method.target is {method.target}"
    return None


def of_macs(facts: Facts) -> str | None:
    """Say that another target stands in for the one of weights."""
    return (
        "method.options.target_macs stands in for it"
        if "target_macs" in facts.config.method.options
        else None
    )


def of_schedule(schedule: str) -> Callable[[Facts], str | None]:
    """Return what says that the learning rate has another schedule."""

    def reason(facts: Facts) -> str | None:
        own = facts.config.train.schedule
        return f"it is for the {schedule} schedule, and train.schedule is {own}" if own != schedule else None

    return reason


def of_length(facts: Facts) -> str | None:
    """Say that the run ends before the first step of its schedule."""
    train = facts.config.train
    ends = train.schedule == "step" and train.step_epochs >= train.epochs
    return f"the run ends after {train.epochs} epochs, before the first step" if ends else None


def of_sgd(facts: Facts) -> str | None:
    """Say that another optimiser has no momentum of this name."""
    own = facts.config.train.optimizer
    return f"it is for SGD, and train.optimizer is {own}" if own != "sgd" else None


def of_dense(why: str) -> Callable[[Facts], str | None]:
    """Return what says that nothing is pruned."""
    return lambda facts: f"method '{DENSE}' {why}" if facts.config.method.name == DENSE else None


TABLE: tuple[tuple[str, Callable[[Facts], str | None]], ...] = (
    ("method.target", of_method("target")),
    ("method.target", of_macs),
    ("method.structured", of_method("structured")),
    ("method.structured", of_structured),
    ("method.options", of_epsilon),
    ("method.compact_every", of_dense("prunes nothing")),
    ("data.root", of_data("embedded", "comes with the package", when=True)),
    ("data.download", of_data("embedded", "comes with the package", when=True)),
    ("data.cache", of_data("cached", "is read into memory")),
    ("data.encoding", of_data("events", "holds recordings, and it is for still images", when=True)),
    ("data.binning", of_data("events", "holds still images, and it is for recordings")),
    ("data.skip_corrupt", of_data("files", "is not read from a file for each sample")),
    ("data.validation", of_data("divided", "has a validation set of its own", when=True)),
    ("model.detach_reset", of_time),
    ("model.accelerate", of_time),
    ("model.activation", of_spikes),
    ("data.encoding", of_images_in_time),
    ("data.time_steps", of_images_in_time),
    ("train.momentum", of_sgd),
    ("train.step_epochs", of_schedule("step")),
    ("train.step_epochs", of_length),
    ("train.step_gamma", of_schedule("step")),
    ("train.warmup_epochs", of_schedule("cosine")),
    ("train.twin", of_dense("is its own twin")),
)
"""Settings, each with what says in a clause why it has no use, or None where it has. Others always have."""


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
    return _sentences(reasons(config, chosen))


def unused_in_all(configs: Sequence[RunConfig], chosen: Collection[str]) -> list[str]:
    """Return a sentence for each of the settings ``chosen`` that none of ``configs`` has a use for."""
    first, *others = [reasons(config, chosen) for config in configs]
    return _sentences({key: why for key, why in first.items() if all(key in other for other in others)})


def reasons(config: RunConfig, chosen: Collection[str]) -> dict[str, str]:
    """Return the settings ``chosen`` that ``config`` has no use for, each with the reason."""
    data = pick(DATASETS, "data set", config.data.name)
    if data.kind is not None:
        events = getattr(data.load(), "events", None)
        # What a data set of the user's own does with the other settings, nobody knows.
        data = replace(data, traits=frozenset({"cached", "files"} | ({"events"} if events else set())))
    facts = Facts(config, data, pick(MODELS, "model", config.model.name))
    found: dict[str, str] = {}
    for key, reason in TABLE:
        if key in chosen and key not in found and (why := reason(facts)) is not None:
            found[key] = why
    return found


def _sentences(found: dict[str, str]) -> list[str]:
    return [f"{key} is not used: {why}" for key, why in found.items()]
