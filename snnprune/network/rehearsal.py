"""The network as a cut would leave it, run on the example before anything changes.

A size that is written into the network as a number, or a layer in which units see one another, shows only
once units are gone. So the network is asked with the smaller tensors in place of its own, and everything is
put back.
"""

from __future__ import annotations

import linecache
import sysconfig
import traceback
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import CompactionError, in_one_line, memory_full
from snnprune.network.axes import mapped, tensors_in
from snnprune.network.cut import Cut, half_of
from snnprune.network.leaves import NORMS
from snnprune.network.meetings import wearing
from snnprune.network.sizes import sizes, tensor_of
from snnprune.network.untouched import seed_dice, untouched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from snnprune.network.meetings import Example
    from snnprune.network.topology import Topology

EXACT = 1e-5
"""Largest difference of answers in float64, in units of the largest one: parts may compute in float32."""

ADVICE = (
    "take sizes from what has these units, a tensor (q.shape[-1] where q is reshaped, -1, flatten) or a "
    "layer (self.rec.in_features), not from a number or another tensor"
)
"""What to do where a size in a user's forward does not follow a cut."""

ROUNDING = 16
"""Rounding errors by which weights are changed, to see what rounding alone makes of an answer."""


def rehearse(model: nn.Module, cut: Cut) -> None:
    """Run ``model`` on its example as ``cut`` would leave it; the model stays as it is.

    It has to answer as it does where the same units are dead. It runs in evaluation mode, in float64 where it
    can: then no spike depends on the order of a sum. Answers that random numbers change are not compared.

    Raises:
        CompactionError: the smaller network would not run, or would answer otherwise; the message names
            population and line.
    """
    example = cut.before.example
    if example is None or not cut:
        return
    trial, whole = _tried(model, cut, example)
    if whole is None:
        _say_untried(f"the network does not take it any more, {trial.failed}")
        return
    reason = trial.objection(cut, whole)
    if reason is None:
        return
    if example.left_over is not None:
        _say_untried(
            f"{example.left_over} had the state of an earlier forward when discovery ran it (put the network "
            "at rest before that)"
        )
        return
    alone = [Cut(cut.before, {name: stays}) for name, stays in cut.units.items()]
    faults = [one for one in alone if trial.objection(one, trial.answer(_emptied(model, one)))]
    named = [name for one in faults for name in one.units] or [*cut.units]
    raise CompactionError(
        f"population{'s' if len(named) > 1 else ''} {', '.join(named)} cannot be cut: {reason}. "
        "Exclude the layer, or leave the network masked"
    )


def objection(model: nn.Module, cut: Cut) -> str | None:
    """Return why ``model`` would not run on its example as ``cut`` would leave it, or would answer otherwise.

    It stays as it is. None: it would run, and answer the same. Neurons answer with softsign(x), which is zero
    where x is: behind silent ones, any two networks would answer the same.
    """
    example = cut.before.example
    if example is None:
        return "there is no example to try it on"
    met = {name: model.get_submodule(name) for name in cut.before.meetings}
    neurons = [module for module in met.values() if not isinstance(module, NORMS)]
    trial, whole = _tried(model, cut, example, neurons)
    if whole is None:
        return f"the network does not take its example any more, {trial.failed}"
    return trial.objection(cut, whole)


def _tried(
    model: nn.Module, cut: Cut, example: Example, lively: Sequence[nn.Module] = ()
) -> tuple[_Trial, list[Tensor] | None]:
    """Return a trial, and what the network answers where the units that ``cut`` removes are dead."""
    for exact in (True, False):
        trial = _Trial(model, example, exact=exact, lively=lively)
        whole = trial.answer(_emptied(model, cut))
        if whole is not None:
            break
    return trial, whole


def rehearse_half(model: nn.Module, topology: Topology) -> None:
    """Run ``model`` as it would be without half of each population that can be cut.

    Raises:
        CompactionError: as `rehearse`.
    """
    rehearse(model, half_of(topology, (p.name for p in topology.free() if p.uncut is None)))


def _say_untried(reason: str) -> None:
    warnings.warn(f"a cut cannot be tried on the example: {reason}", stacklevel=4)


class _Trial:
    """Asks a network with its example, in float64 (``exact``) or as it is.

    Attributes:
        lively: neurons that answer with softsign(x).
        failed: where and how the network failed last.
    """

    def __init__(
        self, model: nn.Module, example: Example, *, exact: bool, lively: Sequence[nn.Module] = ()
    ) -> None:
        self.model, self.example, self.exact, self.lively = model, example, exact, lively
        self.failed = ""

    def objection(self, cut: Cut, whole: list[Tensor] | None) -> str | None:
        """Return why the network cannot do without the units of ``cut``, None if it can.

        Args:
            cut: the units that stay.
            whole: what the network answers where the others are dead.
        """
        tensors = {key: tensor_of(self.model, key) for key in cut.segments}
        small = self.answer({id(t): cut.take(key, t.detach()) for key, t in tensors.items()}, cut)
        if small is None:
            return f"the smaller network does not run, {self.failed}: {ADVICE}"
        if whole is None:
            return None
        left = [cut.take_output(number, t) for number, t in enumerate(whole)]
        if [t.shape for t in small] != [t.shape for t in left]:
            return "the smaller network's output has another shape"
        difference = _difference(small, left)
        if difference <= self._allowed(whole, cut) or self._is_random(whole, cut):
            return None
        return (
            f"the smaller network's output differs by {difference:.2g} on the example, so something reads "
            "the number of units or lets them see one another"
        )

    def _allowed(self, whole: list[Tensor], cut: Cut) -> float:
        """Return the difference that rounding explains."""
        if self.exact:
            return EXACT * max((float(t.abs().max()) for t in whole if t.numel()), default=0.0) + 1e-9
        dice, contents = torch.Generator().manual_seed(0), _emptied(self.model, cut)
        for tensor in self.model.parameters():
            if tensor.is_floating_point():
                value = contents.get(id(tensor), tensor.detach())
                noise = torch.randn(value.shape, generator=dice).to(value)
                contents[id(tensor)] = value + value * noise * ROUNDING * torch.finfo(value.dtype).eps
        noisy = self.answer(contents)
        return 0.0 if noisy is None else 4 * _difference(noisy, whole)

    def _is_random(self, whole: list[Tensor], cut: Cut) -> bool:
        """Tell whether the network answers otherwise with other random numbers."""
        again = self.answer(_emptied(self.model, cut), seed=1)
        return again is None or _difference(again, whole) > 0

    def answer(
        self, contents: Mapping[int, Tensor], cut: Cut | None = None, seed: int = 0
    ) -> list[Tensor] | None:
        """Return what the network answers with other tensors in place of its own; None where it fails."""
        try:
            answers = tensors_in(self._answer(contents, cut, seed))
            return [t.detach().double() for t in answers if not t.is_complex()]
        except Exception as error:
            if memory_full(error) is not None:
                raise
            self.failed = _place(error, self.model)
            return None

    @torch.no_grad()
    def _answer(self, contents: Mapping[int, Tensor], cut: Cut | None, seed: int) -> Any:
        device = next(self.model.parameters()).device
        with ExitStack() as stack:
            stack.enter_context(untouched(self.model))
            self.example.put_at_rest(self.model)
            stack.enter_context(wearing(self.model, contents))
            if cut is not None:
                for module, attribute, size in [*sizes(self.model, cut.segments), *cut.numbers(self.model)]:
                    setattr(module, attribute, size)
            if self.exact:
                stack.enter_context(wearing(self.model, _doubled(self.model)))
            for module in self.lively:
                stack.callback(module.register_forward_hook(_softsign).remove)
            seed_dice(seed, device)
            return self.model(*mapped(list(self.example.arguments), lambda t: self._double(t.to(device))))

    def _double(self, tensor: Tensor) -> Tensor:
        return tensor.double() if self.exact and tensor.is_floating_point() else tensor.clone()


def _softsign(_module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """Return what a neuron answers in a trial, in place of ``output``."""
    x = next((a for a in args if isinstance(a, torch.Tensor)), None)
    if x is None or not isinstance(output, torch.Tensor) or output.shape != x.shape:
        return output
    return torch.nn.functional.softsign(x)


def _emptied(model: nn.Module, cut: Cut) -> dict[int, Tensor]:
    """Return the tensors of ``cut`` as they are where the units that go are dead, by the id of each."""
    found: dict[int, Tensor] = {}
    for name, stays in cut.units.items():
        population = cut.before.populations[name]
        for slot in population.slots:
            if slot.dies:
                tensor = tensor_of(model, slot.key)
                content = found.setdefault(id(tensor), tensor.detach().clone())
                run = slot.run(population)
                gone = ~run.per_entry(stays).to(content.device)
                content.narrow(slot.axis, run.offset, run.length).movedim(slot.axis, 0)[gone] = 0
    return found


def _doubled(model: nn.Module) -> dict[int, Tensor]:
    """Return the tensors that modules hold, in float64, by the id of each."""
    places = (place for m in model.modules() for place in (m._parameters, m._buffers, vars(m)))
    held = (v for place in places for v in place.values())
    floats = (v for v in held if isinstance(v, torch.Tensor) and v.is_floating_point())
    return {id(v): v.detach().double() for v in floats}


def _difference(one: list[Tensor], other: list[Tensor]) -> float:
    """Return the largest difference; what is no number in both counts as equal."""
    return max((_largest(a, b) for a, b in zip(one, other, strict=True) if a.numel()), default=0.0)


def _largest(a: Tensor, b: Tensor) -> float:
    equal = (a == b) | (a.isnan() & b.isnan())
    return float((a - b).abs().nan_to_num(nan=torch.inf).masked_fill(equal, 0.0).max())


def _place(error: Exception, model: nn.Module) -> str:
    """Return which module and which line of the user's code raised ``error``, and what it says."""
    names = {id(module): name for name, module in model.named_modules() if name}
    frames = [(f, n) for f, n in traceback.walk_tb(error.__traceback__) if not _is_ours(f.f_code.co_filename)]
    inside = [names[id(f.f_locals["self"])] for f, _ in frames if id(f.f_locals.get("self")) in names]
    users = [(f, n) for f, n in frames if not _is_of_a_library(f.f_code.co_filename)]
    said = f"{type(error).__name__}: {in_one_line(error)}".removesuffix(": ")
    where = f"in {inside[-1]} " if inside else ""
    if users:
        frame, number = users[-1]
        file = frame.f_code.co_filename
        line = linecache.getline(file, number).strip()
        where += f"at {Path(file).name}, line {number}{f' `{line:.80}`' if line else ''} "
    return f"{where}({said})"


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(_HOME)


def _is_of_a_library(file: str) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in _LIBRARIES)


_HOME = Path(__file__).parents[1]
_LIBRARIES = {Path(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib", "platlib")}
