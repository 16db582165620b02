"""SpikingJelly's LIFNode with one kernel forward and one backward for all time steps."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from spikingjelly.activation_based import neuron

from snnprune.nn.fused.constants import Constants, Note
from snnprune.nn.fused.convolution import Between, Current, Fed, ready
from snnprune.nn.fused.kernels import kernels, refuse_second_derivative
from snnprune.nn.fused.layout import shown
from snnprune.nn.fused.norm import Norm
from snnprune.nn.fused.surrogates import slope_of

if TYPE_CHECKING:
    from spikingjelly.activation_based import layer
    from torch import Tensor, nn

    from snnprune.nn.fused.constants import Window
    from snnprune.nn.fused.surrogates import Slope

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""Dtypes of inputs. Potentials of 16-bit inputs are in float32."""

_said: set[str] = set()


class LIFNode(neuron.LIFNode):
    """SpikingJelly's `LIFNode`, faster: same constructor, state, step modes, ``state_dict`` and spikes.

    On a CPU its spikes and potentials are those of SpikingJelly bit for bit (float32, float64), its gradients
    to 1e-6 of the largest. With 16-bit floats the potential stays in float32, which is more exact than
    SpikingJelly. The input may have any dense memory layout, and the spikes get the same layout. An input
    that is expanded over time is read once. Some cases run SpikingJelly's own forward, with one
    RuntimeWarning per process: surrogates that are not SpikingJelly's or do not spike, ``store_v_seq``,
    `torch.func` and `torch.compile`.

    A NaN in the input stays in the potential and silences the neuron, as in SpikingJelly. This class gives a
    RuntimeWarning.

    Attributes:
        recording: whether forwards count spikes for `traces`.
        ways: attributes that say how the module computes, not what; they are not saved with a network.

    Examples:
        >>> import torch
        >>> from snnprune.nn.fused import LIFNode
        >>> node = LIFNode(tau=2.0, v_threshold=1.0, step_mode="m")
        >>> node(torch.full((4, 1, 1), 1.5)).flatten()
        tensor([0., 1., 0., 1.])
    """

    recording = False
    ways: ClassVar[frozenset[str]] = frozenset({"recording"})
    _recorded: tuple[Tensor, Tensor | None] | None = None
    _warned = False

    def single_step_forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute one time step: [B, ...] to spikes of the same shape."""
        if self._leaves(x, args or kwargs):
            return super().single_step_forward(x, *args, **kwargs)
        return self._run(x.unsqueeze(0), 1)[0]

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute T time steps: [T, B, ...] to spikes of the same shape."""
        if self._leaves(x_seq, args or kwargs):
            return super().multi_step_forward(x_seq, *args, **kwargs)
        return self._run(x_seq, 1)

    def pooled_forward(self, x_seq: Tensor, square: int, window: Window | None = None) -> Tensor:
        """Compute T steps and pool the spikes, as an ``AvgPool2d`` or ``MaxPool2d`` after this layer.

        Args:
            x_seq: [T, B, C, H, W].
            square: side of the squares that are averaged; neurons beyond the last whole square fire, but are
                in no average. 1 for no average.
            window: of which the maximum is taken in place of an average.

        Returns:
            [T, B, C, H', W'], H' = H // square, or as many as there are windows.
        """
        if x_seq.device.type != "cpu" or self._leaves(x_seq, None):
            spikes = self.multi_step_forward(x_seq)
            if self._is_counting():
                with torch.no_grad():
                    precise = torch.promote_types(spikes.dtype, torch.float32)
                    self._recorded = spikes.sum((-1, -2), dtype=precise), None
            images = spikes.flatten(0, 1)
            if window is None:
                pooled = torch.nn.functional.avg_pool2d(images, square)
            else:
                pooled = torch.nn.functional.max_pool2d(images, window.side, window.stride, window.padding)
            return pooled.unflatten(0, x_seq.shape[:2])
        return self._run(x_seq, square, window)

    def fed_forward(
        self,
        conv: nn.Conv2d,
        x_seq: Tensor,
        square: int,
        *,
        norm: layer.BatchNorm2d | None = None,
        window: Window | None = None,
        others: Tensor | None = None,
    ) -> Tensor:
        """Compute T steps on the output of ``conv`` for ``x_seq``, and pool the spikes.

        Args:
            conv: a convolution that `snnprune.nn.fused.convolution.feeds` allows.
            x_seq: [T, B, C, H, W], its input.
            square: side of the squares that are averaged; 1 for the spikes themselves.
            norm: a batch norm between the two that `snnprune.nn.fused.norm.normalises` allows.
            window: of which the maximum is taken in place of an average.
            others: is added to the spikes, of their shape and dtype; only without a pool.

        Returns:
            [T, B, C', H', W'], the same as from the layers one after the other.
        """
        once = shown(x_seq)
        images = ready(conv, x_seq.flatten(0, 1) if once is None else once)
        current = Current.of(conv, images)
        assert current.value is not None
        like = current.value if once is not None else current.value[: x_seq.shape[1]]
        constants, note = self._asked(
            len(x_seq), square, once is not None, x_seq.dtype, counting=self._is_counting(), window=window
        )
        between = Between(current, _norm(norm, current.value, note, len(x_seq)), constants, note)
        gain, offset = (None, None) if norm is None else (norm.weight, norm.bias)
        spikes, v = Fed.apply(images, conv.weight, conv.bias, self.state(like), gain, offset, others, between)
        return self.take(spikes, v, note)

    def traces(self, tau: float) -> tuple[Tensor, Tensor | None] | None:
        """Return the traces of the last multi-step forward on [T, B, C, H, W], if ``recording`` was True.

            S = sum_t tau^(T-1-t) o[t]          DPAP, equations (5) and (6)

        Args:
            tau: decay per step.

        Returns:
            The trace of the spikes, summed over H x W, and the same of their averages if these were computed
            in the same pass (None otherwise), both [B, C]. None if nothing was recorded.
        """
        if self._recorded is None:
            return None
        post, pre = (self._decayed(counts, tau) for counts in self._recorded)
        assert post is not None
        return post, pre

    def counters(self) -> list[Any]:
        """Return the forward hooks that need only numbers of spikes: those with an attribute ``counts``.

        If this layer is fused with others, ``hook.counts(output, post, pre)`` is called in place of the hook.
        ``output`` is the input of the next layer. ``post`` and ``pre`` are the numbers that `traces` weights:
        spikes [T, B, C], and the sums of their averages (None without a pool).
        """
        return [hook for hook in self._forward_hooks.values() if hasattr(hook, "counts")]

    def _is_counting(self) -> bool:
        return self.recording or bool(self.counters())

    @staticmethod
    def _decayed(counts: Tensor | None, tau: float) -> Tensor | None:
        if counts is None:
            return None
        decay = tau ** torch.arange(len(counts) - 1, -1, -1, dtype=counts.dtype, device=counts.device)
        return torch.tensordot(decay, counts, 1)

    def reset(self) -> None:
        """Reset potentials, and discard the recording."""
        super().reset()
        self._recorded = None

    # --- which forward

    def knows(self, x: Tensor) -> bool:
        """Tell whether the kernels support an input like ``x``."""
        return self._unknown(x, None) is None

    def _leaves(self, x: Tensor, more: Any) -> bool:
        """Tell whether SpikingJelly's own forward has to run. Warn once for each reason."""
        if x.numel() == 0 and (self.step_mode == "m" and (x.ndim == 0 or x.shape[0] == 0)):
            return True  # no time step: SpikingJelly raises its error
        why = self._unknown(x, more)
        if why is not None and why not in _said:
            _said.add(why)
            warnings.warn(
                f"LIF neurons run with SpikingJelly's own, slower forward: {why}",
                RuntimeWarning,
                stacklevel=4,
            )
        return why is not None

    def _unknown(self, x: Tensor, more: Any) -> str | None:  # noqa: PLR0911 - a reason each
        """Return why the kernels do not support this forward, or None."""
        if torch.compiler.is_compiling():
            return "torch.compile makes kernels of its own"
        if torch._C._functorch.peek_interpreter_stack() is not None or type(x) is not torch.Tensor:
            return "torch.func and tensor subclasses need torch's single operations"
        if x.dtype not in DTYPES or x.ndim == 0 or x.device.type not in {"cpu", "cuda"}:
            return f"there is no kernel for {x.dtype} on {x.device.type} with {x.ndim} axes"
        slope = slope_of(self.surrogate_function)
        if slope is None:
            return f"the surrogate {self.surrogate_function} is not one that the kernels know"
        if self.store_v_seq:
            return "store_v_seq asks for the potentials of all steps"
        if self._neuron_precision is not None or more:
            return "a precision or further arguments are given"
        if x.device.type == "cuda" and not _gpu_knows(slope):
            return f"Triton cannot be imported, or its kernels do not know {self.surrogate_function}"
        return None

    # --- the fused one

    def _run(self, x: Tensor, square: int, window: Window | None = None) -> Tensor:
        once = shown(x)
        pooled = square > 1 or window is not None
        counting = x.ndim == 5 and (self._is_counting() if pooled else self.recording)
        constants, note = self._asked(
            len(x), square, once is not None, x.dtype, counting=counting, window=window
        )
        spikes, v = _Steps.apply(x if once is None else once, self.state(x[0]), constants, note)
        return self.take(spikes, v, note)

    def _asked(
        self,
        steps: int,
        square: int,
        once: bool,
        dtype: torch.dtype,
        *,
        counting: bool,
        window: Window | None,
    ) -> tuple[Constants, Note]:
        """Return constants and settings of a forward."""
        spatial = counting or square > 1 or window is not None
        return self.constants(steps, square, window), Note(spatial, counting, once, dtype)

    def constants(self, steps: int, square: int = 1, window: Window | None = None) -> Constants:
        """Return the constants; the surrogate must be one that the kernels know."""
        slope = slope_of(self.surrogate_function)
        assert slope is not None
        return Constants(
            float(self.tau), self.v_threshold, self.v_reset, self.decay_input, self.detach_reset, slope,
            steps, square, window,
        )  # fmt: skip

    def take(self, spikes: Tensor, v: Tensor, note: Note) -> Tensor:
        """Store the state and the counts of a forward, and return its spikes."""
        self._memories["v"] = v
        self._recorded = note.counts
        if note.nan and not self._warned:
            self._warned = True
            warnings.warn(
                "NaN reached a layer of LIF neurons, where it stays and silences them: look for an exploding "
                "weight or a division by zero in front of the layer",
                RuntimeWarning,
                stacklevel=5,
            )
        return spikes

    def state(self, x: Tensor) -> Tensor | float:
        """Return the initial potential, of the shape of one step ``x`` [B, ...], or one number for all.

        A state of another shape is from another batch. It is replaced, as in SpikingJelly.
        """
        v = self._memories["v"]
        if not isinstance(v, torch.Tensor):
            return float(v)
        if v.shape != x.shape:
            return 0.0 if self.v_reset is None else self.v_reset
        return v.to(dtype=torch.float32 if x.element_size() == 2 else x.dtype, device=x.device)


class _Steps(torch.autograd.Function):
    """All steps of a layer: maps input and first potential to spikes and last potential."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor | float, constants: Constants, note: Note) -> Any:
        """Run the kernel of the device."""
        series = x.detach().expand(constants.steps, *x.shape) if note.once else x.detach()
        carried = v.detach() if isinstance(v, torch.Tensor) else v
        ctx.set_materialize_grads(False)
        ctx.constants, ctx.note, ctx.number = constants, note, None
        note.keep = any(ctx.needs_input_grad)
        ctx.device_kernels = kernels(series.device.type)
        spikes, last, kept = ctx.device_kernels.run(series, carried, constants, note)
        if note.keep:
            ctx.number = None if isinstance(v, torch.Tensor) else v
            ctx.save_for_backward(x if kept is None else kept, v if isinstance(v, torch.Tensor) else None)
            ctx.kept = kept is not None
        return spikes, last

    @staticmethod
    def backward(ctx: Any, gs: Tensor | None, gv: Tensor | None) -> Any:
        """Run the backward kernel.

        Raises:
            UserError: a second derivative is asked for.
        """
        refuse_second_derivative()
        kept, v = ctx.saved_tensors
        constants, note = ctx.constants, ctx.note
        series = kept.expand(constants.steps, *kept.shape) if note.once and not ctx.kept else kept
        first = ctx.number if v is None else v
        gx, gv0, *_ = ctx.device_kernels.run_back(series, first, gs, gv, constants, note)
        return gx, gv0 if ctx.needs_input_grad[1] else None, None, None


def _norm(module: layer.BatchNorm2d | None, value: Tensor, note: Note, steps: int) -> Norm | None:
    """Return what a batch norm does with the output of a convolution."""
    return None if module is None else Norm.of(module, value, steps if note.once else 1)


def _gpu_knows(slope: Slope) -> bool:
    """Tell whether Triton is installed and its kernels support ``slope``."""
    try:
        return slope.kind in kernels("cuda").KNOWN
    except ImportError:
        return False
