"""Names of data sets, models and methods, with a line on each.

The tables hold places ("module:attribute"), not objects, so that reading them imports nothing heavy and
no room has to know the rooms above it. A user writes such a place for a data set, model or method of their
own. An object can be passed wherever a name can.
"""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from snnprune.common.errors import UserError, in_one_line
from snnprune.config import signature
from snnprune.config.slips import meant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

PLACE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
"""A module and an attribute of it, each perhaps within another."""

NEEDS = {"data set": ("events", "found", "load"), "method": ("begin", "after_step", "end_epoch"), "model": ()}
"""For each kind, the attributes that the user's own must have. They are checked before any of them is called:
a file of a run may come from an untrusted source."""

LIKE = {
    "data set": "an object or class with events, found and load, as snnprune.data.source.Source",
    "method": "a class that derives from snnprune.pruning.method.Method",
    "model": "a class or function that is called with (ModelConfig, shape of a frame, number of classes)",
}


@dataclass(frozen=True)
class Entry:
    """One name that a user may write.

    Attributes:
        summary: a line that explains it to a new user.
        source: the paper or the archive that it comes from.
        place: "module:attribute" of the callable that builds it, or of the data set itself.
        traits: what is known of it before it is imported, as keys of `TRAITS`; None if nothing is known.
        kind: "data set", "model" or "method" for the user's own; None for a name of the registry.
    """

    summary: str
    source: str
    place: str
    traits: frozenset[str] | None = None
    kind: str | None = None

    def load(self) -> Any:
        """Import the module and return the attribute.

        Raises:
            UserError: it is the user's own, and it cannot be imported or is of another kind.
        """
        module, _, attribute = self.place.partition(":")
        if self.kind is None:
            return getattr(importlib.import_module(module), attribute)
        return _own(self.kind, module, attribute)

    def has(self, trait: str) -> bool | None:
        """Tell whether it has a trait; None if that is not known."""
        return None if self.traits is None else trait in self.traits


TRAITS = {
    "events": "recordings, rather than still images",
    "embedded": "comes with the package",
    "cached": "its frames are kept in a cache",
    "files": "recordings or images are files, of which one may be unreadable",
    "divided": "has a validation set of its own",
    "undivided": "has no official test set",
    "channels": "channels of sound, of one row and one polarity",
    "own": "files of the user's own, of formats that do not say everything",
    "time": "a spiking network with time steps",
    "recurrent": "has layers that are wired to themselves",
    "compete": "its units compete, and learn by trace STDP",
    "local": "learns by a rule of its own, without gradients and without an optimiser",
}


PAGE = Entry("the page of a pruner", "-", "snnprune.report.pruner_page:write_page")
"""How `Pruner.report` finds the page, of which its room knows nothing."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the entry of ``known`` that was meant, or else all of the same group."""
    known = sorted(known)
    close = meant(word, known)
    group = [name for name in known if "." in word and name.startswith(f"{word.rpartition('.')[0]}.")]
    return f"did you mean '{close}'?" if close else f"choose one of: {', '.join(group or known)}"


def pick(table: Mapping[str, Entry], kind: str, name: str) -> Entry:
    """Look ``name`` up in ``table``; "module:attribute" stands for the user's own.

    Raises:
        UserError: the name is not in the table; the message names the nearest one.
    """
    if name in table:
        return table[name]
    if ":" not in name:
        raise UserError(f"there is no {kind} called '{name}': {nearest(name, table)}{_otherwise(kind, name)}")
    if not PLACE.fullmatch(name):
        raise UserError(f"a {kind} of your own must be written mypackage.module:Mine, and is '{name}'")
    return Entry(f"a {kind} of your own", "-", name, None, kind)


def _otherwise(kind: str, name: str) -> str:
    """Return what else a name that is in no table may stand for; "" for a plain slip."""
    if "." in name:
        return f" (a {kind} of your own is written mypackage.module:Mine, with a colon)"
    if kind == "data set":
        return (
            " (a run on data that were made in Python needs them again, as splits=..., in snnprune.resume "
            "and snnprune.train)"
        )
    return ""


def is_own(name: str) -> bool:
    """Tell whether ``name`` stands for a data set, model or method of the user's own."""
    return ":" in name


def label(name: str) -> str:
    """Return ``name`` in a form that a file name can hold."""
    return name.replace(":", ".")


def options_of(table: Mapping[str, Entry], kind: str, name: str) -> dict[str, Any]:
    """Return the options of what ``name`` stands for, with their defaults.

    Raises:
        UserError: there is no such name.
    """
    known = signature.options(pick(table, kind, name).load())
    return {option.name: option.default for option in known.values()}


def divides(name: str, options: Mapping[str, Any]) -> bool:
    """Tell whether a method with ``options`` prunes both units and synapses, as ``structured`` divides it."""
    chosen = options_of(METHODS, "method", name) | dict(options)
    return (
        "structured" in chosen
        and chosen.get("unit", "both") == "both"
        and not any(chosen.get(kind) is False for kind in ("neurons", "synapses"))
    )


def typed(table: Mapping[str, Entry], kind: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` of what ``name`` stands for as its signature has them: "0.2" becomes 0.2.

    Raises:
        UserError: there is no such name or option, a value does not fit, or an option is missing.
    """
    known, owner = signature.options(pick(table, kind, name).load()), f"{kind} '{name}'"
    for option in options:
        if option not in known:
            hint = nearest(option, known) if known else "it takes none"
            raise UserError(f"{owner} has no option '{option}': {hint}")
    missing = [option.name for option in known.values() if option.is_needed and option.name not in options]
    if missing:
        raise UserError(f"{owner} needs the option '{missing[0]}', which has no default")
    return {option: known[option].read(value, owner) for option, value in options.items()}


def build(
    table: Mapping[str, Entry], kind: str, name: str, options: Mapping[str, Any], said: str = "these options"
) -> Any:
    """Build what ``name`` stands for with ``options``; a message calls them what ``said`` says.

    Raises:
        UserError: there is no such name or option, or the builder raises an error for a value.
    """
    read = typed(table, kind, name, options)
    try:
        return pick(table, kind, name).load()(**read)
    except (TypeError, ValueError) as error:
        raise UserError(f"{kind} '{name}' cannot be made with {said}: {in_one_line(error)}") from error


def _made_in(module: ModuleType) -> list[str]:
    """Return the public names of what ``module`` defines itself."""
    found = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    named = {name for name, value in found.items() if getattr(value, "__module__", None) == module.__name__}
    return sorted(named) or sorted(found)


def _own(kind: str, module: str, attribute: str) -> Any:
    """Import the user's own data set, model or method, and check its kind.

    Raises:
        UserError: it cannot be imported, or is of another kind.
    """
    name = f"{kind} '{module}:{attribute}'"
    try:
        holder = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise UserError(
                f"there is no module '{error.name}' for the {name}: run the command in the folder that holds "
                "it, or install it"
            ) from error
        raise UserError(f"the {name} cannot be imported: {in_one_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise UserError(
            f"the {name} cannot be imported: {type(error).__name__}: {in_one_line(error)}"
        ) from error
    try:
        found: Any = reduce(getattr, attribute.split("."), holder)
    except AttributeError as error:
        hint = nearest(attribute, _made_in(holder))
        raise UserError(f"the module '{module}' has no '{attribute}': {hint}") from error
    if kind == "data set" and isinstance(found, type):
        try:
            found = found()
        except Exception as error:
            raise UserError(f"the {name} cannot be made without arguments: {in_one_line(error)}") from error
    fits = _takes_three(found) if kind == "model" else all(hasattr(found, need) for need in NEEDS[kind])
    if not fits or (kind == "method" and not inspect.isclass(found)):
        raise UserError(f"the {name} must be {LIKE[kind]}, and is {type(found).__name__} {found!r:.80}")
    return found


def _takes_three(found: Any) -> bool:
    """Tell whether ``found`` can be called with three arguments, as the models of the registry are."""
    try:
        inspect.signature(found).bind(None, None, None)
    except TypeError:
        return False
    except ValueError:  # the callable has no signature
        pass
    return callable(found)


DATASETS: dict[str, Entry] = {
    "recordings": Entry(
        "your own recordings: a folder of event files of any camera, by class (docs/data.md)",
        "-",
        "snnprune.data.events.recordings:RECORDINGS",
        frozenset({"events", "cached", "files", "own", "undivided"}),
    ),
    "digits-events": Entry(
        "1,797 scanned digits seen by a simulated event camera; comes with the package",
        "scikit-learn (UCI optical recognition of handwritten digits); simulation after Orchard et al. 2015",
        "snnprune.data.digits:DIGITS_EVENTS",
        frozenset({"events", "embedded", "cached", "divided"}),
    ),
    "synthetic-spoken-digits": Entry(
        "synthetic speech through a simplified cochlea, a stand-in for SHD; comes with the package",
        "formants of Peterson and Barney 1952; cochlea after Cramer et al. 2022",
        "snnprune.data.spoken_digits:SYNTHETIC_SPOKEN_DIGITS",
        frozenset({"events", "embedded", "cached", "channels", "divided"}),
    ),
    "nmnist": Entry(
        "N-MNIST: handwritten digits recorded by an event camera in three saccades, 34 x 34",
        "Orchard et al., Frontiers in Neuroscience 9:437, 2015",
        "snnprune.data.neuromorphic:NMNIST",
        frozenset({"events", "cached", "files"}),
    ),
    "dvs-gesture": Entry(
        "DVS128 Gesture: 11 hand and arm gestures recorded by an event camera, 128 x 128",
        "Amir et al., CVPR 2017",
        "snnprune.data.neuromorphic:DVS_GESTURE",
        frozenset({"events", "cached", "files"}),
    ),
    "poker-dvs": Entry(
        "POKER-DVS: the four suits of cards flicked past an event camera, 35 x 35",
        "Serrano-Gotarredona and Linares-Barranco, Frontiers in Neuroscience 9:481, 2015",
        "snnprune.data.neuromorphic:POKER_DVS",
        frozenset({"events", "cached", "files"}),
    ),
    "cifar10-dvs": Entry(
        "CIFAR10-DVS: 10,000 moving images of CIFAR-10 seen by an event camera, 128 x 128",
        "Li et al., Frontiers in Neuroscience 11:309, 2017",
        "snnprune.data.events.published:CIFAR10_DVS",
        frozenset({"events", "cached", "files", "undivided"}),
    ),
    "n-caltech101": Entry(
        "N-Caltech101: images of 101 kinds of things recorded in three saccades, 240 x 180",
        "Orchard et al., Frontiers in Neuroscience 9:437, 2015",
        "snnprune.data.events.published:N_CALTECH101",
        frozenset({"events", "cached", "files", "undivided"}),
    ),
    "n-cars": Entry(
        "N-CARS: cars and background, cut from recordings of a driving car, up to 120 x 100",
        "Sironi et al., HATS, CVPR 2018",
        "snnprune.data.events.published:N_CARS",
        frozenset({"events", "cached", "files"}),
    ),
    "asl-dvs": Entry(
        "ASL-DVS: 24 letters of the American Sign Language, 240 x 180",
        "Bi et al., ICCV 2019",
        "snnprune.data.events.published:ASL_DVS",
        frozenset({"events", "cached", "files", "undivided"}),
    ),
    "dvs-lip": Entry(
        "DVS-Lip: 100 words read from lips, 128 x 128",
        "Tan et al., CVPR 2022",
        "snnprune.data.events.published:DVS_LIP",
        frozenset({"events", "cached", "files"}),
    ),
    "shd": Entry(
        "SHD: spoken digits in English and German as spikes of 700 channels of a cochlea",
        "Cramer et al., IEEE TNNLS 33, 2022",
        "snnprune.data.events.spoken:SHD",
        frozenset({"events", "cached", "files", "channels"}),
    ),
    "ssc": Entry(
        "SSC: 35 spoken commands as spikes of 700 channels of a cochlea",
        "Cramer et al., IEEE TNNLS 33, 2022",
        "snnprune.data.events.spoken:SSC",
        frozenset({"events", "cached", "files", "channels", "divided"}),
    ),
    "mnist": Entry(
        "MNIST: 70,000 grey images of handwritten digits, 28 x 28",
        "LeCun et al., Proceedings of the IEEE 86(11), 1998",
        "snnprune.data.static:MNIST",
        frozenset(),
    ),
    "fashion-mnist": Entry(
        "Fashion-MNIST: 70,000 grey images of clothing, 28 x 28",
        "Xiao et al., arXiv:1708.07747, 2017",
        "snnprune.data.static:FASHION_MNIST",
        frozenset(),
    ),
    "cifar10": Entry(
        "CIFAR-10: 60,000 colour images of ten kinds of things, 32 x 32",
        "Krizhevsky, University of Toronto, 2009",
        "snnprune.data.cifar:CIFAR10",
        frozenset({"cached", "files"}),
    ),
}

NIR_MODEL = "snnprune.export.nir_model:network"
"""The network that a NIR file holds. It needs the file, so it is not among `MODELS`, which need nothing."""

MODELS: dict[str, Entry] = {
    "conv-snn": Entry(
        "spiking 15C3-40C3-300FC, the small convolutional net for digits and gestures",
        "DPAP paper",
        "snnprune.nn.models.papers:conv_snn",
        frozenset({"time"}),
    ),
    "vgg-snn": Entry(
        "spiking net of six convolutions with batch norm, for colour images",
        "DPAP paper",
        "snnprune.nn.models.papers:vgg_snn",
        frozenset({"time"}),
    ),
    "mlp-snn": Entry(
        "spiking net with one hidden layer",
        "DPAP paper",
        "snnprune.nn.models.papers:mlp_snn",
        frozenset({"time"}),
    ),
    "rsnn": Entry(
        "spiking net of two layers that are wired to themselves, for sound; the readout may not spike",
        "Cramer et al. 2022; thresholds: Yin et al. 2021; time constants: Perez-Nieves et al. 2021",
        "snnprune.nn.models.recurrent:rsnn",
        frozenset({"time", "recurrent"}),
    ),
    "wta-snn": Entry(
        "spiking net of units that compete, which learns without gradients (STDP), for grey images",
        "Diehl and Cook, Frontiers in Computational Neuroscience 9:99, 2015",
        "snnprune.nn.models.wta:wta_snn",
        frozenset({"time", "local", "compete"}),
    ),
    "rbm-snn": Entry(
        "spiking Boltzmann machine, which learns without gradients (event-driven contrastive divergence)",
        "Neftci et al., Frontiers in Neuroscience 7:272, 2014, and 10:241, 2016",
        "snnprune.nn.models.rbm:rbm_snn",
        frozenset({"time", "local"}),
    ),
    "conv-ann": Entry(
        "conv-snn with ReLU in place of spikes, without time",
        "twin of conv-snn",
        "snnprune.nn.models.papers:conv_ann",
        frozenset(),
    ),
    "vgg-ann": Entry(
        "vgg-snn with ReLU in place of spikes, without time",
        "twin of vgg-snn",
        "snnprune.nn.models.papers:vgg_ann",
        frozenset(),
    ),
    "mlp-ann": Entry(
        "one hidden layer without time: ReLU, or with model.activation sigmoid the BSP and BDNN papers' net",
        "twin of mlp-snn; BSP, BDNN-sp and BDNN-dsd papers",
        "snnprune.nn.models.papers:mlp_ann",
        frozenset(),
    ),
    "lenet-ann": Entry(
        "20C5-50C5-500FC with ReLU, for grey images",
        "DPAP paper",
        "snnprune.nn.models.papers:lenet_ann",
        frozenset(),
    ),
    "vgg16-ann": Entry(
        "VGG16 with batch norm and ReLU, for colour images",
        "DPAP paper",
        "snnprune.nn.models.papers:vgg16_ann",
        frozenset(),
    ),
}

METHODS: dict[str, Entry] = {
    "dense": Entry(
        "prunes nothing: the baseline that all others are compared with",
        "-",
        "snnprune.pruning.method:Method",
    ),
    "dpap": Entry(
        "prunes units and synapses whose survival function falls below zero",
        "Han et al., DPAP, IEEE TPAMI 2025",
        "snnprune.methods.dpap:DPAP",
    ),
    "dpap-grow": Entry(
        "dpap, and synapses grow where units that have none fire together",
        "Han et al., DPAP, IEEE TPAMI 2025; growth is ours",
        "snnprune.methods.dpap.growing:DPAPGrow",
    ),
    "hebb": Entry(
        "dpap with synapses scored by how often both sides fire together",
        "Han et al., DPAP, Fig. 4H",
        "snnprune.methods.hebb:Hebb",
    ),
    "stdp": Entry(
        "dpap with synapses scored by which side fires first",
        "Han et al., DPAP, Fig. 4H",
        "snnprune.methods.stdp:STDP",
    ),
    "magnitude": Entry(
        "prunes the smallest weights, or the units with the smallest sums of weights",
        "Han et al., NIPS 2015; Zhu and Gupta 2017",
        "snnprune.methods.magnitude:Magnitude",
    ),
    "lamp": Entry(
        "magnitude whose scores of all layers say where the budget goes",
        "Lee et al., ICLR 2021",
        "snnprune.methods.lamp:Lamp",
    ),
    "weight-trace": Entry(
        "prunes the smallest weight times trace: the synapses that carry the least current",
        "after Sun et al., Wanda, ICLR 2024",
        "snnprune.methods.weight_trace:WeightTrace",
    ),
    "taylor": Entry(
        "prunes what the loss would miss least, by first-order gradients",
        "Molchanov et al., ICLR 2017",
        "snnprune.methods.taylor:Taylor",
    ),
    "weight-threshold": Entry(
        "removes at intervals what is below a share of the largest weight; survivors may be quantised",
        "Rathi et al., IEEE TCAD 2019",
        "snnprune.methods.weight_threshold:WeightThreshold",
    ),
    "soft-pruning": Entry(
        "holds small weights of neurons that have fired often at the lowest value, or removes them",
        "Shi et al., Frontiers in Neuroscience 2019",
        "snnprune.methods.soft_pruning:SoftPruning",
    ),
    "adaptive-threshold": Entry(
        "prunes the smallest weights, by thresholds that follow the firing of each neuron",
        "after Guo et al., Frontiers in Neuroscience 2020",
        "snnprune.methods.adaptive_threshold:AdaptiveThreshold",
    ),
    "variance": Entry(
        "prunes what contributes the least variance, and folds its mean into the bias behind it",
        "after Sietsma and Dow, Neural Networks 1991; on traces",
        "snnprune.methods.variance:Variance",
    ),
    "second-order": Entry(
        "prunes what the currents of a layer can do without, and fits the rest again",
        "Hassibi and Stork, Optimal Brain Surgeon, NIPS 1992; on traces",
        "snnprune.methods.second_order:SecondOrder",
    ),
    "sf-imp": Entry(
        "prunes the weights that are least likely to change a spike, by membrane potentials",
        "SF-IMP; chance by a normal distribution of potentials",
        "snnprune.methods.sf_imp:SFIMP",
    ),
    "twins": Entry(
        "merges units that compute nearly the same, and prunes the smallest weights",
        "Srinivas and Babu, Data-free Parameter Pruning, BMVC 2015",
        "snnprune.methods.twins:Twins",
    ),
    "l1-filters": Entry(
        "prunes the filters with the smallest sums of weights, once, and trains on",
        "Li et al., ICLR 2017",
        "snnprune.methods.l1_filters:L1Filters",
    ),
    "auto-balanced": Entry(
        "pulls weak filters to zero and lets strong ones grow, then prunes the weak",
        "Ding et al., AAAI 2018",
        "snnprune.methods.auto_balanced:AutoBalanced",
    ),
    "meta-filters": Entry(
        "prunes filters by norm or distance, in each round by what changes the network least",
        "He et al., arXiv:1904.03961, 2019",
        "snnprune.methods.meta_filters:MetaFilters",
    ),
    "arch-learning": Entry(
        "learns a gate for each unit, pushed to 0 or 1, and prunes the units behind the smallest",
        "Srinivas and Babu, BMVC 2016",
        "snnprune.methods.arch_learning:ArchLearning",
    ),
    "random": Entry(
        "prunes synapses or units at random: the baseline of every other method",
        "-",
        "snnprune.methods.random:Random",
    ),
    "deep-r": Entry(
        "sparse from the start: prunes weights that change sign, regrows at random",
        "Bellec et al., Deep Rewiring, ICLR 2018",
        "snnprune.methods.deep_r:DeepR",
    ),
    "grad-r": Entry(
        "gradients move hidden strengths: pruned below zero, regrown above it",
        "Chen et al., Gradient Rewiring, IJCAI 2021",
        "snnprune.methods.grad_r:GradR",
    ),
    "stds": Entry(
        "a rising threshold sets small weights to zero; they may grow back above it",
        "Chen et al., STDS, ICML 2022",
        "snnprune.methods.stds:STDS",
    ),
    "admm": Entry(
        "pulls weights towards a sparse copy of themselves, then prunes to it",
        "Deng et al., IEEE TNNLS 2021",
        "snnprune.methods.admm:ADMM",
    ),
    "set": Entry(
        "sparse from the start: the weakest synapses die after each epoch, as many grow at random",
        "Mocanu et al., SET, Nature Communications 2018",
        "snnprune.methods.set:SET",
    ),
    "rigl": Entry(
        "sparse from the start: the weakest synapses die, others grow where gradients are largest",
        "Evci et al., RigL, ICML 2020",
        "snnprune.methods.rigl:RigL",
    ),
    "ndsnn": Entry(
        "rigl in which more synapses die than grow",
        "Huang et al., NDSNN, DAC 2023",
        "snnprune.methods.ndsnn:NDSNN",
    ),
    "ch-snn": Entry(
        "sparse from the start: weak links die by lot, links grow where short paths suggest them",
        "Hua et al., CH-SNN, ICLR 2026",
        "snnprune.methods.ch_snn:CHSNN",
    ),
    "sd-snn": Entry(
        "bounds of weights follow their use: neurons of small ones die, synapses of large gradients regrow",
        "Han et al., SD-SNN, arXiv:2211.12219, 2022",
        "snnprune.methods.sd_snn:SDSNN",
    ),
    "bsp": Entry(
        "prunes synapses that stay among the weakest for many epochs in a row",
        "Zhao and Zeng, BSP, Front. Syst. Neurosci. 2021",
        "snnprune.methods.bsp:BSP",
    ),
    "bdnn-sp": Entry(
        "prunes the least important neurons until the network's fitness peaks",
        "Zhao et al., BDNN-sp, ICONIP 2017",
        "snnprune.methods.bdnn_sp:BDNNsp",
    ),
    "bdnn-dsd": Entry(
        "keeps each weight within a bound that moves with it; prunes nothing",
        "Zhao et al., BDNN-dsd, Neural Computation 2022",
        "snnprune.methods.bdnn_dsd:BDNNdsd",
    ),
}
