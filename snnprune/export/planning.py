"""A spiking torch network as a plan: what it computes in one time step, node by node, without torch.

The forward is followed call by call. Each layer is one of a known class with a known forward, or it is
refused by name; each change of shape is asked what it does with numbers that know their own places, and may
not mix time steps, samples or units.
"""

from __future__ import annotations

import operator
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import fx, nn

from snnprune.common.errors import UserError, with_article
from snnprune.engine import plan_file
from snnprune.engine.checking import check
from snnprune.engine.plan import (
    INPUT,
    Convolution,
    Flatten,
    Integrators,
    Linear,
    Neurons,
    Norm,
    Plan,
    Pool,
    Source,
    Sum,
)
from snnprune.export import plan_neurons
from snnprune.export.chance import currents, frames_like
from snnprune.export.graph import NORMS, folded, layer_of, trace
from snnprune.export.limits import ADDITIONS
from snnprune.export.plan_flow import Flow, as_shape, reshaped
from snnprune.export.plan_windows import POOLS, windows
from snnprune.export.quantisation import quantise
from snnprune.export.readout import is_integrator
from snnprune.export.recurrence import recurrent_kinds
from snnprune.network.leaves import (
    ACTIVATIONS,
    CONVOLUTIONS,
    has_plain_forward,
    is_multi_step,
    keep_single_steps,
    spiking_base,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from snnprune.data import Splits
    from snnprune.engine.plan import Node
    from snnprune.export.quantisation import Quantised

    Array = npt.NDArray[Any]
    Made = TypeVar("Made", bound=Node)

TDBN = {"ThresholdDependentBatchNorm1d", "ThresholdDependentBatchNorm2d"}
"""SpikingJelly's tdBN: an ordinary norm in evaluation mode."""

PASSED = {"Identity", "Dropout", "Dropout1d", "Dropout2d", "PrintShapeModule"}
"""Layers that do nothing in evaluation mode."""

SHAPES = {"flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze", "contiguous", "detach"}
"""Functions and methods that change shapes alone."""

LOOKS = {"getattr", "size", "dim", "ndimension", "numel"}
"""Functions and methods that tell a shape."""

ANSWERS = {"mean": "mean", "amax": "max"}
"""Functions and methods over the time axis, and the choice of `snnprune.nn.scores` that each is."""


def plan(
    model: nn.Module,
    example: Tensor,
    *,
    bits: int | None = None,
    dtype: np.dtype[Any] | type | str | None = None,
    over_time: str = "mean",
    about: str = "",
) -> Plan:
    """Return what a spiking network computes in one time step.

    Args:
        model: a spiking network in multi-step mode. `accelerate` is undone and norms are folded in a copy.
        example: encoded frames [T, B, C, H, W] (or [T, B, C, L], [T, B, N]), for shapes and, with ``bits``,
            as `snnprune.export.quantisation.quantise` uses them.
        bits: of a weight, for a network in whole numbers; None for floats.
        dtype: float32 or float64, of floats; by default that of the network. Whole numbers are exact.
        over_time: how outputs [T, B, K] become scores. A network that ends with a mean, a maximum or the last
            step over time itself, is planned without it, and has this one.
        about: text that is kept with the plan.

    Raises:
        UserError: the network does not spike, does something that a plan cannot hold, or cannot be put on a
            grid of ``bits`` bits. The message names the first such layer or operation.

    Examples:
        >>> import torch
        >>> from spikingjelly.activation_based import layer, neuron
        >>> from torch import nn
        >>> from snnprune.export.planning import plan
        >>> net = nn.Sequential(layer.Linear(3, 2, step_mode="m"), neuron.LIFNode(step_mode="m"))
        >>> [type(node).__name__ for node in plan(net, torch.zeros(4, 1, 3)).nodes]
        ['Linear', 'Neurons']
    """
    if not getattr(model, "spiking", True):
        raise UserError(
            f"{type(model).__name__} has no time axis and no neurons that spike, and an event-driven network "
            "has both: train one whose name ends in -snn"
        )
    if bits is not None:
        return of_grid(quantise(model, example, bits), over_time=over_time, about=about)
    ready = folded(model)
    own = next((p.dtype for p in ready.parameters() if p.is_floating_point()), example.dtype)
    kind = np.dtype(str(own).removeprefix("torch.") if dtype is None and own != torch.bfloat16 else dtype)
    if kind not in (np.float32, np.float64) or (dtype is None and own == torch.bfloat16):
        raise UserError(
            f"an event-driven network computes in float32 or float64, and this one has {dtype or own}: give "
            "dtype='float32'"
        )
    return _Walk(ready, example, kind, None).plan(over_time, about)


def of_grid(grid: Quantised, *, over_time: str = "mean", about: str = "") -> Plan:
    """Return the plan of a network on a grid, in whole numbers; arguments and errors are those of `plan`."""
    return _Walk(grid.floats, grid.example, np.dtype(np.float64), grid).plan(over_time, about)


def plan_of(
    path: Path,
    data: Mapping[str, Any] | None = None,
    *,
    bits: int | None = None,
    dtype: np.dtype[Any] | type | str | None = None,
    splits: Splits | None = None,
) -> Plan:
    """Return the plan of the compact network of a run, or of a list of connections.

    A list of connections needs no torch: `snnprune.engine.plan_file.read` reads it, too.

    Args:
        path: folder of a finished run, its model.safetensors, or a file of `snnprune export --to csr`.
        data: settings of `DataConfig` that replace those of the run, such as its root; an example of the data
            is needed.
        bits: as `plan`.
        dtype: as `plan`.
        splits: the data, if they were made by hand.

    Raises:
        UserError: no such network, data that cannot be read, or a network that a plan cannot hold.
    """
    if path.is_file() and plan_file.is_one(path):
        if bits is not None or dtype is not None:
            raise UserError(
                f"{path} holds numbers of its own bits: leave bits and dtype out, or give the run that it "
                "comes from"
            )
        return plan_file.read(path)
    from snnprune.export.finding import find  # noqa: PLC0415 - imports Lightning

    subject = find(path, data or {}, "cpu", compact=path.is_dir(), splits=splits)
    if subject.model is None:
        raise UserError(
            f"{path} is an export already, of which there is no plan: give the run that it comes from, or "
            "export it with --to csr"
        )
    return plan(subject.model, subject.example(), bits=bits, dtype=dtype, **subject.kept())


class _Walk:
    """Follows the forward of a folded network, and collects nodes.

    Args:
        model: the network.
        example: encoded frames.
        dtype: of the plan.
        grid: its whole numbers, None for floats.
    """

    def __init__(
        self, model: nn.Module, example: Tensor, dtype: np.dtype[Any], grid: Quantised | None
    ) -> None:
        self.model, self.dtype, self.grid = model, dtype, grid
        self.nodes: list[Node] = []
        self.calls: Counter[str] = Counter()
        self.memories: list[int] = []
        self.over_time: str | None = None
        if example.ndim < 3:
            raise UserError(
                f"expected encoded frames [T, B, ...] as an example, and got the shape {tuple(example.shape)}"
            )
        self.steps, self.example = len(example), example
        self.first = self._flow(Source(INPUT), tuple(example.shape[2:]), "steps")
        keep_single_steps(model)

    def plan(self, over_time: str, about: str) -> Plan:
        """Return the plan of the network."""
        values: dict[fx.Node, Any] = {}
        output: Any = None
        graph = trace(self.model)
        for node in graph.nodes:
            if node.op == "output":
                output = fx.map_arg(node.args[0], values.__getitem__)
            else:
                values[node] = self._called(node, values)
        last = self._answer(output)
        if not any(isinstance(node, Neurons) for node in self.nodes):
            raise UserError(
                f"{type(self.model).__name__} has no neurons that spike, and an event-driven network "
                "computes where spikes arrive: put SpikingJelly's neurons behind its layers"
            )
        made = Plan(
            as_shape("the input", self.first.places),
            tuple(self.nodes),
            last.source.node,
            self.dtype,
            None if self.grid is None else self.grid.bits,
            self.over_time or over_time,
            about,
        )
        self._check_followed(graph)
        try:
            check(made)
        except ValueError as error:
            raise UserError(
                f"{type(self.model).__name__} is no network that computes where events arrive ({error}): use "
                "smaller or plainer layers"
            ) from error
        return made

    @torch.no_grad()
    def _check_followed(self, graph: fx.Graph) -> None:
        """Compare the calls that were followed with the forward itself, given the same spikes.

        Raises:
            UserError: they differ: a forward changes a value in place, or does more than its calls show.
        """
        names = [node.name for node in self.nodes if isinstance(node, (Neurons, Integrators))]
        frames = frames_like(self.example[:, :1])
        kind = next((p.dtype for p in self.model.parameters()), self.example.dtype)
        followed = fx.GraphModule(self.model, graph)
        one, two = (currents(net, names, frames.to(kind)) for net in (self.model, followed))
        pairs = [(f"what layer '{name}' reads", one[0][name], two[0][name]) for name in names]
        pairs += [("its answer", *both) for both in zip(one[1], two[1], strict=True)]
        for what, mine, other in pairs:
            if not torch.equal(mine, other):
                raise UserError(
                    f"{type(self.model).__name__} does more in its forward than its calls show, and {what} "
                    "would not be the same: write x = x + y in place of x += y"
                )

    def _answer(self, output: Any) -> Flow:
        """Return the value that the network answers with.

        Raises:
            UserError: it is none with units over time.
        """
        if not isinstance(output, Flow) or output.axes not in ("steps", "answer"):
            raise UserError(
                f"{type(self.model).__name__} does not return one tensor [T, B, K], which an event-driven "
                "network answers with: return the outputs of its last layer alone"
            )
        self._read("the output", output)
        if len(output.places) != 1 or output.source.node == INPUT:
            raise UserError(
                f"{type(self.model).__name__} answers with samples of shape {output.places}, and an "
                "event-driven network answers with units: let a Flatten and a linear layer come last"
            )
        return output

    # --- calls

    def _called(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        """Return what a call hands on: a `Flow`, or a plain value."""
        if node.op == "placeholder":
            return self._placeholder(node, values)
        args: Any = fx.map_arg(node.args, values.__getitem__)
        kwargs: Any = fx.map_arg(node.kwargs, values.__getitem__)
        flows = _flows((args, kwargs))
        if node.op == "call_module":
            called, name = layer_of(node, self.model), str(node.target)
            assert called is not None
            if len(flows) != 1 or len(args) + len(kwargs) > 1:
                raise UserError(
                    f"layer '{name}' is {with_article(type(called).__name__)} with {len(args) + len(kwargs)} "
                    "inputs, and in an event-driven network a layer reads one value"
                )
            return self._layer(name, called, self._read(name, flows[0]))
        if node.op == "get_attr":
            raise UserError(
                f"'{node.target}' is a tensor that the network computes with, which an event-driven network "
                "has no node for: make it a weight or bias of a layer"
            )
        if flows:
            return self._operation(node, args, kwargs)
        function = node.target if callable(node.target) else getattr(type(args[0]), str(node.target))
        return function(*args, **kwargs)

    def _placeholder(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        if not values:
            return self.first
        if not node.args:
            raise UserError(
                f"the forward of {type(self.model).__name__} wants '{node.name}' beside the frames, and an "
                "event-driven network has one input"
            )
        return node.args[0]

    def _operation(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """Return what a function or method makes of values."""
        name, target = node.name, node.target
        word = str(getattr(target, "__name__", target))
        flows = _flows((args, kwargs))
        for flow in flows:
            self._read(name, flow)
        function = target if callable(target) else getattr(torch.Tensor, str(target))
        if target in ADDITIONS or (node.op == "call_method" and word in ("add", "add_")):
            if len(flows) == len(args) == 2 and not kwargs and len({(f.places, f.axes) for f in flows}) == 1:
                return self._sum(name, flows, in_place=target is operator.iadd or word == "add_")
            word = "addition of something else than two outputs of layers of the same shape"
        elif word in LOOKS and len(flows) == 1:
            looked = function(args[0].example(), *args[1:], **kwargs)
            if isinstance(looked, (int, torch.Size)):
                return looked
        elif word in SHAPES and len(flows) == 1:
            (flow,) = flows
            made = reshaped(
                name,
                flow,
                lambda t: function(*(t if a is flow else a for a in args), **_with(kwargs, flow, t)),
            )
            return self._shaped(name, made)
        elif len(flows) == 1 and flows[0].axes == "steps" and self._over_time(word, args, kwargs):
            return replace(flows[0], axes="answer")
        raise UserError(
            f"'{name}' is the operation '{word}', and in an event-driven network values can only be added "
            "and flattened between layers"
        )

    def _over_time(self, word: str, args: Any, kwargs: Any) -> bool:
        """Note how the network reduces its outputs over time; tell whether it does."""
        axis = [*args[1:], *(v for k, v in kwargs.items() if k in ("dim", "axis"))]
        chosen = ANSWERS.get(word) if axis in ([0], [(0,)], [[0]]) else None
        if word == "getitem" and axis == [-1]:
            chosen = "last"
        self.over_time = chosen
        return chosen is not None and set(kwargs) <= {"dim", "axis"}

    # --- layers

    def _layer(self, name: str, module: nn.Module, flow: Flow) -> Flow:  # noqa: PLR0911 - one for each kind
        """Return what a layer makes of a value."""
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
            return self._shaped(name, reshaped(name, flow, module))
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
                flow = self._chain(f"{name}.{child}", layer, self._read(name, flow))
            return flow
        return self._layer(name, module, flow)

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

    def _sum(self, name: str, flows: list[Flow], *, in_place: bool = False) -> Flow:
        shape = as_shape(name, flows[0].places)
        made = self._add(Sum(name=self._named(name), sources=tuple(f.source for f in flows), shape=shape))
        if not in_place:
            return self._flow(made, flows[0].places, flows[0].axes)
        memory = flows[0].memory
        self.memories[memory] += 1
        return replace(flows[0], source=made, version=self.memories[memory])

    def _shaped(self, name: str, flow: Flow) -> Flow:
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
            current = self._sum(name, [one, self._flow(back, flow.places, "one")])
            y = self._chain(f"{name}.neuron", module.neuron, current)
        elif hasattr(module, "rc"):
            inputs, own = flow.places[0], f"{name}.rc"
            numbers = self._numbers(own, module.rc)
            both = numbers.pop("weights")
            forward = self._synapses(own, numbers | {"weights": both[:, :inputs]}, (flow.source,), one)
            returned = {"weights": both[:, inputs:], "biases": None}
            back = self._synapses(f"{own}.feedback", returned, (Source(INPUT),), one).source
            current = self._sum(name, [forward, self._flow(back, forward.places, "one")])
            y = self._chain(f"{name}.sub_module", module.sub_module, current)
        else:
            back = None
            place = len(self.nodes)
            _check_adds(name, module)
            current = self._sum(name, [one, one])
            y = self._chain(f"{name}.sub_module", module.sub_module, current)
            self.nodes[place] = replace(self.nodes[place], sources=(Source(y.source.node, 1), flow.source))
        if back is not None:
            self.nodes[back.node] = replace(self.nodes[back.node], sources=(Source(y.source.node, 1),))
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

    def _read(self, name: str, flow: Flow) -> Flow:
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
        self.nodes.append(node)
        return Source(len(self.nodes) - 1)

    def _shape(self, source: Source) -> Any:
        return (
            as_shape("the input", self.first.places)
            if source.node == INPUT
            else self.nodes[source.node].shape
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


def _flows(given: Any) -> list[Flow]:
    """Return the values among the arguments of a call."""
    found: list[Flow] = []
    fx.node.map_aggregate(given, lambda value: found.append(value) if isinstance(value, Flow) else None)
    return found


def _with(kwargs: dict[str, Any], flow: Flow, tensor: Tensor) -> dict[str, Any]:
    return {key: tensor if value is flow else value for key, value in kwargs.items()}


def _check_adds(name: str, container: Any) -> None:
    """Check that an ElementWiseRecurrentContainer adds its last output to its input."""
    y, x = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    if not torch.equal(container.element_wise_function(y, x), x + y):
        raise UserError(
            f"recurrent layer '{name}' joins its input and its last spikes in another way than by adding "
            "them, which an event-driven network has no node for"
        )
