"""What stands around a network: compiled forms of it, and wrappers that train it on several devices."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

DISTRIBUTED = (nn.DataParallel, nn.parallel.DistributedDataParallel)
"""Wrappers that hold the network as ``module``."""


def is_compiled(module: nn.Module) -> bool:
    """Tell whether ``module`` is what `torch.compile` returns, which holds the module as ``_orig_mod``."""
    # Nothing is compiled before this was imported, and it takes a second.
    return isinstance(module, getattr(sys.modules.get("torch._dynamo.eval_frame"), "OptimizedModule", ()))


def inside(model: nn.Module) -> nn.Module:
    """Return the network itself, without what stands around it."""
    return model.get_submodule(prefix(model).removesuffix("."))


def prefix(model: nn.Module) -> str:
    """Return what the names of the network's layers begin with in ``model``, such as "_orig_mod."."""
    name = "_orig_mod" if is_compiled(model) else "module" if isinstance(model, DISTRIBUTED) else None
    return "" if name is None else f"{name}.{prefix(model.get_submodule(name))}"


def unwrap_layers(model: nn.Module) -> None:
    """Put the layers themselves in the place of those that were compiled alone, in place."""
    for name, module in [*model.named_modules()]:
        if name and is_compiled(module):
            model.set_submodule(name, module.get_submodule("_orig_mod"))


def as_written() -> AbstractContextManager[Any]:
    """Return a context in which compiled modules run as they are written, so that hooks on layers are called.

    `torch.compile` does not look for hooks that came after it, and compiles anew for every other shape.
    """
    used = "torch._dynamo.eval_frame" in sys.modules
    return torch.compiler.set_stance("force_eager") if used else nullcontext()


def forget_compiled(model: nn.Module) -> None:
    """Let graphs that were compiled before hooks came be compiled anew, since they would skip the hooks."""
    if any(is_compiled(m) or m._compiled_call_impl is not None for m in model.modules()):
        torch.compiler.reset()
