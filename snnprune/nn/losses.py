"""The losses of ``train.loss``: functions from scores [B, K] and classes [B] to one number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    Loss = Callable[[Tensor, Tensor], Tensor]


def squared_error(scores: Tensor, labels: Tensor) -> Tensor:
    """L = || onehot - mean_t o_out[t] ||^2, summed over classes, averaged over the batch (DPAP, eq. 3).

    Args:
        scores: output rates [B, K], spikes per step (or what ``train.over_time`` makes of the outputs).
        labels: classes [B].
    """
    wanted = F.one_hot(labels, scores.shape[1]).to(scores.dtype)
    return (wanted - scores).square().sum(1).mean()


def softmax_squared_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Return `squared_error` of the softmax of logits [B, K], in place of rates."""
    return squared_error(scores.softmax(1), labels)


LOSSES: dict[str, Loss] = {
    "mse": squared_error,
    "cross-entropy": F.cross_entropy,
    "softmax-mse": softmax_squared_error,
}


def loss_of(chosen: str, model: nn.Module | None) -> Loss:
    """Return the loss that ``train.loss`` names for a network.

    Args:
        chosen: a name of `LOSSES`, or "auto" for the one that ``model.loss`` names ("mse" without that).
        model: the network.

    Raises:
        UserError: there is no loss of this name.
    """
    name = str(getattr(model, "loss", "mse")) if chosen == "auto" else chosen
    if name not in LOSSES:
        raise UserError(f"there is no loss '{name}': expected one of {', '.join(LOSSES)}")
    return LOSSES[name]
