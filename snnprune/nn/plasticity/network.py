"""Networks that learn by a rule of their own, without a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from snnprune.nn.models.notation import Network
from snnprune.nn.plasticity.readout import Responses

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor, nn

    from snnprune.config.schema import ModelConfig
    from snnprune.nn.plasticity.watching import Watched


class LocalNetwork(Network):
    """A network with one layer that learns without gradients, and a readout that is set from labels.

    `snnprune.training` trains each network of this class by `rule` and `learn`, in place of an optimiser.
    A network whose readout learns, too, has a `learn` of its own.

    Args:
        config: settings of the model.

    Attributes:
        readout: name of the linear layer behind the neurons of the rule.
        at_once: samples between two changes of the weights, at most. With 50 the same competing units win too
            many of them in a row: after an epoch of 6,000 digits of MNIST 24 % were right, and 78 % with 10
            (one seed).
    """

    spiking = True
    loss = "mse"
    readout = "out"
    at_once: ClassVar[int] = 10

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self._responses: Responses | None = None

    def rule(self) -> Any:
        """Return the rule, which changes the weights of a layer of this network: a `Rule` with a ``step``."""
        raise NotImplementedError

    def begin_epoch(self) -> None:
        """Forget what units answered to in the epoch before."""
        self._responses = None  # the network may be cut before the first batch

    def learn(
        self,
        rule: Any,
        seen: Watched,
        labels: Tensor,
        alive: Callable[[nn.Module], Tensor | None],
        generator: torch.Generator,  # noqa: ARG002 - of networks whose rule draws
    ) -> None:
        """Change the weights by a forward that was watched, and label the units anew.

        Args:
            rule: what `rule` returned.
            seen: spikes on both sides of its layer, [T, B, units].
            labels: classes [B] of the samples.
            alive: returns the synapses of a layer that there are, bool as its weights; None: all.
            generator: for a rule that draws at random.
        """
        rule.step(seen, alive(rule.layer))
        spikes, readout = seen.both()[1], self._readout()
        if self._responses is None:
            self._responses = Responses(len(readout.weight), spikes.shape[2])
        self._responses.add(spikes.sum(0), labels)
        self.read_out(self._responses.weights())

    def read_out(self, weights: Tensor) -> None:
        """Set the weights [K, N] of the readout."""
        self._readout().weight.detach().copy_(weights)

    def _readout(self) -> Any:
        return self.get_submodule(self.readout)
