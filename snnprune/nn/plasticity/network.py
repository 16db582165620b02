"""Networks that learn by a rule of their own, without a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnprune.nn.models.notation import Network

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.config.schema import ModelConfig
    from snnprune.nn.plasticity.stdp import TraceSTDP


class LocalNetwork(Network):
    """A network with one layer that learns without gradients, and a readout that is set from labels.

    `snnprune.training` trains each network of this class by `rule`, in place of an optimiser.

    Args:
        config: settings of the model.

    Attributes:
        readout: name of the linear layer behind the neurons of the rule.
    """

    spiking = True
    loss = "mse"
    readout = "out"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    def rule(self) -> TraceSTDP:
        """Return the rule, which changes the weights of a layer of this network."""
        raise NotImplementedError

    def read_out(self, weights: Tensor) -> None:
        """Set the weights [K, N] of the readout."""
        layer: Any = self.get_submodule(self.readout)
        layer.weight.detach().copy_(weights)
