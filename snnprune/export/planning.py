"""A spiking torch network as a plan: what it computes in one time step, node by node, without torch.

The forward is followed call by call. Each layer is one of a known class with a known forward, or it is
refused by name; each change of shape is asked what it does with numbers that know their own places, and may
not mix time steps, samples or units.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import fx, nn

from snnprune.common.errors import UserError, with_article
from snnprune.engine import plan_file
from snnprune.engine.checking import check
from snnprune.engine.plan import (
    INPUT,
    Integrators,
    Neurons,
    Plan,
)
from snnprune.export.chance import currents, frames_like
from snnprune.export.graph import folded, layer_of, trace
from snnprune.export.limits import ADDITIONS
from snnprune.export.plan_flow import Flow, as_shape, reshaped
from snnprune.export.plan_nodes import Nodes
from snnprune.export.quantisation import quantise
from snnprune.network.leaves import (
    keep_single_steps,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from torch import Tensor

    from snnprune.data import Splits
    from snnprune.engine.plan import Node
    from snnprune.export.quantisation import Quantised

    Array = npt.NDArray[Any]
    Made = TypeVar("Made", bound=Node)

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
    path: Path | str,
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
    path = Path(path)
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
        if example.ndim < 3:
            raise UserError(
                f"expected encoded frames [T, B, ...] as an example, and got the shape {tuple(example.shape)}"
            )
        keep_single_steps(model)
        self.model, self.example = model, example
        self.nodes = Nodes(tuple(example.shape[2:]), len(example), dtype, grid)

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
        if not any(isinstance(node, Neurons) for node in self.nodes.made):
            raise UserError(
                f"{type(self.model).__name__} has no neurons that spike, and an event-driven network "
                "computes where spikes arrive: put SpikingJelly's neurons behind its layers"
            )
        made = Plan(
            as_shape("the input", self.nodes.first.places),
            tuple(self.nodes.made),
            last.source.node,
            self.nodes.dtype,
            None if self.nodes.grid is None else self.nodes.grid.bits,
            last.over_time or over_time,
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
        names = [node.name for node in self.nodes.made if isinstance(node, (Neurons, Integrators))]
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
        self.nodes.read("the output", output)
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
            return self.nodes.layer(name, called, self.nodes.read(name, flows[0]))
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
            return self.nodes.first
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
            self.nodes.read(name, flow)
        function = target if callable(target) else getattr(torch.Tensor, str(target))
        if target in ADDITIONS or (node.op == "call_method" and word in ("add", "add_")):
            if len(flows) == len(args) == 2 and not kwargs and len({(f.places, f.axes) for f in flows}) == 1:
                return self.nodes.total(name, flows, in_place=target is operator.iadd or word == "add_")
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
            return self.nodes.shaped(name, made)
        elif len(flows) == 1 and flows[0].axes == "steps" and _over_time(word, args, kwargs) is not None:
            return replace(flows[0], axes="answer", over_time=_over_time(word, args, kwargs))
        raise UserError(
            f"'{name}' is the operation '{word}', and in an event-driven network values can only be added "
            "and flattened between layers"
        )


def _over_time(word: str, args: Any, kwargs: Any) -> str | None:
    """Return how an operation reduces outputs over time, as `snnprune.nn.scores` calls it, or None."""
    axis = [*args[1:], *(value for key, value in kwargs.items() if key in ("dim", "axis"))]
    if word == "getitem" and axis == [-1]:
        return "last"
    known = axis in ([0], [(0,)], [[0]]) and set(kwargs) <= {"dim", "axis"}
    return ANSWERS.get(word) if known else None


def _flows(given: Any) -> list[Flow]:
    """Return the values among the arguments of a call."""
    found: list[Flow] = []
    fx.node.map_aggregate(given, lambda value: found.append(value) if isinstance(value, Flow) else None)
    return found


def _with(kwargs: dict[str, Any], flow: Flow, tensor: Tensor) -> dict[str, Any]:
    return {key: tensor if value is flow else value for key, value in kwargs.items()}
