"""Which hooks a network or an optimiser has: the one place in tests that knows where torch keeps them."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

FOR_ALL = ("torch.nn.modules.module", "torch.optim.optimizer")
"""Modules of torch in which the hooks lie that hold for all networks or optimisers."""


def hooks(model: nn.Module) -> Counter[str]:
    """Count hooks by module and kind, and those that hold for all modules or optimisers."""
    owners: list[tuple[str, Any]] = [*model.named_modules(), *((name, sys.modules[name]) for name in FOR_ALL)]
    return sum((own_hooks(owner, name) for name, owner in owners), Counter())


def own_hooks(owner: Any, name: str = "") -> Counter[str]:
    """Count by kind the hooks of one module, or of one optimiser."""
    return Counter(
        {
            f"{name} {kind}": len(held)
            for kind, held in vars(owner).items()
            if "hooks" in kind and isinstance(held, dict) and held
        }
    )
