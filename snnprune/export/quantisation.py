"""A network whose weights, thresholds and leaks lie on a grid of few bits, as neuromorphic chips compute.

Each unit has its own step: s = max |w| / (2^(bits-1) - 1) over the weights that come into it, so that weights
are whole numbers of ``bits`` bits, sign included. Currents are sums of weights, so the unit's bias, threshold
and reset are rounded to whole numbers of the same steps. The leak is the share of a potential that is left
after a time step; it is rounded to a multiple of 2^-bits. `snnprune.export.whole_numbers` says what is then
computed.

A unit whose weights are tiny beside its threshold, reset or bias has larger steps, at which the largest of
these is 2^30: its weights become smaller whole numbers, or 0. A threshold above the reset stays above it, by
one step at least, so neurons that are silent at rest stay silent; one that is not above stays so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.common.errors import UserError, with_article
from snnprune.export.chance import currents, frames_like
from snnprune.export.graph import NORMS, folded, layer_of, trace
from snnprune.export.readout import is_integrator
from snnprune.export.recurrence import recurrent_kinds, recurrent_layers
from snnprune.export.whole_numbers import (
    GridLayer,
    GridNeurons,
    GridReadout,
    WholeLayer,
    WholeLoop,
    WholeNeurons,
    WholeReadout,
    WholeStep,
    in_double,
    unit_of,
    wide,
)
from snnprune.network import discover
from snnprune.network.duplicate import duplicate
from snnprune.network.leaves import CONVOLUTIONS, has_plain_forward, is_multi_step, spiking_base

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from snnprune.network.topology import Projection, Topology

KINDS = {
    **dict.fromkeys(("LIFNode", "IFNode", "ParametricLIFNode"), "spikingjelly."),
    "HeterogeneousLIFNode": "snnprune.",
}
"""Neurons that can be put on a grid, and where they come from."""

WIDEST = 2**30
"""Largest threshold, reset or bias in steps: they are int32, and steps are rounded to float32."""


@dataclass(frozen=True)
class Quantised:
    """A network on a grid.

    Attributes:
        model: computes with the whole numbers; multi-step, [T, B, C, H, W] to [T, B, K] in float64.
        bits: of a weight.
        layers: whole numbers of each convolution and linear layer.
        neurons: whole numbers of each layer of neurons.
        readouts: whole numbers of each layer of leaky integrators.
        floats: the same network with rounded weights and neurons in float64, whose forward can be followed.
        example: the frames that it was made with.
    """

    model: nn.Module
    bits: int
    layers: dict[str, GridLayer]
    neurons: dict[str, GridNeurons]
    readouts: dict[str, GridReadout]
    floats: nn.Module
    example: Tensor


@torch.no_grad()
def quantise(model: nn.Module, example: Tensor, bits: int) -> Quantised:
    """Return a copy of ``model`` on a grid of ``bits`` bits, norms folded first.

    Args:
        model: a spiking network in multi-step mode.
        example: encoded frames [T, B, C, H, W]; discovery uses them to find the neurons that read each layer.
        bits: of a weight, its sign included: 2 to 16.

    Raises:
        UserError: bits out of range, a layer that cannot be put on a grid, a number that is not finite, or a
            network that does something that whole numbers of its units' own steps cannot say.
    """
    if not 2 <= bits <= 16:
        raise UserError(f"--bits must be from 2 to 16, and is {bits}: chips have 8 or 4")
    real = folded(model).double()
    _check_modules(real)
    topology = discover(real, example.double())
    groups = _groups(topology.projections.values())
    _check_whole(real, topology, groups)
    read = _readouts(real)
    layers: dict[str, GridLayer] = {}
    neurons: dict[str, GridNeurons] = {}
    readouts: dict[str, GridReadout] = {}
    for name, group in groups.items():
        neuron: Any = None if group[0].neuron is None else real.get_submodule(name)
        steps = _steps(real, group, neuron, bits)
        for projection in group:
            reader = read.get(projection.name, projection.neuron)
            layers[projection.name] = _round(real, projection, steps, reader)
            if projection.name in read:
                readouts[str(reader)] = _leaky(real.get_submodule(str(reader)), steps, bits)
        if neuron is not None:
            neurons[name] = _constants(neuron, steps, bits)
    layers = {name: layers[name] for name in topology.projections}
    whole = _whole(real, layers, (neurons, readouts), bits)
    grid = Quantised(whole, bits, layers, neurons, readouts, real, example)
    _check_agreement(real, grid, example)
    return grid


def _whole(
    real: nn.Module,
    layers: dict[str, GridLayer],
    readers: tuple[dict[str, GridNeurons], dict[str, GridReadout]],
    bits: int,
) -> nn.Module:
    """Return a copy of the rounded network that computes with its whole numbers."""
    neurons, readouts = readers
    whole = duplicate(real).requires_grad_(False)
    for name, layer in layers.items():
        whole.set_submodule(name, WholeLayer(name, whole.get_submodule(name), layer))
        if layer.neuron in neurons:
            constants, places = neurons[layer.neuron], layer.weights.ndim - 2
            whole.set_submodule(layer.neuron, WholeNeurons(layer.neuron, constants, places, bits))
        elif layer.neuron is not None:
            whole.set_submodule(layer.neuron, WholeReadout(layer.neuron, readouts[layer.neuron], bits))
    for name, loop in recurrent_layers(whole).items():
        whole.set_submodule(name, WholeLoop(loop.feedback, WholeStep(loop.neuron)))
    whole.register_forward_pre_hook(in_double)
    return whole


def _readouts(model: nn.Module) -> dict[str, str]:
    """Return the leaky integrators that read a layer, by name of this layer.

    Raises:
        UserError: one reads something else than one layer alone.
    """
    found = {}
    for node in trace(model).nodes:
        if is_integrator(layer_of(node, model)):
            (source,) = node.all_input_nodes
            before = layer_of(source, model)
            if not isinstance(before, nn.Linear) or len(source.users) > 1:
                raise UserError(
                    f"leaky integrators '{node.target}' do not read one linear layer alone, whose steps they "
                    "would have on a grid"
                )
            found[str(source.target)] = str(node.target)
    return found


# --- what can be put on a grid


def _check_modules(model: nn.Module) -> None:
    loops = recurrent_layers(model)
    for name, module in model.named_modules():
        if type(module).__name__ in NORMS:
            raise UserError(
                f"layer '{name}' is a norm without a layer right before it that it can be folded into"
            )
        kind, place = type(module).__name__, KINDS.get(type(module).__name__)
        known = place is not None and type(module).__module__.startswith(place)
        loop = isinstance(module, recurrent_kinds())
        if loop and not (hasattr(module, "feedback") and is_multi_step(module)):
            raise UserError(
                f"layer '{name}' is {with_article(kind)}, and the only recurrent layer that can be put "
                "on a grid is a Recurrent of snnprune.nn.recurrent in multi-step mode"
            )
        multi = is_multi_step(module) or name.rpartition(".")[0] in loops
        if isinstance(module, spiking_base()) and not (known and multi):
            raise UserError(
                f"layer '{name}' is {with_article(kind)}, and only {', '.join(KINDS)} in multi-step mode "
                "can be put on a grid"
            )


def _groups(projections: Iterable[Projection]) -> dict[str, list[Projection]]:
    """Group the layers that the same neurons read: their currents are added, so they share a grid.

    Raises:
        UserError: neurons read several layers side by side, or the units of one along another axis.
    """
    groups: dict[str, list[Projection]] = {}
    for projection in projections:
        # A layer that no neurons read is an output of the network, and has a grid of its own.
        groups.setdefault(projection.neuron or f"answer of {projection.name}", []).append(projection)
    for name, group in groups.items():
        if len({p.shape[0] for p in group}) > 1 or any(p.site and p.site.offset for p in group):
            raise UserError(f"layer '{name}' reads several layers side by side, which cannot share a grid")
        if any(p.site and (p.site.calls > 1 or p.site.axis != 1 - len(p.shape)) for p in group):
            raise UserError(
                f"layer '{name}' stands in several places, or does not read a layer unit by unit: give each "
                "layer neurons of its own, right behind it, to put the network on a grid"
            )
    return groups


def _check_whole(model: nn.Module, topology: Topology, groups: dict[str, list[Projection]]) -> None:
    """Refuse what would stay in floats beside the whole numbers."""
    for name in topology.projections:
        module = model.get_submodule(name)
        if not isinstance(module, (*CONVOLUTIONS, nn.Linear)) or not has_plain_forward(module):
            raise UserError(
                f"layer '{name}' is {with_article(type(module).__name__)}, and only convolutions and linear "
                "layers with a weight of their own can be put on a grid"
            )
    for node in trace(model).nodes:  # in the order of the forward; what is not called does not matter
        called, name = layer_of(node, model), str(node.target)
        if isinstance(called, recurrent_kinds()):
            _check_loop(name, topology, groups)
            continue
        if name in groups and type(called).__name__ not in KINDS:
            raise UserError(
                f"layer '{name}' is {with_article(type(called).__name__)}, which puts out no spikes"
            )
        if isinstance(called, spiking_base()) and name not in groups:
            raise UserError(
                f"layer '{name}' does not read the units of one layer, or of layers that are added, whose "
                "steps it would have on a grid"
            )
        floats = [] if called is None or name in {*topology.projections, *groups} else called.parameters()
        if node.op == "get_attr" or any(True for _ in floats):
            what = "a tensor" if called is None else f"a {type(called).__name__} with parameters"
            raise UserError(f"'{name}' is {what} that the network computes with, for which there is no grid")


def _check_loop(name: str, topology: Topology, groups: dict[str, list[Projection]]) -> None:
    """Check that discovery has seen the neurons of a recurrent layer read its feedback."""
    feedback = topology.projections.get(f"{name}.feedback")
    if feedback is None or f"{name}.neuron" not in groups or feedback.neuron != f"{name}.neuron":
        raise UserError(
            f"recurrent layer '{name}' cannot be put on a grid: its neurons do not read its feedback alone "
            "beside one layer's currents"
        )


def _check_agreement(real: nn.Module, grid: Quantised, example: Tensor) -> None:
    """Compare what neurons read and networks answer, in values and in whole numbers, given the same spikes.

    They differ where the network does more with a layer's currents than to add and pool them: where two
    layers with different steps are added, or something that has no steps, or where values are bent.
    """
    frames = frames_like(example)
    readers = [*grid.neurons, *grid.readouts]
    values, answers = currents(real, readers, frames)
    numbers, others = currents(grid.model, readers, frames)
    units = {layer.neuron: unit_of(layer.steps, layer.weights.ndim - 2) for layer in grid.layers.values()}
    pairs = [(name, value, numbers[name] * units[name]) for name, value in values.items()]
    pairs += [("its output", *both) for both in zip(answers, others, strict=True)]
    for name, value, other in pairs:
        if not torch.allclose(value, other, rtol=0.0, atol=1e-3 * float(value.abs().max())):
            where = name if name == "its output" else f"layer '{name}'"
            raise UserError(
                f"the network cannot be put on a grid: {where} reads more than sums and pools of layers that "
                "share their steps"
            )


# --- whole numbers


def _steps(model: nn.Module, group: list[Projection], neuron: Any, bits: int) -> Tensor:
    """Return the value of 1 in each unit, [units]; that of a unit of zeros is arbitrary.

    The values are exact in float32, as in the files; their dtype is float64, for precise sums.

    Raises:
        UserError: a number is not finite, or too large for a grid.
    """
    own = [model.get_parameter(p.weight).flatten(1).abs().amax(1) / (2 ** (bits - 1) - 1) for p in group]
    layers = [model.get_submodule(p.name) for p in group]
    biases = [layer.get_parameter("bias").abs() for layer in layers if layer._parameters["bias"] is not None]
    own += [bias / WIDEST for bias in biases]
    if neuron is not None:
        gain = _dynamics(neuron)[1].to(own[0].device)
        own += [abs(v) / gain / WIDEST for v in (neuron.v_threshold, neuron.v_reset or 0.0)]
    steps = torch.stack(torch.broadcast_tensors(*own)).amax(0)
    steps = torch.where(steps == 0, 1.0, steps.clamp(min=torch.finfo(torch.float32).tiny)).float().double()
    if not steps.isfinite().all():
        raise UserError(
            f"layer '{group[0].name}' cannot be put on a grid: a weight or bias of it, or a constant of the "
            "neurons behind it, is not a finite number or too large"
        )
    return steps


def _constants(neuron: Any, steps: Tensor, bits: int) -> GridNeurons:
    """Return the constants of SpikingJelly's ``neuron`` in steps of the potential."""
    stays, gain = (constant.to(steps.device) for constant in _dynamics(neuron))

    def whole(value: float) -> Tensor:
        return (value / (steps * gain)).round()

    threshold, rest = float(neuron.v_threshold), float(neuron.v_reset or 0.0)
    thresholds, rests = whole(threshold), whole(rest)
    thresholds = thresholds.maximum(rests + 1) if threshold > rest else thresholds.minimum(rests)
    resets = None if neuron.v_reset is None else rests.int()
    leaks = (stays * 2**bits).round().int()
    return GridNeurons(thresholds.int(), resets, leaks if leaks.ndim else int(leaks))


def _leaky(integrator: Any, steps: Tensor, bits: int) -> GridReadout:
    """Return the constants of leaky integrators in steps of the layer that they read."""
    own = (steps * (1.0 - integrator.decay)).float().double()
    return GridReadout(own, round(integrator.decay * 2**bits))


def _dynamics(neuron: Any) -> tuple[Tensor, Tensor]:
    """Return the share of a potential that is left after a step, and the factor of a current, float64.

    Each is one number, or [units] where neurons differ.
    """
    kind, one = type(neuron).__name__, torch.ones((), dtype=torch.float64)
    if kind == "IFNode":
        return one, one
    if kind == "HeterogeneousLIFNode":
        from snnprune.nn.models.decays import bounded  # noqa: PLC0415 - its network has imported it

        stays = torch.as_tensor(bounded(neuron.decay)).double()
        return stays, 1.0 - stays
    leaks = one / float(neuron.tau) if kind == "LIFNode" else one * float(neuron.w.detach().sigmoid())
    return 1.0 - leaks, leaks if neuron.decay_input else one


def _round(model: nn.Module, projection: Projection, steps: Tensor, reader: str | None) -> GridLayer:
    """Round weights and biases of a layer in place, and return them as whole numbers."""
    layer = model.get_submodule(projection.name)
    weight, bias = layer.get_parameter("weight"), layer._parameters["bias"]
    weights = (weight / wide(steps, weight.ndim)).round()
    weight.copy_(weights * wide(steps, weight.ndim))
    biases = None
    if bias is not None:
        biases = (bias / steps).round()
        bias.copy_(biases * steps)
        biases = biases.int()
    return GridLayer(weights.int(), biases, steps, reader)
