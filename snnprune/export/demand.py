"""What a network needs on a chip, layer by layer, compared with what chips offer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from torch import nn
from torch.nn import functional as F

from snnprune.common import document
from snnprune.common.errors import UserError, in_one_line
from snnprune.export.graph import folded, layer_of, trace
from snnprune.export.limits import SILENT
from snnprune.export.readout import is_integrator
from snnprune.export.recurrence import inner, recurrent_kinds
from snnprune.network.duplicate import reset_states
from snnprune.network.leaves import CONVOLUTIONS, spiking_base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor, fx

BUDGETS = Path(__file__).with_name("budgets.yaml")
"""The file of the chips that come with the package."""

UNKNOWN = "unknown"

NEURON = "neuron"
"""The figure that is no number: the kinds of neurons."""

KINDS = {
    "IFNode": "IF",
    **dict.fromkeys(("LIFNode", "ParametricLIFNode", "HeterogeneousLIFNode"), "LIF"),
    "CUBALIFNode": "CubaLIF",
    "LeakyIntegrator": "LI",
}
"""NIR's names of classes of neurons; others are called as their class."""


@dataclass(frozen=True)
class LayerDemand:
    """What one convolution or linear layer, with the neurons behind it, needs.

    Attributes:
        name: of the layer.
        neurons: units times places; 0 for the feedback of a recurrent layer, whose neurons are counted with
            the layer in front of it.
        weights: number of alive weights, those that are not zero. The places of a convolution share them.
        synapses: connections of all neurons; at borders a neuron has fewer.
        fan_in: largest number of synapses into one neuron; for feedback with those of the layer in front.
        fan_out: largest number of synapses out of one place of the input; for feedback with those of the
            linear layers that read the same neurons.
        biases: of the layer; a folded norm has one per channel.
        channels: of a convolution, else 0.
        kernel: widest side of a convolution's window, else 0.
        map: widest side of a convolution's output, else 0.
        neuron: kind of the neurons that read the layer, as NIR calls it ("LIF", "IF"); "" for none.
    """

    name: str
    neurons: int
    weights: int
    synapses: int
    fan_in: int
    fan_out: int
    biases: int
    channels: int
    kernel: int
    map: int
    neuron: str = ""

    def bytes(self, bits: int) -> int:
        """Return the bytes of weights and biases with ``bits`` each, without the table of connections."""
        return (self.weights + self.biases) * bits // 8


@dataclass(frozen=True)
class Check:
    """One figure of one chip.

    Attributes:
        chip: its name.
        figure: name of the figure.
        asked: what the network needs: a number, or the kinds of its neurons.
        offered: the most that the chip offers, or its kinds of neurons; None if it is not known.
        source: where that is from.
    """

    chip: str
    figure: str
    asked: int | str
    offered: float | str | None
    source: str

    @property
    def verdict(self) -> str:
        """Return "fits", "too much", "has none" (of a kind of neurons) or "unknown"."""
        if self.offered is None:
            return UNKNOWN
        if isinstance(self.offered, str):
            return "fits" if kinds(self.asked) <= kinds(self.offered) else "has none"
        return "fits" if int(self.asked) <= self.offered else "too much"


def demand(model: nn.Module, example: Tensor) -> list[LayerDemand]:
    """Return what each layer of ``model`` needs, norms folded, in the order of the forward.

    Args:
        model: any network, usually a compact one.
        example: encoded frames [T, B, C, H, W], or [B, C, H, W] without time.
    """
    copy = folded(model)
    found: dict[str, LayerDemand] = {}
    handles = []
    for name, layer in copy.named_modules():
        if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):

            def hook(module: nn.Module, given: Any, name: str = name) -> None:
                if name not in found:
                    found[name] = _of_layer(name, module, given[0])

            handles.append(layer.register_forward_pre_hook(hook))
    with torch.no_grad():
        copy(example)
    for handle in handles:
        handle.remove()
    reset_states(copy)
    for node in trace(copy).nodes:
        if str(node.target) in found and node.op == "call_module":
            found[str(node.target)] = replace(found[str(node.target)], neuron=_neuron(node, copy))
        name = f"{node.target}.feedback"
        if isinstance(layer_of(node, copy), recurrent_kinds()) and name in found:
            found[name] = _fed_back(found[name], node, copy)
    return list(found.values())


def kinds(text: Any) -> set[str]:
    """Return the kinds of neurons in a text such as "IF, LIF"."""
    return set(str(text).split(", ")) - {""}


def _neuron(node: fx.Node, model: nn.Module) -> str:
    """Return the kind of the neurons that read a layer, also behind what has no weights; "" for none."""
    for reader in node.users:
        layer = layer_of(reader, model)
        if isinstance(layer, recurrent_kinds()):
            layer = inner(layer)[1]
        if isinstance(layer, spiking_base()) or is_integrator(layer):
            return KINDS.get(type(layer).__name__, type(layer).__name__)
        behind = "" if isinstance(layer, (*CONVOLUTIONS, nn.Linear)) else _neuron(reader, model)
        if behind:
            return behind
    return ""


def totals(layers: list[LayerDemand]) -> dict[str, int]:
    """Return the figures of the whole network: sums, and the maximum of figures of a neuron or layer."""
    rows = [asdict(layer) for layer in layers]
    summed = {key: sum(row[key] for row in rows) for key in ("neurons", "weights", "synapses")}
    largest = {
        key: max((row[key] for row in rows), default=0)
        for key in ("fan_in", "fan_out", "channels", "kernel", "map")
    }
    sizes = {f"bytes_{bits}": sum(layer.bytes(bits) for layer in layers) for bits in (8, 16)}
    return {"layers": len(layers), **summed, **largest, **sizes}


def budgets(path: Path) -> dict[str, dict[str, Any]]:
    """Read a file of budgets: {chip: {figure: {at_most: number, source: text} or "unknown"}}.

    The figure "neuron" has ``kinds``, a list, in place of ``at_most``.

    Raises:
        UserError: the file cannot be read, or has another structure.
    """
    try:
        read = document.parse_yaml(document.read_text(path, document.LARGEST_YAML))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = in_one_line(error)
        raise UserError(f"cannot read the budgets in {path}: {reason}") from error
    figures = [*totals([]), NEURON]
    for chip, offered in read.items() if isinstance(read, dict) else [(None, None)]:
        if not isinstance(offered, dict):
            raise UserError(f"{path} must hold chips with figures, as `my chip: {{neurons: ...}}`")
        for figure, entry in offered.items():
            if figure not in figures:
                known = ", ".join(figures)
                raise UserError(f"{path} has the figure '{figure}' for {chip}: expected one of {known}")
            if figure == NEURON and entry != UNKNOWN and not _is_kinds(entry):
                raise UserError(
                    f"{path} must give {chip} `neuron: {{kinds: [IF, LIF], source: who says so}}` or "
                    f"`neuron: {UNKNOWN}`"
                )
            if figure != NEURON and entry != UNKNOWN and not _is_budget(entry):
                raise UserError(
                    f"{path} must give {chip} `{figure}: {{at_most: 1000, source: who says so}}` or "
                    f"`{figure}: {UNKNOWN}`"
                )
    return dict(read)


def check(layers: list[LayerDemand], chips: dict[str, dict[str, Any]]) -> list[Check]:
    """Compare the demand of a network with each figure of each chip."""
    own = ", ".join(sorted({layer.neuron for layer in layers} - {""}))
    asked: dict[str, int | str] = {**totals(layers), NEURON: own}

    def most(entry: dict[str, Any]) -> float | str:
        return ", ".join(entry["kinds"]) if "kinds" in entry else float(entry["at_most"])

    return [
        Check(chip, figure, asked[figure], None, "")
        if entry == UNKNOWN
        else Check(chip, figure, asked[figure], most(entry), str(entry["source"]))
        for chip, offered in chips.items()
        for figure, entry in offered.items()
    ]


def _is_budget(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"at_most", "source"}
        and isinstance(entry["at_most"], (int, float))
        and not isinstance(entry["at_most"], bool)
        and bool(entry["source"])
    )


def _is_kinds(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"kinds", "source"} or not entry["source"]:
        return False
    named = entry["kinds"]
    return isinstance(named, list) and bool(named) and all(isinstance(kind, str) for kind in named)


def _of_layer(name: str, layer: Any, x: Tensor) -> LayerDemand:
    """Count with one forward of ones through the alive synapses, and the derivative of its sum."""
    alive = (layer.weight != 0).double()
    convolution = isinstance(layer, CONVOLUTIONS)
    places = alive.ndim - 1 if convolution else 1
    one = torch.ones((1, *x.shape[x.ndim - places :]), dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        out = layer._conv_forward(one, alive.cpu(), None) if convolution else F.linear(one, alive.cpu())
        (reach,) = torch.autograd.grad(out.sum(), one)
    return LayerDemand(
        name=name,
        neurons=out.numel(),
        weights=int(alive.sum()),
        synapses=int(out.sum()),
        fan_in=int(out.max()),
        fan_out=int(reach.max()),
        biases=0 if layer.bias is None else layer.bias.numel(),
        channels=out.shape[1] if convolution else 0,
        kernel=max(layer.kernel_size) if convolution else 0,
        map=max(out.shape[2:]) if convolution else 0,
    )


def _fed_back(own: LayerDemand, node: fx.Node, model: nn.Module) -> LayerDemand:
    """Return the demand of the feedback in the recurrent layer that ``node`` calls, all synapses counted."""
    alive = model.get_submodule(own.name).get_parameter("weight") != 0
    into, out = alive.sum(1), alive.sum(0)
    for source in _linear(node, model, lambda n: n.all_input_nodes):
        into = into + (source.weight != 0).sum(1)
    for reader in _linear(node, model, lambda n: n.users):
        out = out + (reader.weight != 0).sum(0)
    return replace(own, neurons=0, fan_in=int(into.max()), fan_out=int(out.max()))


def _linear(
    node: fx.Node, model: nn.Module, beside: Callable[[fx.Node], Iterable[fx.Node]]
) -> list[nn.Linear]:
    """Return the linear layers beside ``node``, on the other side of layers that do nothing."""
    found = []
    for other in beside(node):
        layer = layer_of(other, model)
        if type(layer).__name__ in SILENT:
            found += _linear(other, model, beside)
        elif isinstance(layer, nn.Linear):
            found.append(layer)
    return found


def shown(layers: list[LayerDemand], verdicts: list[Check]) -> str:
    """Return demand and verdicts as text for a terminal, with the source of each figure of a chip."""
    head = (
        "layer",
        "neuron",
        "neurons",
        "weights",
        "synapses",
        "fan-in",
        "fan-out",
        "bytes, 8 bits",
        "bytes, 16 bits",
    )
    rows = [
        (
            x.name,
            x.neuron,
            *(
                f"{n:,}"
                for n in (x.neurons, x.weights, x.synapses, x.fan_in, x.fan_out, x.bytes(8), x.bytes(16))
            ),
        )
        for x in layers
    ]
    whole = totals(layers)
    keys = ("neurons", "weights", "synapses", "fan_in", "fan_out", "bytes_8", "bytes_16")
    rows.append(("all", "", *(f"{whole[key]:,}" for key in keys)))
    facts = [("chip", "figure", "asked", "at most", "", "source")]
    facts += [
        (
            c.chip,
            c.figure,
            _number(c.asked),
            UNKNOWN if c.offered is None else _number(c.offered),
            "" if c.offered is None else c.verdict,
            c.source,
        )
        for c in verdicts
    ]
    return "\n".join([*aligned([head, *rows]), "", *aligned(facts)])


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.0f}"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows as lines. Each column is as wide as its widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
