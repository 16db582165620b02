"""What a name stands for: data sets, models and methods, with a line on each.

The tables hold places ("module:attribute"), not objects, so that reading them imports nothing heavy and
no room has to know the rooms above it. An object works wherever a name does.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

from snnprune.common.errors import UserError


@dataclass(frozen=True)
class Entry:
    """One name that a user may write.

    Attributes:
        summary: a line for somebody who does not know it.
        source: the paper or the archive that it comes from.
        place: "module:attribute" of the callable that builds it.
    """

    summary: str
    source: str
    place: str

    def load(self) -> Any:
        """Import the module and return the attribute."""
        module, _, attribute = self.place.partition(":")
        return getattr(importlib.import_module(module), attribute)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint naming the entry of ``known`` that is nearest to ``word``, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"choose one of: {', '.join(known)}"


def pick(table: Mapping[str, Entry], kind: str, name: str) -> Entry:
    """Look ``name`` up in ``table``; "module:attribute" stands for a thing of the user's own.

    Raises:
        UserError: the name is not in the table; the message names the nearest one.
    """
    if ":" in name:
        return Entry(f"your own {kind}", name, name)
    if name not in table:
        raise UserError(f"there is no {kind} called '{name}': {nearest(name, table)}")
    return table[name]


def options_of(table: Mapping[str, Entry], kind: str, name: str) -> dict[str, Any]:
    """Return the options of what ``name`` stands for, with their defaults.

    Raises:
        UserError: no such name.
    """
    builder = pick(table, kind, name).load()
    return {option.name: option.default for option in inspect.signature(builder).parameters.values()}


def build(table: Mapping[str, Entry], kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """Build what ``name`` stands for with ``options``.

    Raises:
        UserError: no such name, no such option, or a value that the builder refuses.
    """
    known = options_of(table, kind, name)
    for option, value in options.items():
        if option not in known:
            hint = nearest(option, known) if known else "it takes none"
            raise UserError(f"{kind} '{name}' has no option '{option}': {hint}")
        number = isinstance(known[option], int | float) and not isinstance(known[option], bool)
        if number and value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"option '{option}' of {kind} '{name}' is a number, and came as {value!r}")
    try:
        return pick(table, kind, name).load()(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"{kind} '{name}' refuses its options: {error}") from error


DATASETS: dict[str, Entry] = {
    "digits-events": Entry(
        "1,797 scanned digits seen by a simulated event camera; comes with the package",
        "scikit-learn (UCI optical recognition of handwritten digits); simulation after Orchard et al. 2015",
        "snnprune.data.digits:DIGITS_EVENTS",
    ),
    "nmnist": Entry(
        "N-MNIST: handwritten digits recorded by an event camera in three saccades, 34 x 34",
        "Orchard et al., Frontiers in Neuroscience 9:437, 2015",
        "snnprune.data.neuromorphic:NMNIST",
    ),
    "dvs-gesture": Entry(
        "DVS128 Gesture: 11 hand and arm gestures recorded by an event camera, 128 x 128",
        "Amir et al., CVPR 2017",
        "snnprune.data.neuromorphic:DVS_GESTURE",
    ),
    "poker-dvs": Entry(
        "POKER-DVS: the four suits of cards flicked past an event camera, 35 x 35",
        "Serrano-Gotarredona and Linares-Barranco, Frontiers in Neuroscience 9:481, 2015",
        "snnprune.data.neuromorphic:POKER_DVS",
    ),
    "mnist": Entry(
        "MNIST: 70,000 grey images of handwritten digits, 28 x 28",
        "LeCun et al., Proceedings of the IEEE 86(11), 1998",
        "snnprune.data.static:MNIST",
    ),
    "fashion-mnist": Entry(
        "Fashion-MNIST: 70,000 grey images of clothing, 28 x 28",
        "Xiao et al., arXiv:1708.07747, 2017",
        "snnprune.data.static:FASHION_MNIST",
    ),
    "cifar10": Entry(
        "CIFAR-10: 60,000 colour images of ten kinds of things, 32 x 32",
        "Krizhevsky, University of Toronto, 2009",
        "snnprune.data.cifar:CIFAR10",
    ),
}

MODELS: dict[str, Entry] = {
    "conv-snn": Entry(
        "spiking 15C3-40C3-300FC, the small convolutional net for digits and gestures",
        "DPAP paper",
        "snnprune.nn.models.papers:conv_snn",
    ),
    "vgg-snn": Entry(
        "spiking net of six convolutions with batch norm, for colour images",
        "DPAP paper",
        "snnprune.nn.models.papers:vgg_snn",
    ),
    "mlp-snn": Entry("spiking net with one hidden layer", "DPAP paper", "snnprune.nn.models.papers:mlp_snn"),
    "conv-ann": Entry(
        "conv-snn with ReLU in place of spikes, without time",
        "twin of conv-snn",
        "snnprune.nn.models.papers:conv_ann",
    ),
    "vgg-ann": Entry(
        "vgg-snn with ReLU in place of spikes, without time",
        "twin of vgg-snn",
        "snnprune.nn.models.papers:vgg_ann",
    ),
    "mlp-ann": Entry(
        "one hidden layer without time: ReLU, or with model.activation sigmoid the BSP and BDNN papers' net",
        "twin of mlp-snn; BSP, BDNN-sp and BDNN-dsd papers",
        "snnprune.nn.models.papers:mlp_ann",
    ),
    "lenet-ann": Entry(
        "20C5-50C5-500FC with ReLU, for grey images", "DPAP paper", "snnprune.nn.models.papers:lenet_ann"
    ),
    "vgg16-ann": Entry(
        "VGG16 with batch norm and ReLU, for colour images",
        "DPAP paper",
        "snnprune.nn.models.papers:vgg16_ann",
    ),
}

METHODS: dict[str, Entry] = {
    "dense": Entry(
        "prunes nothing: the network that all others are compared with",
        "-",
        "snnprune.pruning.method:Method",
    ),
    "dpap": Entry(
        "units that learn little lose strength every epoch, and die when it is gone",
        "Han et al., DPAP, IEEE TPAMI 2025",
        "snnprune.methods.dpap:DPAP",
    ),
    "hebb": Entry(
        "dpap, but synapses are scored by how often both sides fire together",
        "Han et al., DPAP, Fig. 4H",
        "snnprune.methods.hebb:Hebb",
    ),
    "stdp": Entry(
        "dpap, but synapses are scored by which side fires first",
        "Han et al., DPAP, Fig. 4H",
        "snnprune.methods.stdp:STDP",
    ),
    "magnitude": Entry(
        "the smallest weights die, or the neurons with the smallest sums of them",
        "Han et al., NIPS 2015; Zhu and Gupta 2017",
        "snnprune.methods.magnitude:Magnitude",
    ),
    "random": Entry(
        "synapses or neurons die by lot: what every other method has to beat",
        "-",
        "snnprune.methods.random:Random",
    ),
    "deep-r": Entry(
        "sparse from the start: a weight that changes sign dies, one wakes by lot",
        "Bellec et al., Deep Rewiring, ICLR 2018",
        "snnprune.methods.deep_r:DeepR",
    ),
    "grad-r": Entry(
        "gradients move hidden strengths: a synapse dies below zero, wakes above it",
        "Chen et al., Gradient Rewiring, IJCAI 2021",
        "snnprune.methods.grad_r:GradR",
    ),
    "stds": Entry(
        "a rising threshold silences small weights, which may grow back above it",
        "Chen et al., STDS, ICML 2022",
        "snnprune.methods.stds:STDS",
    ),
    "admm": Entry(
        "weights are drawn to a sparse copy of themselves, then cut down to it",
        "Deng et al., IEEE TNNLS 2021",
        "snnprune.methods.admm:ADMM",
    ),
    "bsp": Entry(
        "synapses die that stay among the weakest of the network for many epochs",
        "Zhao and Zeng, BSP, Front. Syst. Neurosci. 2021",
        "snnprune.methods.bsp:BSP",
    ),
    "bdnn-sp": Entry(
        "the least important neurons go until accuracy, stability and weights peak",
        "Zhao et al., BDNN-sp, ICONIP 2017",
        "snnprune.methods.bdnn_sp:BDNNsp",
    ),
    "bdnn-dsd": Entry(
        "each weight stays within a bound that moves with it; nothing is removed",
        "Zhao et al., BDNN-dsd, Neural Computation 2022",
        "snnprune.methods.bdnn_dsd:BDNNdsd",
    ),
}
