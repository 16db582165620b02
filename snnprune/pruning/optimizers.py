"""What optimisers hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def parameters(optimizer: Any) -> list[Tensor]:
    """Return the parameters that an optimiser trains."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def holds_any_of(optimizer: Any, model: nn.Module) -> bool:
    """Tell whether ``optimizer`` holds a parameter of ``model``."""
    mine = {id(p) for p in model.parameters()}
    return any(id(p) in mine for p in parameters(optimizer))
