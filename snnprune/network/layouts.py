"""Where samples and time are in what each layer is given: seen from what one more of each changes.

The example is run again with one more entry on an axis. Where that makes the time axis of a neuron longer, or
a loop go round once more, the axis is time; where it makes everything longer on one axis, it holds samples.
So the sizes of the example, which may be equal by chance, say nothing, and one more sample also tells what a
sample costs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.axes import mapped, tensors_in
from snnprune.network.causality import find_time
from snnprune.network.leaves import is_multi_step, is_of_spikingjelly
from snnprune.network.topology import Layout
from snnprune.network.untouched import untouched

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

    from snnprune.network.findings import Findings

Key = tuple[str, int]
"""A leaf, and which of its calls in the forward."""


class Layouts:
    """The `Layout` of every call of a leaf, by the leaf's name and the number of the call.

    Neurons whose time axis cannot be told freeze the populations that reach them.

    Args:
        model: the network; it is left as it was.
        arguments: the example.
        found: what was seen of the forward of the example.

    Attributes:
        times: the time axis of neurons that take the whole series, by name.
        samples: the axis of samples in the example, None where it takes no further sample.
    """

    def __init__(self, model: nn.Module, arguments: tuple[Any, ...], found: Findings) -> None:
        self._calls = dict(_numbered((call.name, call) for call in found.calls))
        self._times: dict[Key, int] = {}
        self.times: dict[str, int | None] = {}
        with untouched(model):
            self._find_times(found)
        self._first = tensors_in(list(arguments))[0]
        self.samples: int | None = None
        self._more_samples: Mapping[Key, Tensor] | None = None
        self._more_steps: Mapping[Key, Tensor] | None = None
        repeats = any(number for _, number in self._calls)
        for axis in range(min(2, self._first.ndim)):
            if axis and self._more_samples is not None and not (self._times or repeats):
                break  # there is no time to be found
            longer = self._rerun(model, _one_more(arguments, axis, self._first), found)
            if longer is None:
                continue
            if self._has_more_steps(longer):
                self._more_steps = longer
            elif self._more_samples is None and self._has_more_samples(longer):
                self._more_samples, self.samples = longer, axis

    def __getitem__(self, key: Key) -> Layout:
        """Return where samples and time are; samples in front, where the leaf was never reached."""
        if key not in self._calls:
            return Layout()
        x, time = self._calls[key].x, self._times.get(key)
        samples = self._grown(key, self._more_samples)
        if samples is None:
            return self._by_size(key)
        if time is None:
            time = self._grown(key, self._more_steps)
        if time is None and self._more_steps is None:
            time = self._as_in_neurons(x, samples)
        if time is not None and time != samples:
            return Layout(samples, time)
        return Layout(samples, None, self._is_by_sample(key, samples))

    def of_a_sample(self, name: str, entries: list[int]) -> int:
        """Return how many of a layer's outputs one sample adds.

        Args:
            name: of the layer.
            entries: of its outputs in the forward of the example, call by call.
        """
        if self._more_samples is None:
            return sum(entries) // max(self._samples_by_size(), 1)
        found = 0
        for number, size in enumerate(entries):
            before, after = self._calls[name, number].x.numel(), self._more_samples[name, number].numel()
            found += size * (after - before) // max(before, 1)
        return found

    # --- time axes that are known

    def _find_times(self, found: Findings) -> None:
        known = self.times
        for key, call in self._calls.items():
            module, kind = found.leaves[call.name]
            if call.name not in known:
                known[call.name] = None
                if is_of_spikingjelly(module):
                    known[call.name] = 0 if is_multi_step(module) else None
                elif kind == "neuron" and call.dim is not None and not _is_of_torch(module):
                    time = find_time(module, call.args, call.kwargs, call.x, call.dim)
                    if time.unknown is not None:
                        found.freeze([call.x], f"neuron {call.name}: {time.unknown}")
                    known[call.name] = time.axis
            axis = known[call.name]
            if axis is not None:
                self._times[key] = axis

    # --- one more entry

    def _rerun(
        self, model: nn.Module, arguments: tuple[Any, ...], found: Findings
    ) -> Mapping[Key, Tensor] | None:
        """Return what the leaves are given; None where the model does not take it."""
        given: list[tuple[str, Tensor]] = []
        counts: Counter[str] = Counter()
        inside: list[nn.Module] = []

        def enter(module: nn.Module, _args: Any, _kwargs: Any) -> None:
            inside.append(module)

        def leave(name: str) -> Any:
            def hook(_module: nn.Module, args: Any, kwargs: Any, _output: Any) -> None:
                inside.pop()
                inputs, call = tensors_in([args, kwargs]), self._calls.get((name, counts[name]))
                if not inside and inputs:
                    counts[name] += 1
                    position = 0 if call is None else call.position
                    given.append((name, inputs[min(position, len(inputs) - 1)]))

            return hook

        handles: list[Any] = []
        try:
            with untouched(model), torch.no_grad():
                for name, (module, _) in found.leaves.items():
                    handles += [
                        module.register_forward_pre_hook(enter, with_kwargs=True),
                        module.register_forward_hook(leave(name), with_kwargs=True),
                    ]
                model(*arguments)
        except Exception:
            return None  # a model may have the sizes of the example in it
        finally:
            for handle in handles:
                handle.remove()
        return dict(_numbered(given))

    def _has_more_steps(self, longer: Mapping[Key, Tensor]) -> bool:
        if longer.keys() != self._calls.keys():
            return True
        return any(
            longer[key].shape[axis] > self._calls[key].x.shape[axis] for key, axis in self._times.items()
        )

    def _has_more_samples(self, longer: Mapping[Key, Tensor]) -> bool:
        grown = [_longer_axes(call.x, longer[key]) for key, call in self._calls.items()]
        return any(grown) and all(axes is not None and len(axes) < 2 for axes in grown)

    def _grown(self, key: Key, longer: Mapping[Key, Tensor] | None) -> int | None:
        axes = None if longer is None or key not in longer else _longer_axes(self._calls[key].x, longer[key])
        return axes[0] if axes else None

    def _is_by_sample(self, key: Key, samples: int) -> bool:
        """Tell whether the steps of a sample are neighbours, where time is folded into the samples' axis."""
        assert self._more_samples is not None
        x, more = (t.movedim(samples, 0).double() for t in (self._calls[key].x, self._more_samples[key]))
        steps = len(more) - len(x)
        if steps < 2 or len(x) % steps:
            return False
        by_step = more.unflatten(0, (steps, -1))[:, :-1].flatten(0, 1)
        return bool((more[: len(x)] - x).abs().mean() < (by_step - x).abs().mean())

    # --- where the example cannot be made longer

    def _by_size(self, key: Key) -> Layout:
        time = self._times.get(key)
        x = self._calls[key].x
        if time is None:
            time = next((t for k, t in self._times.items() if _same_front(x, self._calls[k].x)), None)
        if time is None:
            return Layout()
        return Layout(0 if time else 1, time)

    def _as_in_neurons(self, x: Tensor, samples: int) -> int | None:
        """Return the time axis of neurons, where ``x`` is as long there and has its samples where they do."""
        for key, time in self._times.items():
            other = self._calls[key].x
            same = self._grown(key, self._more_samples) == samples and x.ndim > time != samples
            if same and x.shape[time] == other.shape[time]:
                return time
        return None

    def _samples_by_size(self) -> int:
        for key, time in self._times.items():
            return self._calls[key].x.shape[0 if time else 1]
        return self._first.shape[0]


def _numbered(named: Iterable[tuple[str, Any]]) -> Iterable[tuple[Key, Any]]:
    """Yield each value by its name and how often that name came before."""
    counts: Counter[str] = Counter()
    for name, value in named:
        yield (name, counts[name]), value
        counts[name] += 1


def _longer_axes(before: Tensor, after: Tensor) -> list[int] | None:
    """Return the axes that became longer; None where one became shorter or the number of axes changed."""
    if before.ndim != after.ndim or any(a < b for b, a in zip(before.shape, after.shape, strict=True)):
        return None
    return [d for d in range(before.ndim) if after.shape[d] > before.shape[d]]


def _same_front(x: Tensor, other: Tensor) -> bool:
    return min(x.ndim, other.ndim) > 2 and x.shape[:2] == other.shape[:2]


def _one_more(arguments: tuple[Any, ...], axis: int, first: Tensor) -> tuple[Any, ...]:
    """Return the arguments with the first entry of ``axis`` once more, where as long as ``first``."""

    def lengthen(tensor: Tensor) -> Tensor:
        if tensor.ndim <= axis or tensor.shape[axis] != first.shape[axis]:
            return tensor
        return torch.cat([tensor, tensor.narrow(axis, 0, 1)], axis)

    return tuple(mapped(list(arguments), lengthen))


def _is_of_torch(module: nn.Module) -> bool:
    return type(module).__module__.partition(".")[0] == "torch"
