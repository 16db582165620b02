"""Let a fresh optimiser train a stand-in, to see what it keeps and what it makes of it."""

from __future__ import annotations

import warnings
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.network.untouched import same_dice, seed_dice
from snnprune.pruning.moments.carrying import cut_kept, is_view, kept_of, write_rest
from snnprune.pruning.moments.finding import take
from snnprune.pruning.moments.places import keyed, leaves, nested
from snnprune.pruning.traces import full_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import Tensor

    from snnprune.pruning.moments.finding import Role
    from snnprune.pruning.moments.places import Path

STEPS = 8
"""Enough for what an optimiser does every few steps, such as mixing in slow weights every 5 or 6."""


class Trial:
    """A stand-in, and a fresh optimiser that trains it.

    Args:
        make: makes the optimiser of a stand-in.
        weights: of the stand-in.
        graph: whether gradients keep their graph, as optimisers of second order want.

    Attributes:
        optimizer: the fresh optimiser.
        standin: its only parameter.
        draws: whether its steps drew random numbers.
    """

    def __init__(self, make: Callable[[Tensor], Any], weights: Tensor, *, graph: bool) -> None:
        seed_dice(0, weights.device)
        self.standin, self._graph = nn.Parameter(weights.clone()), graph
        self.optimizer, self.draws = make(self.standin), False
        if callable(getattr(self.optimizer, "train", None)):
            with suppress(AttributeError):  # of a wrapper that hands on to one without modes
                self.optimizer.train()

    def train(self, gradients: Iterable[Tensor], after: Callable[[Trial], None] | None = None) -> Trial:
        """Take one step with each gradient.

        Args:
            gradients: of each step, 0 in dead entries.
            after: called after each step.
        """
        dice = torch.get_rng_state()
        for gradient in gradients:
            step(self.optimizer, self.standin, gradient, graph=self._graph)
            if after is not None:
                after(self)
        self.draws |= not torch.equal(torch.get_rng_state(), dice)
        return self

    @torch.no_grad()
    def bury(self, dead: Tensor, roles: Mapping[Path, Role] | None = None) -> None:
        """Set dead weights to 0, and with ``roles`` what is kept of them to rest."""
        self.standin.masked_fill_(dead, 0)
        for path, leaf in self.leaves.items() if roles is not None else ():
            role = roles.get(path) if roles is not None else None
            if role is not None and role.maskable:
                write_rest(leaf, role, dead)

    @torch.no_grad()
    def cut(self, stays: Sequence[Tensor], roles: Mapping[Path, Role]) -> None:
        """Take the dead out of the stand-in, and of what is kept of it."""
        cut_kept(self.optimizer, self.standin, roles, stays, lambda _: None)
        self.standin.grad = None
        smaller = take(self.standin.detach(), range(len(stays)), stays)
        torch.utils.swap_tensors(self.standin, nn.Parameter(smaller.clone()))

    def forget(self) -> None:
        """Drop what is kept of the stand-in."""
        for _, mapping in list(keyed(self.optimizer)):
            mapping.pop(self.standin, None)

    @property
    def weights(self) -> Tensor:
        """The stand-in's present weights, a copy."""
        return self.standin.detach().clone()

    @property
    def leaves(self) -> dict[Path, Any]:
        """What is kept of the stand-in, by path."""
        return {path: leaf for path, _, _, leaf in kept_of(self.optimizer, self.standin)}

    @property
    def others(self) -> dict[Path, tuple[int, ...]]:
        """Shapes of the tensors that the optimiser keeps beside that, by path."""
        return {
            (*path, name, *inside): tuple(leaf.shape)
            for path, each in nested(self.optimizer)
            for name, value in vars(each).items()
            for inside, _, leaf in leaves(value)
            if isinstance(leaf, torch.Tensor) and not is_view(leaf, self.standin)
        }


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
        loss.backward(create_graph=True)
        return loss

    closure()
    optimizer.step(closure)


@contextmanager
def unnoticed(device: torch.device) -> Iterator[None]:
    """Leave random numbers, warnings and modes around a trial as they were; compile nothing for it."""
    with ExitStack() as stack:
        stack.enter_context(same_dice([device]))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(full_precision(device))
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield
