"""What norms and neurons were given in the example's forward, and the example itself, kept small."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.network.axes import mapped, tensors_in
from snnprune.network.duplicate import reset_states, resets_of
from snnprune.network.untouched import OF_EVERY_MODULE, refill, untouched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from snnprune.network.axes import Met, Places
    from snnprune.network.runs import Run

SAMPLES = 2
"""Number of samples of the example that are kept."""


class _Missing:
    """In place of a value that was not there. It is a class, because copies of a class are the class."""


@dataclass(frozen=True)
class Meeting:
    """What a norm or a neuron was given.

    Attributes:
        shape: of its input.
        places: the axes of the channels, counted from the end, with the runs of the populations on each.
        time: axis of time steps, from the front; None where a call is one time step, or knows no time.
    """

    shape: tuple[int, ...]
    places: tuple[tuple[int, tuple[Run, ...]], ...]
    time: int | None = None


@dataclass(frozen=True)
class Example:
    """What the network was asked with, and in which state.

    Attributes:
        arguments: of the network, of at most `SAMPLES` samples where it takes so few.
        rest: what the forward changed of the modules' attributes and buffers, as it was before, by module.
        left_over: a state that came from an earlier forward, or None: the network was at rest.
    """

    arguments: tuple[Any, ...]
    rest: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    left_over: str | None = None

    def put_at_rest(self, model: nn.Module, name: str = "") -> None:
        """Give ``model``, which the network calls ``name``, the states that the example met."""
        reset_states(model)
        for held, attribute, value in self._changed(model, name):
            _give(held, attribute, value)

    def put_back_carried(self, model: nn.Module, undo: Callable[[Callable[[], object]], None]) -> None:
        """Give ``model``, which is to be cut, the states that the example met in place of those of its units.

        A tensor that has the shape that it had before the forward holds no units, since the network was tried
        with it. It stays, and so does a number that is counted.

        Args:
            model: the network.
            undo: is given what puts each state back.
        """
        for held, attribute, value in list(self._changed(model)):
            present = held.get(attribute)
            if _holds_units(present, value):
                content = mapped(present, lambda t: t.detach() if t.grad_fn is not None else t)
                _give(held, attribute, value)
                same = present if held.get(attribute) is present else None
                undo(partial(_put_back, held, attribute, same, content))

    def _changed(self, model: nn.Module, name: str = "") -> Iterator[tuple[dict[str, Any], str, Any]]:
        """Yield where ``model`` holds what the forward changed: the mapping, the key, the value before."""
        for own, module in model.named_modules():
            path = ".".join(part for part in (name, own) if part)
            for attribute, value in self.rest.get(path, {}).items():
                yield (module._buffers if attribute in module._buffers else vars(module)), attribute, value


class States:
    """The states of a network before a forward, to find out which of them it changes."""

    def __init__(self, model: nn.Module) -> None:
        self._before = [(name, module, _states(module)) for name, module in model.named_modules()]

    def example(self, arguments: tuple[Any, ...]) -> Example:
        """Return the example, once the forward is over."""
        rest = {}
        for name, module, before in self._before:
            now = dict(_held(module))
            other = [k for k, v in now.items() if not _same(v, before.get(k))]
            changed = {k: before[k][1] if k in before else _Missing for k in other}
            if changed:
                rest[name] = changed
        left = (
            f"{name}.{key}" if name else key
            for name, changed in rest.items()
            for key, value in changed.items()
            if _is_left_over(value)
        )
        return Example(arguments, rest, next(left, None))


def _held(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the attributes and buffers of a module that may hold a state which `reset_states` leaves."""
    if any(resets_of(module)):
        return
    yield from ((k, v) for k, v in vars(module).items() if k not in OF_EVERY_MODULE and k != "_memories")
    yield from module._buffers.items()


def _states(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Return each state itself, and a copy of what is in it."""
    return {k: (v, mapped(v, lambda t: t.detach().clone())) for k, v in _held(module)}


def _same(now: Any, before: tuple[Any, Any] | None) -> bool:
    return before is not None and now is before[0] and _is_alike(now, before[1])


def _is_alike(one: Any, other: Any) -> bool:
    """Tell whether two values, of which one was made of the other by `mapped`, hold the same."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if type(one) is not type(other) or type(one) not in {list, tuple, dict, deque}:
        return one is other
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_is_alike(v, other[k]) for k, v in one.items())
    return len(one) == len(other) and all(map(_is_alike, one, other))


def _give(held: dict[str, Any], attribute: str, value: Any) -> None:
    """Give a module a copy of ``value``; a container that it has now, which others may hold, is filled."""
    present, content = held.get(attribute), mapped(value, torch.clone)
    if value is _Missing:
        held.pop(attribute, None)
    elif type(present) is type(content) and type(content) in {list, dict, deque}:
        refill(present, content)
    else:
        held[attribute] = content


def _put_back(held: dict[str, Any], attribute: str, container: Any, content: Any) -> None:
    """Give a module ``content``: in ``container``, where it has that one still."""
    if container is None:
        held[attribute] = content
    else:
        refill(container, content)


def _is_left_over(value: Any) -> bool:
    """Tell whether a value from before the forward is the state of an earlier one."""
    return any(t.numel() > 1 and bool(t.any()) for t in tensors_in(value))


def _holds_units(present: Any, before: Any) -> bool:
    """Tell whether a value holds entries for units, if it was ``before`` when the network was at rest."""
    shapes = [t.shape for t in tensors_in(present)]
    as_it_was = isinstance(before, torch.Tensor) and shapes == [before.shape]
    return any(map(len, shapes)) and not as_it_was and not _is_left_over(before)


def fewer_samples(arguments: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    """Return the arguments with `SAMPLES` samples of each tensor that is as long as the first one."""
    length = tensors_in(list(arguments))[0].shape[axis]

    def shorten(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim > axis and tensor.shape[axis] == length:
            tensor = tensor.narrow(axis, 0, min(SAMPLES, length))
        return tensor.detach().clone()

    return tuple(mapped(list(arguments), shorten))


def kept_small(model: nn.Module, example: Example, samples: int | None) -> Example:
    """Return the example with few samples, where the network takes so few."""
    if samples is not None and tensors_in(list(example.arguments))[0].shape[samples] > SAMPLES:
        few = replace(example, arguments=fewer_samples(example.arguments, samples))
        with suppress(Exception), untouched(model), torch.no_grad():  # a network may ask for all of them
            few.put_at_rest(model)
            model(*few.arguments)
            return few
    return replace(example, arguments=tuple(mapped(list(example.arguments), lambda t: t.detach().clone())))


def meetings(
    given: Mapping[str, Iterable[Met]],
    times: Mapping[str, int | None],
    runs: Callable[[Places], tuple[tuple[int, tuple[Run, ...]], ...]],
) -> dict[str, tuple[Meeting, ...]]:
    """Return what norms and neurons were given, by the name of the module.

    Args:
        given: the same, as shape and axes of channels.
        times: time axis of neurons that take the whole series, by name.
        runs: returns the runs of populations on such axes.
    """
    return {
        leaf: tuple(Meeting(shape, runs(places), times.get(leaf)) for shape, places in each)
        for leaf, each in given.items()
    }


@contextmanager
def wearing(model: nn.Module, contents: Mapping[int, torch.Tensor]) -> Iterator[None]:
    """Let modules hold other tensors in place of theirs, wherever they hold them, and put all back.

    Args:
        model: the network.
        contents: the other tensors, by the id of the one that each stands for.
    """
    places = []
    try:
        for module in model.modules():
            for held in (module._parameters, module._buffers, vars(module)):
                for name, tensor in list(held.items()):
                    if isinstance(tensor, torch.Tensor) and id(tensor) in contents:
                        places.append((held, name, tensor))
                        content = contents[id(tensor)]
                        own = isinstance(tensor, nn.Parameter)
                        held[name] = nn.Parameter(content, requires_grad=False) if own else content  # type: ignore[assignment]
        yield
    finally:
        for held, name, tensor in reversed(places):
            held[name] = tensor
