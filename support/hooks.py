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
    """Count the hooks of a network by module and kind."""
    return sum((own_hooks(module, name) for name, module in model.named_modules()), Counter())


def hooks_for_all() -> Counter[str]:
    """Count by kind those that hold for all modules or optimisers; other tests may have left some open."""
    return sum((own_hooks(sys.modules[name], name) for name in FOR_ALL), Counter())


def own_hooks(owner: Any, name: str = "") -> Counter[str]:
    """Count by kind the hooks of one module, or of one optimiser."""
    return Counter(
        {
            f"{name} {kind}": len(held)
            for kind, held in vars(owner).items()
            if "hooks" in kind and isinstance(held, dict) and held
        }
    )
