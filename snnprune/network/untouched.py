"""Run a network, and restore its exact state afterwards."""

from __future__ import annotations

import copy
import random
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from snnprune.network.axes import tensors_in
from snnprune.network.wrappers import as_written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OF_EVERY_MODULE = frozenset(vars(nn.Module()))
"""Attributes that every module has, none of which is a state."""


_runs: list[nn.Module] = []
"""Networks that run within `untouched` or `at_rest` now."""


def is_looked_at() -> bool:
    """Tell whether a network runs now only to be looked at: whatever changes in it is put back."""
    return bool(_runs)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Run in evaluation mode, from fresh states of SpikingJelly's neurons, and restore everything afterwards.

    Restored are the mode, every attribute, parameter and buffer of every module (neurons of any library keep
    their states in these), and the random generators of torch, numpy and Python. Attention runs by its plain
    operations, as it does in training.
    """
    devices = {t.device for t in model.parameters()}
    with same_dice(devices), at_rest(model):
        yield


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Do the same, but let random generators go on, and lazy layers become what a forward makes of them."""
    lazy = [(m, m.training) for m in model.modules() if any(map(is_lazy, _own(m)))]
    whole = [m for m in model.modules() if m not in dict(lazy)]
    attributes = [(m, {k: (v, [*_contents(v)]) for k, v in vars(m).items()}) for m in whole]
    tensors = [(t, t.detach().clone()) for m in whole for t in _states(m)]
    fast = torch.backends.mha.get_fastpath_enabled()
    _runs.append(model)
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for module in model.modules():
            if isinstance(getattr(module, "_memories", None), dict):
                states: Any = module
                states._memories = {**states._memories, **copy.deepcopy(states._memories_rv)}
        model.eval()
        with as_written():
            yield
    finally:
        _runs.pop()
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, saved in attributes:
            vars(module).clear()
            vars(module).update({k: v for k, (v, _) in saved.items()})
            for container, content in (each for _, contents in saved.values() for each in contents):
                refill(container, content)
        for module, training in lazy:
            module.training = training
        for tensor, value in tensors:
            if not torch.equal(tensor, value):
                _put_back(tensor, value)


@torch.no_grad()
def _put_back(tensor: torch.Tensor, value: torch.Tensor) -> None:
    """Give ``tensor`` its value and its shape, which a buffer may have changed; no graph takes note of it."""
    if tensor.shape != value.shape:
        tensor.resize_(value.shape)
    tensor.data.copy_(value)


@contextmanager
def same_dice(devices: Iterable[torch.device]) -> Iterator[None]:
    """Put the generators of torch (on the CPU and on ``devices``), numpy and Python back afterwards."""
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global generator
    try:
        with torch.random.fork_rng(sorted({d.index or 0 for d in devices if d.type == "cuda"})):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)  # noqa: NPY002


def seed_dice(seed: int, device: torch.device) -> None:
    """Seed the random generators of torch (on the CPU and on ``device``), numpy and Python."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global generator
    torch.default_generator.manual_seed(seed)  # torch.manual_seed prepares every kind of device: milliseconds
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)


def _contents(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each dict, list and deque in ``value``, itself included, with a copy of what it holds."""
    if type(value) in {dict, list, deque}:
        yield value, copy.copy(value)
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _contents(inner)


def refill(container: Any, content: Any) -> None:
    """Give a dict, list or deque the content of another one."""
    container.clear()
    (container.update if isinstance(container, dict) else container.extend)(content)


def _own(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yield the parameters and buffers of ``module`` itself."""
    yield from (t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None)


def _states(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yield the tensors of ``module``: buffers, plain parameters, and states in attributes."""
    yield from (b for b in module._buffers.values() if b is not None)
    held = {**vars(module), **module._parameters, **(getattr(module, "_memories", None) or {})}
    own = (t for k, v in held.items() if k not in OF_EVERY_MODULE for t in tensors_in(v))
    strided = (t for t in own if type(t) in {torch.Tensor, nn.Parameter} and t.layout is torch.strided)
    yield from (t for t in strided if not t.is_meta)
