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
from snnprune.network.places import Fold, Layout
from snnprune.network.products import Products
from snnprune.network.untouched import untouched

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

    from snnprune.network.causality import Time
    from snnprune.network.findings import Findings

Key = tuple[str, int]
"""A leaf, and which of its calls in the forward."""


class Layouts:
    """The `Layout` of every call of a leaf, by the leaf's name and the number of the call.

    Args:
        model: the network; it is left as it was.
        arguments: the example.
        found: what was seen of the forward of the example.
        times: what is known of the time axes of neurons, by name.

    Attributes:
        samples: the axis of samples in the example, None where it takes no further sample.
    """

    def __init__(
        self, model: nn.Module, arguments: tuple[Any, ...], found: Findings, times: Mapping[str, Time]
    ) -> None:
        self._calls = dict(_numbered((call.name, call) for call in found.calls))
        known = {key: times[key[0]] for key in self._calls if key[0] in times}
        self._times = {key: time.axis for key, time in known.items() if time.axis is not None}
        self._folds = {key: time.fold for key, time in known.items() if time.fold is not None}
        self._model, self._arguments, self._leaves = model, arguments, found.leaves
        self._by_sample: dict[Key, bool] = {}
        self._first = tensors_in(list(arguments))[0]
        self._products = found.products
        self._more_products: Products | None = None
        self.samples: int | None = None
        self._more_samples: Mapping[Key, Tensor] | None = None
        self._more_steps: Mapping[Key, Tensor] | None = None
        repeats = any(number for _, number in self._calls)
        for axis in range(min(2, self._first.ndim)):
            if axis and self._more_samples is not None and not (self._times or repeats):
                break  # there is no time to be found
            with Products(model) as products:
                longer = self._rerun(lengthened(arguments, axis, self._first, self._rows(axis)))
            if longer is None:
                continue
            if self._has_more_steps(longer):
                self._more_steps = longer
            elif self._more_samples is None and self._has_more_samples(longer):
                self._more_samples, self._more_products, self.samples = longer, products, axis

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
        return self._folded(key, samples)

    def of_a_sample(self, name: str, entries: list[int]) -> int:
        """Return how many of a layer's outputs one sample adds.

        Args:
            name: of the layer.
            entries: of its outputs in the forward of the example, call by call.
        """
        if self._more_samples is None or (name, 0) not in self._calls:
            return sum(entries) // max(self._count_samples(), 1)
        found = 0
        for number, size in enumerate(entries):
            before, after = self._calls[name, number].x.numel(), self._more_samples[name, number].numel()
            found += size * (after - before) // max(before, 1)
        return found

    def loops_of(self, name: str, calls: int) -> int | None:
        """Return how many time steps the calls of a leaf are; None where the example takes no more steps.

        One more step calls a leaf in a loop over time once more, or as often as a pass through the loop does.
        """
        longer = 0 if self._more_steps is None else sum(other == name for other, _ in self._more_steps)
        if not longer or not calls:
            return None
        return calls // (longer - calls) if calls < longer and calls % (longer - calls) == 0 else 1

    def products_of_a_sample(self, parameter: str) -> int:
        """Return the multiply-accumulates of one sample with a parameter that belongs to no layer."""
        before = self._products.macs[parameter]
        if self._more_products is None:
            return before // max(self._count_samples(), 1)
        return self._more_products.macs[parameter] - before

    # --- one more entry

    def _rows(self, axis: int) -> int:
        """Return how many rows of the example one more sample, or one more step of all samples, is."""
        fold = self._fold_of(len(self._first)) if axis == 0 else None
        return fold.steps or fold.samples if fold is not None else 1

    def _fold_of(self, rows: int) -> Fold | None:
        """Return how a neuron divides as many rows into samples and time steps; None where none does."""
        return next((f for key, f in self._folds.items() if len(self._calls[key].x) == rows), None)

    def _rerun(self, arguments: tuple[Any, ...]) -> Mapping[Key, Tensor] | None:
        """Return what the leaves are given; None where the model does not take it."""
        given: list[tuple[str, Tensor]] = []
        counts: Counter[str] = Counter()
        inside: list[nn.Module] = []

        def enter(module: nn.Module, _args: Any, _kwargs: Any) -> None:
            inside.append(module)

        def leave(name: str) -> Any:
            def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
                if not inside or inside[-1] is not module:
                    return  # a hook of others has refused the call before
                inside.pop()
                inputs, call = tensors_in([args, kwargs]), self._calls.get((name, counts[name]))
                if not inside and inputs and output is not None:  # None: it raised an error
                    counts[name] += 1
                    position = 0 if call is None else call.position
                    given.append((name, inputs[min(position, len(inputs) - 1)]))

            return hook

        handles: list[Any] = []
        try:
            with untouched(self._model), torch.no_grad():
                for name, (module, _) in self._leaves.items():
                    handles += [
                        module.register_forward_pre_hook(enter, with_kwargs=True),
                        module.register_forward_hook(leave(name), with_kwargs=True, always_call=True),
                    ]
                self._model(*arguments)
        except Exception:
            return None  # a model may have the sizes of the example in it
        finally:
            for handle in handles:
                handle.remove()
        return dict(_numbered(given))

    def _has_more_steps(self, longer: Mapping[Key, Tensor]) -> bool:
        fold = self._fold_of(len(self._first))
        if longer.keys() != self._calls.keys() or (fold is not None and fold.samples):
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

    def _folded(self, key: Key, samples: int) -> Layout:
        """Return the layout of a call whose time, if it has one, is in the axis of the samples."""
        fold = self._fold_of(self._calls[key].x.shape[samples])
        by_sample = self._is_by_sample(key, samples) if fold is None else fold.by_sample
        return Layout(samples, None, by_sample, self._folds.get(key))

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
            fold = self._fold_of(len(x)) or self._fold_by_rows(len(x))
            return Layout(by_sample=fold is not None and fold.by_sample, fold=self._folds.get(key))
        return Layout(0 if time else 1, time)

    def _fold_by_rows(self, rows: int) -> Fold | None:
        """Return how the network divides its rows, where its neurons take samples and time in two axes."""
        for key, time in self._times.items():
            x = self._calls[key].x
            if time < 2 <= x.ndim and rows == len(self._first) == x.shape[0] * x.shape[1]:
                return Fold(steps=x.shape[time], by_sample=self._divides_by_sample(key, time))
        return None

    def _divides_by_sample(self, key: Key, time: int) -> bool:
        """Tell whether the second row of the example is the second step of the first sample of a neuron."""
        if key not in self._by_sample:
            first = self._first.clone()
            first[1] = first[1] + 1
            seen = self._rerun(tuple(first if a is self._first else a for a in self._arguments))
            x = self._calls[key].x
            changed = None if seen is None or key not in seen else (seen[key] != x).movedim(time, 0)
            self._by_sample[key] = changed is None or bool(changed[:, 0].any())
        return self._by_sample[key]

    def _as_in_neurons(self, x: Tensor, samples: int) -> int | None:
        """Return the time axis of neurons, where ``x`` is as long there and has its samples where they do."""
        for key, time in self._times.items():
            other = self._calls[key].x
            same = self._grown(key, self._more_samples) == samples and x.ndim > time != samples
            if same and x.shape[time] == other.shape[time]:
                return time
        return None

    def _count_samples(self) -> int:
        return self._samples_by_size() if self.samples is None else self._first.shape[self.samples]

    def _samples_by_size(self) -> int:
        for key, time in self._times.items():
            return self._calls[key].x.shape[0 if time else 1]
        fold = self._fold_of(len(self._first))
        return len(self._first) if fold is None else fold.divide(len(self._first))[1]


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


def lengthened(arguments: tuple[Any, ...], axis: int, first: Tensor, rows: int) -> tuple[Any, ...]:
    """Return the arguments with the first ``rows`` of ``axis`` once more, where as long as ``first``."""

    def lengthen(tensor: Tensor) -> Tensor:
        if tensor.ndim <= axis or tensor.shape[axis] != first.shape[axis]:
            return tensor
        return torch.cat([tensor, tensor.narrow(axis, 0, rows)], axis)

    return tuple(mapped(list(arguments), lengthen))
