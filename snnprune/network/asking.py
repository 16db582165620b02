"""A copy of a neuron is asked by itself what it answers to inputs, and with values, of the asker's choice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.axes import tensors_in
from snnprune.network.duplicate import duplicate, reset_states
from snnprune.network.untouched import seed_dice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

SIZES = (4, 3, 5)
"""Sizes of the axes in front of the channels where the probe chooses them: all different."""

PLACES = 3
"""Size of each axis behind the channels, at most: pictures of a neuron may be large."""

SCALES = (1.0, 0.3, 3.0, 0.1, 10.0, 100.0, 1000.0)
"""Of the inputs: a neuron whose threshold none of them reaches shows no dependence on anything."""


@dataclass(frozen=True)
class Asked:
    """A neuron, and what it was given in a forward.

    Attributes:
        module: the neuron, which is left as it is.
        args: what it was given.
        kwargs: the same.
        x: the tensor among these that the projections reach.
        dim: axis of the channels of ``x``, counted from the end.
        fixed: parameters and buffers that each copy has in place of the module's own, by name.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    x: Tensor
    dim: int
    fixed: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Axis of the channels, counted from the front."""
        return self.x.ndim + self.dim

    def answer(self, given: Tensor, values: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the activity that a copy at rest answers to ``given``.

        Args:
            given: in place of ``x``.
            values: parameters and buffers that the copy has in place of its own, by name.

        Raises:
            ValueError: it answers in another shape.
        """
        out = self.outputs(given, values)[0]
        if out.shape != given.shape:
            raise ValueError("a neuron answers in the shape of its input")
        return out

    def outputs(
        self, given: Tensor, values: Mapping[str, Tensor] | None = None, *, training: bool = False
    ) -> list[Tensor]:
        """Return all tensors that a copy at rest answers to ``given``."""
        probe = duplicate(self.module).train(training)
        reset_states(probe)
        with torch.no_grad():
            own = dict([*probe.named_parameters(), *probe.named_buffers()])
            for name, value in {**self.fixed, **(values or {})}.items():
                own[name].copy_(value)
        seed_dice(0, given.device)  # a neuron may draw numbers; whoever calls puts the generators back
        swapped = [given if a is self.x else a for a in self.args]
        named = {k: given if v is self.x else v for k, v in self.kwargs.items()}
        return tensors_in(probe(*swapped, **named))

    def shapes(self) -> Iterator[torch.Size]:
        """Yield shapes to ask with: small ones where ``x`` is all that it is given, then that of ``x``."""
        x, front = self.x, self.channels
        if [t is x for t in tensors_in([self.args, dict(self.kwargs)])] == [True]:
            sizes = [SIZES[i % len(SIZES)] for i in range(front)]
            yield torch.Size([*sizes, x.shape[front], *(min(size, PLACES) for size in x.shape[front + 1 :])])
            yield torch.Size([*sizes, *x.shape[front:]])
        yield x.shape

    def inputs(self, shape: torch.Size) -> Iterator[tuple[float, Tensor]]:
        """Yield random inputs of ``shape``, each with its scale."""
        dice = torch.Generator().manual_seed(0)
        for scale in SCALES:
            drawn = torch.rand(shape, generator=dice, dtype=torch.float64)
            yield scale, (drawn * scale).to(self.x)
