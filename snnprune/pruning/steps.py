"""Which steps of optimisers train a network, and what happens inside them."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod, WeakSet, finalize

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from snnprune.pruning.optimizers import holds_any_of, parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle


class StepWatch:
    """A hook on the steps of all optimisers that notes those of one network.

    The hook is global, because no optimiser is known yet, and a loop needs no further line for it.

    A step that is given a closure evaluates the network inside it, several times where the optimiser wants
    that (LBFGS). Each evaluation is announced, and so is the end of its backward.

    Args:
        model: the network.
        before_evaluation: a method that is called before each call of a closure.
        after_backward: a method that is called with the optimiser when gradients are complete: before the
            step, or at the end of each call of its closure.

    Attributes:
        stepped: all optimisers that were ever seen to step on the network.
    """

    def __init__(
        self,
        model: nn.Module,
        before_evaluation: Callable[[], None],
        after_backward: Callable[[Optimizer], None],
    ) -> None:
        self.model = model
        self.stepped: WeakSet[Optimizer] = WeakSet()
        self._ran: WeakSet[Optimizer] = WeakSet()
        self._replayed: WeakSet[Optimizer] = WeakSet()
        self._before_evaluation, self._after_backward = (
            WeakMethod(before_evaluation),
            WeakMethod(after_backward),
        )
        own = WeakMethod(self._before_step)  # without close(), the hook goes when the pruner goes

        @torch.compiler.disable  # what a hook notes is no part of a graph
        def hook(*given: Any) -> Any:
            return (own() or _nothing)(*given)

        self._handle = register_optimizer_step_pre_hook(hook)
        self.is_open = True
        finalize(self, self._handle.remove).atexit = False

    def has_run(self, optimizer: Optimizer | None) -> bool:
        """Tell whether an optimiser has changed weights since this was last asked; None asks for any.

        A loss scaler skips a step whose gradients overflowed, and a loop may leave one out. That is known of
        an optimiser whose step calls torch's hooks, and of a wrapper whose inner optimiser was seen to step
        before. Of every other one, and of a step that a CUDA graph replays, the answer is True.
        """
        if not self.is_open:
            return True
        tells = optimizer is not None and calls_hooks(optimizer)
        asked = {optimizer} if tells else {o for o in self.stepped if _overlap(o, optimizer)}
        if not asked or asked & {*self._replayed}:
            return True
        ran = bool(asked & {*self._ran})
        self._ran -= asked
        return ran

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """Note a step; return other arguments for it where it is given a closure."""
        if optimizer not in self.stepped:
            if not holds_any_of(optimizer, self.model):
                return None
            self.stepped.add(optimizer)
        if _is_captured():
            self._replayed.add(optimizer)
        elif _overflowed(optimizer):
            return None
        self._ran.add(optimizer)
        given = len(args) > 1 or kwargs
        bound = inspect.signature(type(optimizer).step).bind(*args, **kwargs) if given else None
        closure = bound.arguments.get("closure") if bound is not None else None
        if bound is None or closure is None:
            self._call(self._after_backward, optimizer)
            return None
        bound.arguments["closure"] = self._watched(closure, optimizer)
        return bound.args, bound.kwargs

    def _watched(self, closure: Callable[..., Any], optimizer: Optimizer) -> Callable[..., Any]:
        def evaluate(*given: Any, **named: Any) -> Any:
            self._call(self._before_evaluation)
            loss = closure(*given, **named)
            if loss is None and not any(p.grad is not None for p in parameters(optimizer)):
                self._ran.discard(optimizer)  # Lightning skips a batch by no loss
            else:
                self._call(self._after_backward, optimizer)
            return loss

        return evaluate

    @staticmethod
    def _call(method: WeakMethod[Any], *args: Any) -> None:
        (method() or _nothing)(*args)

    def close(self) -> None:
        """Remove the hook."""
        self._handle.remove()
        self.is_open = False


class StepFollower:
    """Calls a function after each step of one optimiser, also of one that calls none of torch's hooks.

    Args:
        optimizer: an optimiser, or a wrapper of another one; its method ``step`` is replaced where it calls
            no hooks, as a learning rate schedule does.
        act: called with the optimiser, once everything that its step changes has changed.
    """

    def __init__(self, optimizer: Optimizer, act: Callable[[Optimizer], None]) -> None:
        self._optimizer = optimizer
        self._handle: RemovableHandle | None = None
        if calls_hooks(optimizer):
            self._handle = optimizer.register_step_post_hook(lambda stepped, *_: act(stepped))
            return
        step, self._before = optimizer.step, vars(optimizer).get("step")
        self._removed = False

        @wraps(step)
        def followed(*args: Any, **kwargs: Any) -> Any:
            result = step(*args, **kwargs)
            if not self._removed:
                act(optimizer)
            return result

        self._followed, optimizer.step = followed, followed  # type: ignore[method-assign]

    def remove(self) -> None:
        """Call the function no more."""
        if self._handle is not None:
            self._handle.remove()
        elif vars(self._optimizer).get("step") is self._followed:
            del self._optimizer.step
            if self._before is not None:
                self._optimizer.step = self._before  # type: ignore[method-assign]
        self._removed = True


def calls_hooks(optimizer: Optimizer) -> bool:
    """Tell whether a step calls torch's hooks; a wrapper that makes no optimiser of itself calls none."""
    return bool(getattr(optimizer.step, "hooked", False))


def unscale(optimizer: Optimizer) -> None:
    """Take a loss scale off the gradients, where a fused step was to do that itself.

    `torch.amp.GradScaler` leaves both to such an optimiser, and hands it the scale as ``grad_scale``.
    """
    scale = getattr(optimizer, "grad_scale", None)
    if isinstance(scale, torch.Tensor):
        for parameter in parameters(optimizer):
            if parameter.grad is not None:
                parameter.grad.div_(scale.to(parameter.grad.device))
        optimizer.grad_scale = None  # type: ignore[attr-defined]


def _overlap(known: Optimizer, optimizer: Optimizer | None) -> bool:
    """Tell whether two optimisers train a parameter in common, as a wrapper and what it wraps do."""
    if optimizer is None or known is optimizer:
        return True
    return not {id(p) for p in parameters(known)}.isdisjoint(id(p) for p in parameters(optimizer))


def _overflowed(optimizer: Optimizer) -> bool:
    """Tell whether a loss scaler has told a fused step to do nothing."""
    found = getattr(optimizer, "found_inf", None)
    return isinstance(found, torch.Tensor) and bool(found)


def _is_captured() -> bool:
    """Tell whether a CUDA graph is being made, whose replays call no hook."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def _nothing(*_: Any) -> None:
    """Do nothing, in place of a pruner that no longer exists."""
