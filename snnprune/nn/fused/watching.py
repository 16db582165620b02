"""Which hooks stand on a layer that is to be fused with others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.modules import module as torch_module

if TYPE_CHECKING:
    from torch import nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_watched(module: nn.Module, content: int = 0) -> bool:
    """Tell whether ``module`` has more hooks than the ``content`` ones that can be served when fused."""
    everywhere = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
    return sum(len(getattr(module, hooks)) for hooks in _HOOKS) > content or any(
        getattr(torch_module, hooks) for hooks in everywhere
    )
