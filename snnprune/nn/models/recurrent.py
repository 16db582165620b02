"""Networks for speech: two layers of neurons that are wired to themselves, and a readout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spikingjelly.activation_based import layer, neuron, surrogate

from snnprune.nn.models.adaptive import AdaptiveLIFNode
from snnprune.nn.models.decays import decay
from snnprune.nn.models.heterogeneous import HeterogeneousLIFNode
from snnprune.nn.models.initial import initialise
from snnprune.nn.models.integrator import LeakyIntegrator
from snnprune.nn.models.notation import Network, check_sizes
from snnprune.nn.recurrent import Recurrent

if TYPE_CHECKING:
    from torch import nn

    from snnprune.config.schema import ModelConfig

HIDDEN = 256
"""Units of each recurrent layer, between the 128 of Cramer et al. and Yin et al. and the 1,024 of Cramer et
al.'s largest network."""

MEMBRANE = 20.0
"""tau_mem in milliseconds, of the neurons and of the readout (Cramer et al. 2022)."""

GAIN = {"lif": 3.0, "alif": 1.0}
"""Gain of the initial weights of each layer (`snnprune.nn.models.initial`). On sounds with events in a
quarter of their cells 7 to 21 % of the neurons of both layers then fire at a step. An alif neuron that has
been silent has a hundredth of the threshold of a lif neuron."""

FEEDBACK = 1.0
"""Gain of the initial weights of the feedback: N(0, 1 / H) has the variance of the orthogonal matrices of Yin
et al. (2021)."""

OUTPUT = {"leaky": (4.0, 0.0), "spikes": (0.5, 0.94)}
"""Gain and bias of the initial weights of the readout. Potentials are averages of rare spikes, so that small
weights begin with equal classes: after ten epochs of synthetic spoken digits validation accuracy was 92.5 %
with gain 4, and 90.5 % with gain 1 (seed 0). Spiking outputs begin just under their threshold of 1."""


def rsnn(config: ModelConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """Flatten - H recurrent - H recurrent - K.

    ``config`` says which neurons (``neuron``, ``tau``) and which output (``readout``). Layers are named
    flatten, fc1, fc1_rec, fc2, fc2_rec, out, and out_li (leaky integrators) or out_lif (neurons that spike).

    **[reading]** Cramer et al. filter the currents of spikes with a time constant of 10 ms. Here a spike's
    current lasts one step, which at frames of 10 to 14 ms is about as long.

    Args:
        config: settings of the model.
        shape: channels, height and width of a frame.
        classes: units of the readout.

    Raises:
        UserError: no class, or no pixel.
    """
    check_sizes(shape, classes)
    size, hidden = shape[0] * shape[1] * shape[2], config.hidden or HIDDEN
    built = Network()
    built.add_module("flatten", layer.Flatten(step_mode="m"))
    for number in (1, 2):
        name = f"fc{number}"
        built.add_module(name, _weighted(size, hidden, GAIN[config.neuron]))
        recurrent = Recurrent(_neurons(config, hidden), hidden)
        initialise(recurrent.feedback, FEEDBACK)
        built.add_module(f"{name}_rec", recurrent)
        if config.dropout:
            built.add_module(f"{name}_dropout", layer.Dropout(config.dropout, step_mode="m"))
        size = hidden
    built.add_module("out", _weighted(size, classes, *OUTPUT[config.readout]))
    if config.readout == "leaky":
        built.add_module("out_li", LeakyIntegrator(decay(MEMBRANE)))
        built.spiking, built.loss = True, "cross-entropy"
    else:
        built.add_module("out_lif", _lif(config, "m"))
        built.spiking, built.loss = True, "mse"
    return built


def _weighted(inputs: int, units: int, gain: float, bias: float = 0.0) -> nn.Module:
    made: nn.Module = layer.Linear(inputs, units, step_mode="m")
    initialise(made, gain, bias)
    return made


def _lif(config: ModelConfig, step_mode: str) -> neuron.LIFNode:
    return neuron.LIFNode(
        tau=1 / (1 - decay(MEMBRANE)),
        decay_input=True,
        v_threshold=1.0,
        v_reset=0.0,
        surrogate_function=surrogate.SoftSign(alpha=2.0),
        detach_reset=config.detach_reset,
        step_mode=step_mode,
    )


def _neurons(config: ModelConfig, size: int) -> neuron.BaseNode:
    own = config.tau == "heterogeneous"
    if config.neuron == "alif":
        return AdaptiveLIFNode(size if own else None, detach_reset=config.detach_reset)
    if own:
        return HeterogeneousLIFNode(size, MEMBRANE, detach_reset=config.detach_reset)
    return _lif(config, "s")
