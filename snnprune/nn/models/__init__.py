"""The papers' networks, built of SpikingJelly layers and nodes, and their ANN twins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.config.names import MODELS, pick

if TYPE_CHECKING:
    from snnprune.config.schema import ModelConfig
    from snnprune.nn.models.notation import Network

__all__ = ["build"]


def build(config: ModelConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """Build the network that ``config`` names, freshly initialised from torch's global generator.

    Args:
        config: name of the model, and what it leaves open.
        shape: channels (polarities), height and width of one frame.
        classes: number of output neurons.

    Returns:
        A module that says by ``spiking`` how it is called: frames [T, B, C, H, W] to output spikes
        [T, B, classes], or images [B, C, H, W] to logits [B, classes]; and by ``loss`` which loss it is
        meant for.

    Raises:
        UserError: no such model, or the frames are too small for its pooling.
    """
    network: Network = pick(MODELS, "model", config.name).load()(config, shape, classes)
    return network
