"""A spiking Boltzmann machine, which learns by event-driven contrastive divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn

from snnprune.nn.models.notation import check_sizes
from snnprune.nn.plasticity import EventDrivenCD, LocalNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnprune.config.schema import ModelConfig
    from snnprune.nn.plasticity.watching import Watched

HIDDEN = 500
"""Hidden neurons of the authors' networks **[reading]**."""

SPREAD = 0.025
"""Standard deviation of the first weights: currents of a digit of MNIST are then below the threshold."""

QUIET = -0.5
"""First bias of visible neurons: most pixels of a digit are dark."""


class SpikingBoltzmann(LocalNetwork):
    """784-N-K: hidden leaky neurons between inputs and classes, with the same weights in both directions.

    Layers are named flatten, fc1, fc1_lif and out. An answer is one pass: the inputs drive the hidden
    neurons, and the outputs are the mean currents of the units of the classes at a step. In a pass synapses
    do not fail: currents are those of their mean weights. The other direction is used in learning alone.

    Source: Neftci et al. 2014 and 2016, as `EventDrivenCD`. **[reading]** The authors let the units of the
    classes fire and feed back while an image is shown, and take the one that fires most.

    Attributes:
        loss: the outputs' means are the logits of the classes, as in a Boltzmann machine; nothing follows it.
        visible: [I], biases of the visible neurons; only the reconstruction uses them.
    """

    loss = "cross-entropy"
    at_once: ClassVar[int] = 20
    visible: Tensor

    def rule(self) -> EventDrivenCD:
        """Return the rule of both layers, with the constants of the configuration."""
        config, fc1, out = self.config, self.get_submodule("fc1"), self.get_submodule("out")
        assert isinstance(fc1, nn.Linear)
        assert isinstance(out, nn.Linear)
        neurons = self.get_submodule("fc1_lif")
        return EventDrivenCD(fc1, neurons, out, self.visible, eta=config.eta, tau=config.trace)

    def begin_epoch(self) -> None:
        """Nothing begins anew: the readout learns on."""

    def learn(
        self,
        rule: Any,
        seen: Watched,
        labels: Tensor,
        alive: Callable[[nn.Module], Tensor | None],
        generator: torch.Generator,
    ) -> None:
        """Change the weights of both layers by a forward that was watched; see `LocalNetwork.learn`."""
        rule.visible = self.visible  # another tensor where the network has moved to another device since
        rule.step(seen, labels, alive, generator)


def rbm_snn(config: ModelConfig, shape: tuple[int, int, int], classes: int) -> SpikingBoltzmann:
    """Flatten - N hidden LIF neurons - K.

    Args:
        config: settings of the model: ``hidden``, ``membrane``, ``eta``, ``trace``, ``detach_reset``.
        shape: channels, height and width of a frame.
        classes: units of the classes.

    Raises:
        UserError: no class, or no pixel.
    """
    check_sizes(shape, classes)
    inputs, units = shape[0] * shape[1] * shape[2], config.hidden or HIDDEN
    built = SpikingBoltzmann(config)
    built.add_module("flatten", layer.Flatten(step_mode="m"))
    built.add_module("fc1", _drawn(layer.Linear(inputs, units, step_mode="m")))
    neurons = neuron.LIFNode(
        config.membrane, False, 1.0, 0.0, detach_reset=config.detach_reset, step_mode="m"
    )
    built.add_module("fc1_lif", neurons)
    built.add_module("out", _drawn(layer.Linear(units, classes, step_mode="m")))
    built.register_buffer("visible", torch.full((inputs,), QUIET))
    return built


@torch.no_grad()
def _drawn(made: nn.Linear) -> nn.Linear:
    nn.init.normal_(made.weight, 0.0, SPREAD)
    nn.init.zeros_(made.bias)
    return made
