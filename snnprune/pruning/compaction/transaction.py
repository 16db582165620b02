"""Changes to a network that are made completely, or not at all."""

from __future__ import annotations

import gc
import operator
import sys
import weakref
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.common import ranks
from snnprune.common.errors import CompactionError
from snnprune.network.duplicate import reset_states, states_in
from snnprune.pruning.state import Stateful

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping
    from types import TracebackType

    from torch import Tensor

    from snnprune.network.meetings import Example

_MISSING = object()


class Transaction:
    """Undoes the changes made within ``with Transaction() as changes`` if an exception is raised in it.

    Call a ``remember`` method before an assignment; `replace` gives tensors their new content.

    Args:
        agreed: called after all tensors were found free, and before the first one gets its new content. An
            exception from it cancels the change.
    """

    def __init__(self, agreed: Callable[[], None] | None = None) -> None:
        self._undo, self._agreed = ExitStack(), agreed

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._undo.close()
        self._undo.pop_all()

    def on_failure(self, undo: Callable[[], object]) -> None:
        """Call ``undo`` if a later step fails; the functions run in reverse order."""
        self._undo.callback(undo)

    def remember(self, holder: object, *names: str) -> None:
        """Remember attributes before they are assigned; do not change their values in place."""
        for name in names:
            before = getattr(holder, name, _MISSING)
            if before is _MISSING:
                self.on_failure(lambda name=name: vars(holder).pop(name, None))  # type: ignore[misc]
            else:
                self.on_failure(lambda name=name, before=before: setattr(holder, name, before))  # type: ignore[misc]

    def remember_items(self, items: MutableMapping[Any, Any]) -> None:
        """Remember the items of a mapping."""
        before = dict(items)

        def undo() -> None:
            items.clear()
            items.update(before)

        self.on_failure(undo)

    def remember_state(self, thing: object) -> None:
        """Remember the state of a method and its parts; tensors may be replaced, not changed in place."""
        if isinstance(thing, Stateful):
            thing = vars(thing)
        if isinstance(thing, dict):
            self.remember_items(thing)
            for value in thing.values():
                self.remember_state(value)
        elif isinstance(thing, list):
            self.on_failure(lambda before=thing[:]: operator.setitem(thing, slice(None), before))  # type: ignore[misc]

    def put_at_rest(self, model: nn.Module, example: Example | None) -> None:
        """Put neurons at rest, which also frees the graph behind their states.

        So is what the network itself carries from one forward to the next. If the transaction is undone, the
        states have their old values again, without that graph.

        Args:
            model: the network.
            example: what it was discovered with, which knows the states that a forward changes.
        """
        for place in states_in(model):
            held = {
                name: value.detach() if value.grad_fn is not None else value
                for name, value in place.items()
                if isinstance(value, torch.Tensor)
            }
            self.on_failure(lambda place=place, held=held: place.update(held))  # type: ignore[misc]
        reset_states(model)
        if example is not None:
            example.put_back_carried(model, self.on_failure)

    @torch.no_grad()
    def replace(self, contents: Mapping[str, tuple[Tensor, Tensor, Tensor | None]]) -> None:
        """Give tensors new content, of any shape; the tensors stay the same objects.

        Optimisers and other references remain valid. Hooks and attributes of a tensor stay.

        Args:
            contents: a parameter or buffer, its new content and its new gradient, by a name for messages.

        Raises:
            CompactionError: another object holds one of the tensors, so that torch cannot swap it. No tensor
                has changed then.
        """
        for name, (tensor, _, _) in contents.items():
            reason = _held(tensor)
            if reason is not None:
                gc.collect()  # frees objects that only a circle of references keeps
                reason = _held(tensor)
            if reason is not None:
                raise CompactionError(
                    f"{name} cannot change its shape, since {reason} still refers to it: evaluate under "
                    "torch.no_grad(), and delete outputs, losses and views that were kept"
                )
        if self._agreed is not None:
            self._agreed()
        for name, (tensor, content, gradient) in contents.items():
            other = _twin(tensor, content, gradient)
            try:
                torch.utils.swap_tensors(tensor, other)
            except RuntimeError as error:
                raise CompactionError(f"{name} cannot change its shape in place: {error}") from error
            self.on_failure(lambda a=tensor, b=other: torch.utils.swap_tensors(a, b))  # type: ignore[misc]


@contextmanager
def together() -> Iterator[Transaction]:
    """Yield a transaction that all processes make, or none: they agree before the first tensor changes.

    Raises:
        CompactionError: another process cannot make the change.
    """
    asked = False

    def agreed(able: bool = True) -> None:
        nonlocal asked
        asked = True
        [unable] = ranks.summed([torch.tensor(0.0 if able else 1.0)])
        if able and unable > 0:
            raise CompactionError("another process that trains this network cannot cut it")

    try:
        with Transaction(agreed) as changes:
            yield changes
    finally:
        if not asked:
            agreed(able=sys.exc_info()[0] is None)


def is_held(tensor: Tensor) -> bool:
    """Tell whether another object holds a parameter or buffer, so that `Transaction.replace` fails."""
    return _held(tensor) is not None


def _held(tensor: Tensor) -> str | None:
    """Return what prevents torch from swapping a tensor; None if nothing does.

    These are the conditions of ``torch.utils.swap_tensors``. It cannot be called as a test, because a swapped
    tensor no longer fits the graphs that refer to it.
    """
    if weakref.getweakrefs(tensor):
        return "a weak reference"
    count = tensor._use_count()  # type: ignore[attr-defined]
    if count == 1:
        return None
    if count == 2 and tensor.is_leaf and tensor.requires_grad:
        # The call makes a node if there is none. If there was one already, the count stays the same.
        node = torch.autograd.graph.get_gradient_edge(tensor).node
        gathers = tensor._use_count() == 2  # type: ignore[attr-defined]
        del node
        if gathers:
            return None
    return "a graph or a view"


def _twin(tensor: Tensor, content: Tensor, gradient: Tensor | None) -> Tensor:
    """Return a tensor of the same class, hooks and attributes with other content."""
    fresh = content.detach().clone(memory_format=torch.contiguous_format)
    twin = nn.Parameter(fresh, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fresh
    if gradient is not None:
        twin.grad = gradient.detach().clone(memory_format=torch.contiguous_format)
    vars(twin).update(vars(tensor))
    for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"):
        if getattr(tensor, hooks, None):
            setattr(twin, hooks, getattr(tensor, hooks))
    return twin
