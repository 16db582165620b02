"""What a rule without gradients sees: the activity before a layer and behind its neurons."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


class Rule:
    """A rule that changes the weights of a layer by its activity.

    Args:
        layer: a linear layer.
        neurons: the neurons behind it.
    """

    def __init__(self, layer: nn.Linear, neurons: nn.Module) -> None:
        self.layer, self.neurons = layer, neurons

    @contextmanager
    def watching(self) -> Iterator[Watched]:
        """Watch one forward of a batch inside, [T, B, ...]; hooks are gone behind it."""
        seen = Watched()
        handles = [
            self.layer.register_forward_pre_hook(lambda _, args: seen.take("pre", args[0])),
            self.neurons.register_forward_hook(lambda _, __, output: seen.take("post", output)),
        ]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()


class Watched:
    """What came before a layer and behind its neurons, [T, B, ...], in one forward."""

    def __init__(self) -> None:
        self.pre: Tensor | None = None
        self.post: Tensor | None = None

    def take(self, side: Literal["pre", "post"], activity: Any) -> None:
        """Keep one side's activity, without its graph."""
        setattr(self, side, activity.detach())

    def both(self) -> tuple[Tensor, Tensor]:
        """Return what was seen.

        Raises:
            UserError: it is not the activity of one multi-step forward.
        """
        if self.pre is None or self.post is None or self.pre.ndim != 3 or self.post.ndim != 3:
            raise UserError(
                "expected one forward of the network, in multi-step mode, with spikes [T, B, units] on both "
                "sides of the layer, and saw none: call the network inside of `with rule.watching() as seen:`"
            )
        return self.pre, self.post
