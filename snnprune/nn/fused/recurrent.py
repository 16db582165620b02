"""A layer of neurons that is wired to itself, with one kernel a time step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import layer

from snnprune.nn import recurrent
from snnprune.nn.fused.cells import cell_of
from snnprune.nn.fused.constants import Note
from snnprune.nn.fused.lif import LIFNode
from snnprune.nn.fused.once import once
from snnprune.nn.fused.recurrence import Steps
from snnprune.nn.fused.watching import is_traced, is_watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from snnprune.nn.fused.cell import Cell


class Recurrent(recurrent.Recurrent):
    """`snnprune.nn.recurrent.Recurrent`, faster: same constructor, states, step modes and ``state_dict``.

    Its spikes and potentials are the same bit for bit, its gradients to 1e-6 of the largest. It is fast on a
    CPU with fused `LIFNode` neurons, whose exceptions hold here, too. Whatever else it meets runs step by
    step as before: other neurons, a GPU, a layer ``feedback`` that is not plain,
    modes of torch that watch or replace operations, and hooks on ``feedback`` and ``neuron``, which are not
    called otherwise.

    Hooks that can take all steps at once do not prevent it. They have an attribute ``series``, and
    ``hook.series(module, activity)`` is called in place of the hook at every step: a forward pre-hook of
    ``feedback`` with the spikes before each step, a forward hook of ``neuron`` with those of each step, both
    [T, B, size]. They must return None and change nothing.

    Examples:
        >>> import torch
        >>> from snnprune.nn.fused import LIFNode
        >>> from snnprune.nn.fused.recurrent import Recurrent
        >>> layer = Recurrent(LIFNode(), 4)
        >>> layer(torch.rand(10, 3, 4)).shape  # T, B, units
        torch.Size([10, 3, 4])
    """

    def single_step_forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute one time step: currents [B, size] to spikes of the same shape."""
        given = None if args or kwargs else self._begin(x.unsqueeze(0))
        if given is None:
            return super().single_step_forward(x, *args, **kwargs)
        return self._run(x.unsqueeze(0), *given)[0]

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute T time steps: currents [T, B, size] to spikes of the same shape."""
        given = None if args or kwargs else self._begin(x_seq)
        if given is None:
            return super().multi_step_forward(x_seq, *args, **kwargs)
        return self._run(x_seq, *given)

    def _begin(self, x: Tensor) -> tuple[Cell, Sequence[Tensor | float], Tensor] | None:
        """Return the neurons, what they are given, and the weight; None if the kernels cannot run ``x``."""
        if x.ndim < 3 or x.numel() == 0 or is_traced(x) or self._is_seen() or not self._is_plain():
            return None
        weight, y = self._weight(x), self._memories["y"]
        fits = (
            weight is not None
            and x.device.type == weight.device.type == "cpu"
            and weight.shape == (x.shape[-1], x.shape[-1])
            and (y is None or (y.shape == x.shape[1:] and y.dtype == x.dtype))
        )
        found = cell_of(self.neuron, x[0]) if fits else None
        return None if weight is None or found is None else (*found, weight)

    def _is_plain(self) -> bool:
        """Tell whether the feedback is a product and nothing else."""
        return type(self.feedback) in {layer.Linear, once(layer.Linear)} and self.feedback.bias is None

    def _is_seen(self) -> bool:
        """Tell whether hooks have to see every step."""
        parts = (self.feedback, self.feedback._forward_pre_hooks), (self.neuron, self.neuron._forward_hooks)
        return any(is_watched(part, len(_readers(hooks))) for part, hooks in parts)

    def _weight(self, x: Tensor) -> Tensor | None:
        """Return the weight as spikes of the dtype of ``x`` are multiplied with it, None if they cannot."""
        weight: Tensor | None = self.feedback._parameters.get("weight")
        if weight is not None and torch.is_autocast_enabled("cpu") and weight.dtype == torch.float32:
            weight = weight.to(torch.get_autocast_dtype("cpu"))
            return weight if x.dtype in {weight.dtype, torch.float32} else None
        return weight if weight is not None and weight.dtype == x.dtype else None

    def _run(self, x: Tensor, cell: Cell, given: Sequence[Tensor | float], weight: Tensor) -> Tensor:
        self.keep_single_step()
        neurons: Any = self.neuron
        note = Note(False, False, False, x.dtype, keep=torch.is_grad_enabled())
        spikes, y, *states = Steps.apply(cell, note, x, weight, self._memories["y"], *given)
        for hook in _readers(self.feedback._forward_pre_hooks):
            hook.series(self.feedback, note.before)  # the states are still those before the first step
        self._memories["y"] = y
        neurons._memories.update(zip(cell.states, states, strict=True))
        if "y" in neurons._memories:
            neurons._memories["y"] = y
        if isinstance(neurons, LIFNode):
            neurons.take(spikes, states[0], note)
        for hook in _readers(neurons._forward_hooks):
            hook.series(neurons, spikes)
        return spikes


def _readers(hooks: Any) -> list[Any]:
    """Return those hooks that take all steps at once."""
    return [hook for hook in hooks.values() if hasattr(hook, "series")]
