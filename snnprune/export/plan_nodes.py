"""Layers, neurons and recurrent layers of torch, SpikingJelly and snnprune as nodes of a plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from snnprune.common.errors import UserError, with_article
from snnprune.engine.plan import (
    INPUT,
    Convolution,
    Flatten,
    Integrators,
    Linear,
    Neurons,
    Norm,
    Pool,
    Source,
    Sum,
)
from snnprune.export import plan_neurons
from snnprune.export.graph import NORMS
from snnprune.export.plan_flow import Flow, as_shape, reshaped
from snnprune.export.plan_windows import POOLS, windows
from snnprune.export.readout import is_integrator
from snnprune.export.recurrence import recurrent_kinds
from snnprune.network.leaves import ACTIVATIONS, CONVOLUTIONS, has_plain_forward, is_multi_step, spiking_base

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from snnprune.engine.plan import Node
    from snnprune.export.quantisation import Quantised

    Array = npt.NDArray[Any]

TDBN = {"ThresholdDependentBatchNorm1d", "ThresholdDependentBatchNorm2d"}
"""SpikingJelly's tdBN: an ordinary norm in evaluation mode."""

PASSED = {"Identity", "Dropout", "Dropout1d", "Dropout2d", "PrintShapeModule"}
"""Layers that do nothing in evaluation mode."""


class Nodes:
    """The nodes of a plan, one layer after the other.

    Args:
        places: shape of a sample of the input at one time step.
        steps: T of the values that are followed.
        dtype: of the plan.
        grid: the network in whole numbers, None for floats.

    Attributes:
        made: the nodes so far.
        first: the input.
    """

    def __init__(
        self, places: tuple[int, ...], steps: int, dtype: np.dtype[Any], grid: Quantised | None
    ) -> None:
        self.steps, self.dtype, self.grid = steps, dtype, grid
        self.made: list[Node] = []
        self.calls: Counter[str] = Counter()
        self.memories: list[int] = []
        self.first = self._flow(Source(INPUT), places, "steps")

    def layer(self, name: str, module: nn.Module, flow: Flow) -> Flow:  # noqa: PLR0911 - one for each kind
        """Return what a layer makes of a value.

        Raises:
            UserError: a plan cannot hold it. The message names the layer.
        """
        kind, place = type(module).__name__, type(module).__module__.partition(".")[0]
        known = place in ("torch", "spikingjelly")
        if isinstance(module, recurrent_kinds()):
            return self._loop(name, module, flow)
        if is_integrator(module):
            return self._integrators(name, module, flow)
        if isinstance(module, spiking_base()):
            return self._neurons(name, module, flow)
        if isinstance(module, CONVOLUTIONS[:2]) and has_plain_forward(module):
            return self._convolution(name, module, flow)
        if isinstance(module, nn.Linear) and has_plain_forward(module):
            return self._linear(name, module, flow)
        if known and kind in POOLS:
            return self._pool(name, module, flow)
        if known and kind in NORMS - {"BatchNorm3d"} | TDBN:
            return self._norm(name, module, flow)
        if known and kind == "Flatten":
            return self.shaped(name, reshaped(name, flow, module))
        if known and kind in PASSED:
            return flow
        if known and kind == "VotingLayer":
            return self._vote(name, module, flow)
        if known and kind in ("SeqToANNContainer", "MultiStepContainer") and flow.axes == "steps":
            inside = replace(flow, axes="rows" if kind == "SeqToANNContainer" else "one")
            return replace(self._chain(name, module, inside), axes="steps")
        raise UserError(self._why_not(name, module))

    def _why_not(self, name: str, module: nn.Module) -> str:
        kind = with_article(type(module).__name__)
        if isinstance(module, ACTIVATIONS):
            return (
                f"layer '{name}' is {kind}, which hands on numbers, and an event-driven network has neurons "
                "that spike: use SpikingJelly's in its place"
            )
        return (
            f"layer '{name}' is {kind}, which an event-driven network has no node for: it holds plain "
            "Conv1d, Conv2d and Linear, pools, batch norms, Flatten, neurons and recurrent layers"
        )

    def _chain(self, name: str, module: nn.Module, flow: Flow) -> Flow:
        """Return what a sequence of layers, or one layer, makes of a value."""
        if type(module).__name__ in ("Sequential", "SeqToANNContainer", "MultiStepContainer"):
            for child, layer in module.named_children():
                flow = self._chain(f"{name}.{child}", layer, self.read(name, flow))
            return flow
        return self.layer(name, module, flow)

    def _convolution(self, name: str, module: Any, flow: Flow) -> Flow:
        line = isinstance(module, nn.Conv1d)
        self._aligned(name, module, flow, 2 if line else 3)
        if module.padding_mode != "zeros":
            raise UserError(
                f"layer '{name}' pads with '{module.padding_mode}', and an event-driven network pads with "
                "zeros alone: set padding_mode='zeros'"
            )
        pads = list(module._reversed_padding_repeated_twice)  # left, right, and for maps top, bottom
        if pads[::2] != pads[1::2]:
            raise UserError(
                f"layer '{name}' pads one side more than the other (padding='{module.padding}' with an even "
                "kernel), and an event-driven network pads both alike: use an odd kernel or a number"
            )
        places = _shape_of(module, flow, nn.Conv1d if line else nn.Conv2d)
        numbers = self._numbers(name, module)
        weights = numbers.pop("weights")
        made = self._add(
            Convolution(
                name=self._named(name),
                sources=(flow.source,),
                shape=as_shape(name, places),
                weights=weights[:, :, None] if line else weights,
                stride=_pair(module.stride, 1),
                padding=_pair(tuple(reversed(pads[::2])), 0),
                dilation=_pair(module.dilation, 1),
                groups=module.groups,
                **numbers,
            )
        )
        return self._flow(made, places, flow.axes)

    def _linear(self, name: str, module: Any, flow: Flow) -> Flow:
        if len(flow.places) != 1:
            raise UserError(
                f"layer '{name}' is {with_article(type(module).__name__)} that reads samples of shape "
                f"{flow.places}, and an event-driven network has linear layers of units: put a Flatten "
                "before it"
            )
        return self._synapses(name, self._numbers(name, module), (flow.source,), flow)

    def _synapses(self, name: str, numbers: Any, sources: tuple[Source, ...], flow: Flow) -> Flow:
        units = len(numbers["weights"])
        made = self._add(Linear(name=self._named(name), sources=sources, shape=(units, 1, 1), **numbers))
        return self._flow(made, (units,), flow.axes)

    def _numbers(self, name: str, module: Any) -> dict[str, Any]:
        """Return weights and biases of a layer, and in whole numbers their steps.

        Raises:
            UserError: one is not finite.
        """
        if self.grid is not None:
            own = self.grid.layers[name]
            return {
                "weights": own.weights.cpu().numpy().astype(np.int32),
                "biases": None if own.biases is None else own.biases.cpu().numpy().astype(np.int32),
                "steps": own.steps.double().cpu().numpy(),
                "whole": own.neuron is not None,
            }
        bias = module._parameters["bias"]
        return {
            "weights": self._floats(name, module.weight),
            "biases": None if bias is None else self._floats(name, bias),
        }

    def _floats(self, name: str, tensor: Tensor, dtype: Any = None) -> Array:
        found: Array = tensor.detach().double().cpu().numpy()
        if not np.isfinite(found).all():
            raise UserError(
                f"layer '{name}' has a weight, bias or statistic that is no finite number: train the network "
                "with a smaller rate"
            )
        return found.astype(self.dtype if dtype is None else dtype)

    def _pool(self, name: str, module: Any, flow: Flow) -> Flow:
        line = type(module).__name__.endswith("1d")
        self._aligned(name, module, flow, 2 if line else 3)
        base = getattr(nn, type(module).__name__)
        answers = getattr(module, "return_indices", False)
        places = flow.places if answers else _shape_of(module, flow, base)
        before, after = (as_shape(name, p)[1:] for p in (flow.places, places))
        rows, columns, divisors = windows(name, module, before, after)
        kind: Any = "average" if "Avg" in type(module).__name__ else "maximum"
        made = self._add(
            Pool(
                name=self._named(name),
                sources=(flow.source,),
                shape=as_shape(name, places),
                kind=kind,
                rows=rows,
                columns=columns,
                divisors=divisors,
            )
        )
        return self._flow(made, places, flow.axes)

    def _vote(self, name: str, module: Any, flow: Flow) -> Flow:
        """Return the means of neighbours in a row: the row is laid along the columns of a map, and pooled."""
        self._aligned(name, module, flow, 1)
        (units,), size = flow.places, int(module.voting_size)
        count = units // size
        line = self._add(
            Flatten(name=self._named(f"{name}.line"), sources=(flow.source,), shape=(1, 1, units))
        )
        first = np.arange(count, dtype=np.int32) * size
        pool = self._add(
            Pool(
                name=self._named(f"{name}.pool"),
                sources=(line,),
                shape=(1, 1, count),
                kind="average",
                rows=np.array([[0, 1]], np.int32),
                columns=np.stack([first, first + size], 1).astype(np.int32),
                divisors=np.full((1, count), float(size)),
            )
        )
        made = self._add(Flatten(name=self._named(name), sources=(pool,), shape=(count, 1, 1)))
        return self._flow(made, (count,), flow.axes)

    def _norm(self, name: str, module: Any, flow: Flow) -> Flow:
        self._aligned(name, module, flow)
        if module.running_var is None:
            raise UserError(
                f"layer '{name}' is a norm without running statistics, and an event-driven network sees no "
                "batch: set track_running_stats=True"
            )
        variance, mean = (
            self._floats(name, t).astype(np.float64) for t in (module.running_var, module.running_mean)
        )
        weight, bias = (
            None if t is None else self._floats(name, t).astype(np.float64)
            for t in (module.weight, module.bias)
        )
        scale = (1.0 if weight is None else weight) / np.sqrt(variance + module.eps)
        made = self._add(
            Norm(
                name=self._named(name),
                sources=(flow.source,),
                shape=as_shape(name, flow.places),
                mean=mean.astype(self.dtype),
                scale=scale.astype(self.dtype),
                shift=(np.zeros_like(mean) if bias is None else bias).astype(self.dtype),
            )
        )
        return self._flow(made, flow.places, flow.axes)

    def total(self, name: str, flows: list[Flow], *, in_place: bool = False) -> Flow:
        """Return the sum of values of one shape; the first is lost if it is changed in place."""
        shape = as_shape(name, flows[0].places)
        made = self._add(Sum(name=self._named(name), sources=tuple(f.source for f in flows), shape=shape))
        if not in_place:
            return self._flow(made, flows[0].places, flows[0].axes)
        memory = flows[0].memory
        self.memories[memory] += 1
        return replace(flows[0], source=made, version=self.memories[memory])

    def shaped(self, name: str, flow: Flow) -> Flow:
        """Return a reshaped value, behind a `Flatten` where its numbers stand otherwise now."""
        if flow.axes == "rows" and not 1 <= len(flow.places) <= 3:
            return flow  # of a fold and its inverse
        shape = as_shape(name, flow.places)
        if self._shape(flow.source) == shape:
            return flow
        made = self._add(Flatten(name=self._named(name), sources=(flow.source,), shape=shape))
        return replace(flow, source=made)

    # --- neurons

    def _neurons(self, name: str, module: Any, flow: Flow) -> Flow:
        self._timed(name, module, flow)
        units = flow.places[0] if len(flow.places) == 1 else None
        if self.grid is not None:
            fields = plan_neurons.of_grid(self.grid.neurons[name])
        else:
            fields = plan_neurons.of_floats(name, module, units, self.dtype)
        self._check_new(name)
        shape = as_shape(name, flow.places)
        made = self._add(Neurons(name=self._named(name), sources=(flow.source,), shape=shape, **fields))
        return self._flow(made, flow.places, flow.axes)

    def _integrators(self, name: str, module: Any, flow: Flow) -> Flow:
        self._timed(name, module, flow)
        leak, steps = np.array([module.decay], np.float64), None
        if self.grid is not None:
            readout = self.grid.readouts[name]
            leak, steps = np.array([readout.leak], np.int32), readout.steps.double().cpu().numpy()
        self._check_new(name)
        shape = as_shape(name, flow.places)
        made = self._add(
            Integrators(name=self._named(name), sources=(flow.source,), shape=shape, leak=leak, steps=steps)
        )
        return self._flow(made, flow.places, flow.axes)

    def _loop(self, name: str, module: Any, flow: Flow) -> Flow:
        """Return the spikes of a recurrent layer."""
        self._timed(name, module, flow)
        self._check_new(name)
        one = replace(flow, axes="one")
        if hasattr(module, "feedback"):
            back = self._back(name, f"{name}.feedback", module.feedback, flow)
            current = self.total(name, [one, self._flow(back, flow.places, "one")])
            y = self._chain(f"{name}.neuron", module.neuron, current)
        elif hasattr(module, "rc"):
            inputs, own = flow.places[0], f"{name}.rc"
            numbers = self._numbers(own, module.rc)
            both = numbers.pop("weights")
            forward = self._synapses(own, numbers | {"weights": both[:, :inputs]}, (flow.source,), one)
            returned = {"weights": both[:, inputs:], "biases": None}
            back = self._synapses(f"{own}.feedback", returned, (Source(INPUT),), one).source
            current = self.total(name, [forward, self._flow(back, forward.places, "one")])
            y = self._chain(f"{name}.sub_module", module.sub_module, current)
        else:
            back = None
            place = len(self.made)
            _check_adds(name, module)
            current = self.total(name, [one, one])
            y = self._chain(f"{name}.sub_module", module.sub_module, current)
            self.made[place] = replace(self.made[place], sources=(Source(y.source.node, 1), flow.source))
        if back is not None:
            self.made[back.node] = replace(self.made[back.node], sources=(Source(y.source.node, 1),))
        self._check_loop(name, module, flow, y)
        return replace(y, axes=flow.axes)

    def _back(self, name: str, own: str, feedback: nn.Module, flow: Flow) -> Source:
        """Add the synapses that lead back in a `Recurrent`; what they read is filled in later."""
        if not isinstance(feedback, nn.Linear) or not has_plain_forward(feedback):
            raise UserError(
                f"recurrent layer '{name}' feeds back through {with_article(type(feedback).__name__)}, and "
                "an event-driven network has linear layers for that: use nn.Linear"
            )
        return self._synapses(own, self._numbers(own, feedback), (Source(INPUT),), flow).source

    def _check_loop(self, name: str, module: Any, flow: Flow, y: Flow) -> None:
        """Check that what a recurrent layer hands on fits what its feedback reads."""
        wanted = (module.sub_module_out_features,) if hasattr(module, "rc") else flow.places
        if len(flow.places) != 1 and not hasattr(module, "element_wise_function"):
            raise UserError(
                f"recurrent layer '{name}' reads samples of shape {flow.places}, and an event-driven network "
                "has feedback between units: put a Flatten before it"
            )
        if y.places != tuple(wanted) or y.source.node == INPUT:
            raise UserError(
                f"recurrent layer '{name}' feeds back samples of shape {y.places}, and reads {tuple(wanted)}"
            )

    # --- the graph

    def _flow(self, source: Source, places: tuple[int, ...], axes: Any) -> Flow:
        """Return a value with memory of its own."""
        self.memories.append(0)
        return Flow(source, tuple(places), axes, self.steps, len(self.memories) - 1)

    def read(self, name: str, flow: Flow) -> Flow:
        """Return ``flow``, which ``name`` reads.

        Raises:
            UserError: it was changed in place since.
        """
        if flow.version != self.memories[flow.memory]:
            raise UserError(
                f"'{name}' reads a value to which something was added in place before: write x = x + y in "
                "place of x += y"
            )
        return flow

    def _add(self, node: Node) -> Source:
        self.made.append(node)
        return Source(len(self.made) - 1)

    def _shape(self, source: Source) -> Any:
        return (
            as_shape("the input", self.first.places) if source.node == INPUT else self.made[source.node].shape
        )

    def _named(self, name: str) -> str:
        """Return a name for a node of the layer ``name``, which may be called several times."""
        self.calls[name] += 1
        return name if self.calls[name] == 1 else f"{name} ({self.calls[name]})"

    def _check_new(self, name: str) -> None:
        """Check that the layer ``name``, which has states, was not called before."""
        if self.calls[name]:
            raise UserError(
                f"layer '{name}' stands in several places, and its states go from one to the next: give each "
                "place neurons of its own"
            )

    def _aligned(self, name: str, module: nn.Module, flow: Flow, axes: int | None = None) -> None:
        """Check that a layer takes samples for samples, and reads samples of ``axes`` axes."""
        if is_multi_step(module) == (flow.axes == "steps") and (axes or len(flow.places)) == len(flow.places):
            return
        leading = {"steps": "[T, B, ...]", "rows": "[T x B, ...]"}.get(flow.axes, "[B, ...]")
        raise UserError(
            f"layer '{name}' is {with_article(type(module).__name__)} in step mode "
            f"'{getattr(module, 'step_mode', 's')}', and reads {leading} with samples of shape "
            f"{flow.places}, which it does not take one by one: use SpikingJelly's layers, and "
            "functional.set_step_mode(net, 'm')"
        )

    def _timed(self, name: str, module: nn.Module, flow: Flow) -> None:
        """Check that a layer with states is called for all time steps, or for one after the other."""
        wanted = "steps" if is_multi_step(module) else "one"
        if flow.axes != wanted:
            raise UserError(
                f"layer '{name}' is {with_article(type(module).__name__)} in step mode "
                f"'{'m' if wanted == 'steps' else 's'}', and is not called for time steps that follow each "
                "other: call functional.set_step_mode(net, 'm') of SpikingJelly"
            )


def _shape_of(module: Any, flow: Flow, base: Any) -> tuple[int, ...]:
    """Return the shape of what torch's own layer hands on for one sample.

    Raises:
        UserError: it cannot read it.
    """
    weight = module._parameters.get("weight")
    kind = torch.float32 if weight is None else weight.dtype
    device = None if weight is None else weight.device
    try:
        made = base.forward(module, torch.zeros((1, *flow.places), dtype=kind, device=device))
    except Exception as error:
        raise UserError(
            f"{with_article(type(module).__name__)} cannot read samples of shape {flow.places}: {error}"
        ) from error
    return tuple(made.shape[1:])


def _pair(numbers: Any, of_rows: int) -> tuple[int, int]:
    """Return what holds for rows and columns; along a sequence ``of_rows`` holds for rows."""
    several = tuple(int(n) for n in numbers)
    return (several[0], several[1]) if len(several) == 2 else (of_rows, several[0])


def _check_adds(name: str, container: Any) -> None:
    """Check that an ElementWiseRecurrentContainer adds its last output to its input."""
    y, x = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    if not torch.equal(container.element_wise_function(y, x), x + y):
        raise UserError(
            f"recurrent layer '{name}' joins its input and its last spikes in another way than by adding "
            "them, which an event-driven network has no node for"
        )
