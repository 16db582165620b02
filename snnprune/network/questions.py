"""What is asked of each neuron after the forward, once: where time is, and whose its values are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.asking import Asked
from snnprune.network.causality import Time, find_time
from snnprune.network.leaves import competes, goes_unit_by_unit, is_multi_step, is_of_spikingjelly
from snnprune.network.wiring import freeze_holders, take_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from snnprune.network.findings import Call, Findings, Values

FACTORS = (0.0, 3.0)
"""What a value is multiplied with, and added to, to see which units answer differently."""


def question(found: Findings) -> Mapping[str, Time]:
    """Ask a copy of each neuron, give values per unit to their population, and freeze what stays unclear.

    Torch's activations work unit by unit and know no time. SpikingJelly's neurons say where time is.

    Returns:
        What is known of the time axis of each neuron that was asked, by name.
    """
    times: dict[str, Time] = {}
    done: set[str] = set()
    for call in found.calls:
        module, kind = found.leaves[call.name]
        if is_of_spikingjelly(module):
            times.setdefault(call.name, Time(0 if is_multi_step(module) else None))
        if kind == "series" and call.x.ndim == 3:
            times[call.name] = Time(1 if module.batch_first else 0)
        if kind != "neuron" or call.dim is None or not call.keeps_shape or call.name in done:
            continue
        done.add(call.name)
        asked = Asked(module, call.args, call.kwargs, call.x, call.dim)
        asked = take_in(found, call, asked)
        if not _is_of_torch(module):
            _ask_in_training(found, call, asked)
        if call.name in found.states_read and not _rests_at_zero(asked):
            reason = f"a layer reads the state of neuron {call.name}, which is not zero without input"
            found.freeze([call.x], reason)
        if call.name not in times and not _is_of_torch(module):
            times[call.name] = time = find_time(asked)
            if time.unknown is not None:
                found.freeze([call.x], f"neuron {call.name}: {time.unknown}")
        apart = goes_unit_by_unit(module) or (call.name in times and times[call.name].unknown is None)
        for values in [v for v in found.values if v.neuron == call.name]:
            if any(found.units[number].frozen is None for number in found.units.left(values.axis.numbers)):
                _give(found, values, asked, apart=apart)
    freeze_holders(found)
    return times


def _ask_in_training(found: Findings, call: Call, asked: Asked) -> None:
    """Freeze what a neuron hands to the layers behind it in another way when it is trained."""
    try:
        with torch.enable_grad():
            given = asked.x.detach().clone().requires_grad_(asked.x.is_floating_point())
            trained = len(asked.outputs(given, training=True))
    except Exception:
        return  # what cannot be asked by itself is said elsewhere
    if trained != call.handed:
        found.freeze(
            [call.x],
            f"neuron {call.name} hands out {trained} tensors in training and {call.handed} in evaluation, so "
            "what the layers behind it read in training is not known",
        )


@torch.no_grad()
def _rests_at_zero(asked: Asked) -> bool:
    """Tell whether all that the neuron hands out is zero where it is given nothing."""
    try:
        return not any(bool(t.any()) for t in asked.outputs(torch.zeros_like(asked.x)))
    except Exception:
        return False


def _give(found: Findings, values: Values, asked: Asked, *, apart: bool) -> None:
    """Let a parameter or buffer belong to the units, to all of them together, or be a reason to freeze them.

    Args:
        found: what was seen.
        values: the tensor.
        asked: its neuron.
        apart: no unit of the neuron sees another, so a value that is no unit's own is shared by all.
    """
    module: Any = asked.module
    declared = competes(module) and values.tensor in module.competing
    answers = {dim: declared or _is_of_units(asked, values.tensor, dim) for dim in values.dims}
    own = [dim for dim, answer in answers.items() if answer]
    shared = apart and not any(answer is not False for answer in answers.values())
    if len(own) != 1 and values.fits and None in answers.values():
        own = list(values.dims)
    if len(own) == 1:
        found.units.add_slots(values.axis, values.neuron, values.tensor, own[0], "neuron")
    elif not shared:
        reason = f"neuron {values.neuron} has a parameter of shape {values.shape} ({values.tensor})"
        found.units.freeze(values.axis.numbers, reason)


def _is_of_units(asked: Asked, tensor: str, dim: int) -> bool | None:
    """Tell whether the entries of an axis of ``tensor`` are the units' own; None where nothing shows it."""
    for shape in dict.fromkeys(asked.shapes()):
        try:
            touched = [_touched(asked, tensor, dim, shape, unit) for unit in (0, shape[asked.channels] - 1)]
        except Exception:  # noqa: S112 - somebody's module, asked with a shape of the probe's own
            continue
        first, last = touched
        if first - {0} or last - {shape[asked.channels] - 1}:
            return False
        return True if first and last else None
    return None


@torch.no_grad()
def _touched(asked: Asked, tensor: str, dim: int, shape: torch.Size, unit: int) -> set[int]:
    """Return the units that answer differently once the entries of ``unit`` are changed."""
    module: Any = asked.module
    value = dict([*module.named_parameters(), *module.named_buffers()])[tensor]
    found: set[int] = set()
    for _, given in asked.inputs(shape):
        base = asked.answer(given)
        for factor in FACTORS:
            changed = value.detach().clone()
            changed.select(dim, unit).mul_(factor).add_(factor)
            differ = (asked.answer(given, {tensor: changed}) != base).movedim(asked.channels, 0)
            found |= {int(n) for n in differ.flatten(1).any(1).nonzero().flatten()}
        if found:
            break
    return found


def _is_of_torch(module: nn.Module) -> bool:
    return type(module).__module__.partition(".")[0] == "torch"
