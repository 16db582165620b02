"""Who looks at single steps and tensors of layers that are to be fused: hooks, and torch itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
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


def is_traced(x: torch.Tensor) -> bool:
    """Tell whether torch follows or replaces single operations on ``x``: modes, compilers, transforms."""
    return (
        type(x) is not torch.Tensor
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack() > 0
    )
