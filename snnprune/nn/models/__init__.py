"""The papers' networks, made of SpikingJelly's layers and neurons, and their ANN twins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.config.check import check_model, check_values
from snnprune.config.names import MODELS, pick

if TYPE_CHECKING:
    from snnprune.config.schema import ModelConfig
    from snnprune.nn.models.notation import Network

__all__ = ["build"]


def build(config: ModelConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """Build the network that ``config`` names, freshly initialised from torch's global generator.

    Args:
        config: name of the model, and its settings.
        shape: channels (polarities), height and width of one frame.
        classes: number of output neurons.

    Returns:
        A module. If ``spiking`` is True, it maps frames [T, B, C, H, W] to output spikes [T, B, classes];
        otherwise images [B, C, H, W] to logits [B, classes]. ``loss`` names the loss that it is meant for.

    Raises:
        UserError: no such model, a setting out of its bounds, frames that are too small for its pooling, or a
            model of the user's own that is not a network or has no attribute ``spiking``.
    """
    check_values(config, "model")
    check_model(config)
    entry = pick(MODELS, "model", config.name)
    network: Network = entry.load()(config, shape, classes)
    if entry.kind is not None and not isinstance(getattr(network, "spiking", None), bool):
        raise UserError(
            f"the model '{config.name}' must return a torch.nn.Module whose attribute spiking is True "
            "(frames [T, B, C, H, W] in, spikes [T, B, classes] out) or False (images [B, C, H, W] in, "
            f"logits [B, classes] out), and returned a {type(network).__name__} without it"
        )
    return network
