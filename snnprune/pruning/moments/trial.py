"""Let a fresh optimiser train a stand-in, to see what it keeps and what it makes of it."""

from __future__ import annotations

import random
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from snnprune.pruning.moments.places import keyed, leaves, nested
from snnprune.pruning.traces import full_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from snnprune.pruning.moments.places import Path

STEPS = 8
"""Enough for what an optimiser does every few steps, such as mixing in slow weights every 5 or 6."""


@dataclass
class Trial:
    """A stand-in and what the optimiser that trained it keeps.

    Attributes:
        optimizer: the fresh optimiser.
        standin: its only parameter.
        before: the stand-in's weights before the first step.
    """

    optimizer: Any
    standin: nn.Parameter
    before: Tensor

    @property
    def leaves(self) -> dict[Path, Any]:
        """What is kept of the stand-in, by path."""
        return {
            (*path, *inside): leaf
            for path, mapping in keyed(self.optimizer)
            for inside, _, leaf in leaves(mapping.get(self.standin))
            if not shares(leaf, self.standin)
        }

    @property
    def others(self) -> dict[Path, tuple[int, ...]]:
        """Shapes of the tensors that the optimiser keeps beside that, by path."""
        return {
            (*path, name, *inside): tuple(leaf.shape)
            for path, each in nested(self.optimizer)
            for name, value in vars(each).items()
            for inside, _, leaf in leaves(value)
            if isinstance(leaf, torch.Tensor) and not shares(leaf, self.standin)
        }

    @property
    def movement(self) -> Tensor:
        """How far the stand-in has moved."""
        return self.standin.detach() - self.before


def shares(leaf: Any, parameter: Tensor) -> bool:
    """Tell whether a leaf is the parameter, its gradient, or a view of either."""
    if type(leaf) not in {torch.Tensor, nn.Parameter}:
        return False
    own = [t for t in (parameter, parameter.grad) if t is not None]
    return leaf.numel() > 0 and any(
        leaf.untyped_storage().data_ptr() == t.untyped_storage().data_ptr() for t in own
    )


def train(
    make: Callable[[Tensor], Any],
    weights: Tensor,
    gradients: list[Tensor],
    *,
    graph: bool,
    after: Callable[[Any, Tensor], None] | None = None,
) -> Trial:
    """Train a stand-in for one step with each gradient.

    Args:
        make: makes the optimiser of a stand-in.
        weights: of the stand-in; what is 0 is dead, and is set to 0 again after each step.
        gradients: of each step, of the shape of the weights, 0 where these are dead.
        graph: whether gradients keep their graph, as optimisers of second order want.
        after: called with optimiser and stand-in after each step.
    """
    torch.manual_seed(0)
    standin = nn.Parameter(weights.clone())
    optimizer = make(standin)
    if callable(getattr(optimizer, "train", None)):
        optimizer.train()  # of those that have two modes
    for gradient in gradients:
        step(optimizer, standin, gradient, graph=graph)
        with torch.no_grad():
            standin.masked_fill_(weights == 0, 0)
        if after is not None:
            after(optimizer, standin)
    return Trial(optimizer, standin, weights)


def step(optimizer: Any, standin: Tensor, gradient: Tensor, *, graph: bool) -> None:
    """Take one step with a gradient.

    With ``graph``, the gradient is that of a loss whose curvature is 1 in the living entries.
    """

    def closure() -> Tensor:
        if not graph:
            standin.grad = gradient.clone()
            return (gradient * standin.detach()).sum()
        standin.grad = None
        bowl = ((standin - standin.detach()) * (gradient != 0)).square().sum() / 2
        loss = (gradient * standin).sum() + bowl
        loss.backward(create_graph=True)  # type: ignore[no-untyped-call]
        return loss

    closure()
    optimizer.step(closure)


@contextmanager
def unnoticed(device: torch.device) -> Iterator[None]:
    """Leave random numbers, warnings and modes around a trial as they were; compile nothing for it."""
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global generator
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(full_precision(device))
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numbers)  # noqa: NPY002
