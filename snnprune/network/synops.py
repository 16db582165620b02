"""Synaptic operations: the operations that spikes cause at synapses, and their energy.

A spike causes one operation at every alive synapse that it reaches. The number of these synapses depends on
the place: at the border of a feature map it is smaller than inside, and with a stride it can be 0. Inputs are
counted for each place while the network runs. The synapses that a place reaches are counted once, at the end,
and for any masks.

A frame of a recording holds counts: a cell (pixel, polarity, time step) may stand for several events. Two
numbers say what they cost, with r the synapses that a place reaches and x its value at each time step:

    by cells    sum of r [x != 0]   hardware that is fed frames: one operation for each cell with events
    by events   sum of r |x|        hardware that is fed the events one by one

They differ only in layers that read counts, which are those that are called before any spiking neuron. Later
layers read spikes, and count the same in both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.axes import tensors_in
from snnprune.network.cells import fires
from snnprune.network.hooks import after, before
from snnprune.network.leaves import ACTIVATIONS, spiking_base
from snnprune.network.runs import stretches
from snnprune.network.weights import apply_weight, device_of
from snnprune.network.wrappers import forget_compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

    from snnprune.network.topology import Projection, Topology

MAC_PJ = 4.6
"""Energy of a 32-bit multiply-accumulate in 45 nm, in pJ: 3.7 to multiply and 0.9 to add (Horowitz, ISSCC
2014), as comparisons in the field use it."""

ACCUMULATE_PJ = 0.9
"""Energy of a 32-bit addition in 45 nm, in pJ (Horowitz, ISSCC 2014)."""


@dataclass(frozen=True)
class LayerOperations:
    """Operations of one layer for one sample, over all time steps, on average.

    Attributes:
        synops: operations caused by spikes: non-zero inputs times the synapses that they reach.
        synops_by_events: the same with an input that is a count of events taken as often as it counts;
            equal to ``synops`` in a layer that reads spikes.
        macs: multiply-accumulates of a layer with analogue input; every place counts, zero or not.
        rate: share of the layer's inputs that are not zero, in [0, 1].
    """

    synops: float
    synops_by_events: float
    macs: float
    rate: float


@dataclass(frozen=True)
class Operations:
    """Operations of a network for one sample, over all time steps, on average.

    Attributes:
        layers: operations by layer, in the order of the topology, without layers that were never called.
    """

    layers: dict[str, LayerOperations]

    @property
    def synops(self) -> float:
        """Operations caused by spikes, by cells."""
        return sum(layer.synops for layer in self.layers.values())

    @property
    def synops_by_events(self) -> float:
        """Operations caused by spikes, by events."""
        return sum(layer.synops_by_events for layer in self.layers.values())

    @property
    def macs(self) -> float:
        """Multiply-accumulates of layers with analogue input."""
        return sum(layer.macs for layer in self.layers.values())

    def energy(self, mac_pj: float = MAC_PJ, accumulate_pj: float = ACCUMULATE_PJ) -> float:
        """Return the energy of the arithmetic in pJ: spikes are added, analogue values multiplied and added.

        A spike is an operation by cells. Memory and leakage are not included, so the number compares networks
        and does not predict a chip.
        """
        return self.macs * mac_pj + self.synops * accumulate_pj


@dataclass(frozen=True)
class Reads:
    """What the synapses of one layer read, summed over all samples and time steps that were counted.

    Attributes:
        synapses: how often each synapse reads a value other than zero, in the shape of the weight, float64;
            of a layer with one group [1, columns, ...], since all rows read the same. In a layer with
            analogue input, zeros are read, too.
        columns: number of values other than zero that came on each input column, over all places, [columns x
            groups], float64.
        calls: number of samples times time steps.
        places: number of places of one output.
        analogue: whether the layer has analogue input.
    """

    synapses: Tensor
    columns: Tensor
    calls: int
    places: int
    analogue: bool


@dataclass
class _Inputs:
    """Counts of the inputs of one layer.

    Attributes:
        counts: number of times that each place was not zero, in the shape of one sample.
        events: sum of the absolute values of each place; None for a layer that reads spikes.
        calls: number of samples times time steps.
        whole: all values are whole numbers, as far as they were looked at.
        shape: shape of one sample's input of the module, behind an axis of length 1.
    """

    shape: tuple[int, ...]
    counts: Tensor
    events: Tensor | None
    calls: int = 0
    whole: bool = True


class SpikeCounter:
    """Counts the inputs of each convolution and linear layer while a network runs.

    A layer has analogue input, and costs multiply-accumulates, if no spiking neuron was called before it in
    the first forward, it does not read the spikes of one time step earlier, and its input holds other values
    than whole numbers, as pictures do. In a network without spiking neurons, every layer has analogue input.
    SpikingJelly's neurons spike; those of others do whose first answer holds nothing but 0 and 1.
    Frames of event counts are spikes. Averages of spikes after a pool are spikes, too: each non-zero value
    counts once.

    Whole numbers before the first spiking neuron are taken for counts of events. Counts that were averaged,
    normalised or scaled before the first layer are no whole numbers, so that layer is analogue: multiplies
    are counted, and no events. Counts that a frame could not hold (above 255) are missing in both numbers.

    Use it as ``with SpikeCounter(model, topology) as counter:`` around forwards in evaluation mode.

    Args:
        model: the network.
        topology: its topology (`snnprune.discover`).
        wrappers: modules that compute a spiking neuron inside them without calling it; they count as neurons.
        when: tells, at each call of a layer, whether it is counted; every call by default.
    """

    def __init__(
        self,
        model: nn.Module,
        topology: Topology,
        wrappers: Iterable[nn.Module] = (),
        when: Callable[[], bool] = lambda: True,
    ) -> None:
        self.model, self.topology, self._when = model, topology, when
        forget_compiled(model)
        self._inputs: dict[str, _Inputs] = {}
        self._spiked = False
        modules = dict(model.named_modules())
        self._handles = [before(model, self._begin)]
        self._watching: list[RemovableHandle] = []
        neurons = [module for module in modules.values() if _spikes(module)]
        self._spiking = bool(neurons)
        self._fed = {p.name for p in topology.projections.values() if self._reads_spikes(p)}
        for module in (*neurons, *wrappers):
            self._watching.append(after(module, self._spike))
        for module in _unknown_neurons(model, topology):
            self._watching.append(after(module, self._ask))
        for projection in topology.projections.values():
            hook = self._count(projection)
            self._handles.append(before(modules[projection.name], hook, with_kwargs=True))

    def operations(self, samples: int, alive: Mapping[str, Tensor] | None = None) -> Operations:
        """Return the average operations of one sample, over all samples that were run so far.

        Args:
            samples: number of samples that were run.
            alive: bool, shape of the weight, by projection: synapses that count; a projection not named is
                whole.

        Raises:
            ValueError: no sample was run.
        """
        if samples < 1 or not self._inputs:
            raise ValueError("operations are averaged over samples, and none was run: run the network first")
        layers = {}
        for name, projection in self.topology.projections.items():
            if name in self._inputs:
                layers[name] = self._layer(projection, samples, (alive or {}).get(name))
        return Operations(layers)

    def reads(self) -> dict[str, Reads]:
        """Return what the synapses of each layer have read; 0 calls and zeros for one that was not called."""
        return {p.name: self._reads(p) for p in self.topology.projections.values()}

    def _reads(self, projection: Projection) -> Reads:
        """Return what synapses read, as a derivative: of the outputs by the weights, with weights of 1."""
        inputs, module = self._inputs.get(projection.name), self.model.get_submodule(projection.name)
        groups = getattr(module, "groups", 1)
        alike = groups == 1 and not projection.transposed
        shape = [1, *projection.shape[1:]] if alike else list(projection.shape)
        ones = torch.ones(shape, dtype=torch.float64, device=device_of(module), requires_grad=True)
        if inputs is None:
            blank = torch.zeros_like(ones, requires_grad=False)
            return Reads(blank, blank.new_zeros(projection.columns * groups), 0, 0, analogue=False)
        counts = inputs.counts.reshape(inputs.shape)
        analogue = self._is_analogue(inputs)
        read = torch.full_like(counts, inputs.calls) if analogue else counts
        with torch.enable_grad(), torch.autocast(counts.device.type, enabled=False):
            out = apply_weight(module, ones, read)
            (synapses,) = torch.autograd.grad(out.sum(), ones)
        columns = counts[0].flatten(1).sum(1) if projection.kind == "conv" else counts[0]
        return Reads(synapses, columns, inputs.calls, out[0, 0].numel(), analogue)

    def _layer(self, projection: Projection, samples: int, alive: Tensor | None) -> LayerOperations:
        inputs = self._inputs[projection.name]
        module = self.model.get_submodule(projection.name)
        reach = reached(module, projection, inputs.shape, alive).reshape(inputs.counts.shape)
        rate = float(inputs.counts.sum()) / max(inputs.counts.numel() * inputs.calls, 1)
        if self._is_analogue(inputs):
            return LayerOperations(0.0, 0.0, inputs.calls * float(reach.sum()) / samples, rate)
        synops = float((inputs.counts * reach).sum()) / samples
        by_events = synops if inputs.events is None else float((inputs.events * reach).sum()) / samples
        return LayerOperations(synops, by_events, 0.0, rate)

    def _reads_spikes(self, projection: Projection) -> bool:
        """Tell whether spiking neurons alone fill the columns, which may be called after the layer."""
        known = sum(stretch[0].length for stretch in stretches(projection.inflow))
        incoming = (p for i in projection.inflow for p in self.topology.incoming(i.population))
        neurons = [self.model.get_submodule(p.neuron) if p.neuron else None for p in incoming]
        return known == projection.columns and all(n is not None and _spikes(n) for n in neurons)

    # --- hooks

    def _begin(self, _module: nn.Module, _args: Any) -> None:
        if self._inputs:
            # The order of the layers is known now. A neuron with a hook cannot be fused with its pool.
            self._release(self._watching)

    def _spike(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        self._spiked = True

    def _ask(self, _module: nn.Module, _args: Any, output: Any) -> None:
        first = next(iter(tensors_in(output)), None)
        if first is not None and bool(((first == 0) | (first == 1)).all()):
            self._spiked = self._spiking = True

    def _is_analogue(self, inputs: _Inputs) -> bool:
        """Tell whether an input is analogue, and not spikes or counts of events."""
        return inputs.events is not None and not (self._spiking and inputs.whole)

    def _count(self, projection: Projection) -> Any:
        places = 1 if projection.kind == "linear" else len(projection.shape) - 1

        def hook(_module: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> None:
            if self._when():
                self._add((args[0] if args else next(iter(kwargs.values()))).detach(), projection, places)

        return hook

    @torch.no_grad()
    def _add(self, x: Tensor, projection: Projection, places: int) -> None:
        """Add an input of a layer, whose last ``places`` axes are of one sample."""
        leading = x.ndim - places
        sample = tuple(x.shape[leading:])
        inputs = self._inputs.get(projection.name)
        if inputs is None:
            zeros = torch.zeros(sample, dtype=torch.float64, device=x.device)
            shape = (1, *sample)
            spikes = self._spiked or projection.name in self._fed
            events = None if spikes else torch.zeros_like(zeros)
            inputs = self._inputs[projection.name] = _Inputs(shape, zeros, events)
        # As floats of the same size: on a CPU many times faster than to make booleans and sum them.
        active = torch.ne(x, 0, out=torch.empty(x.shape, dtype=torch.float32, device=x.device))
        inputs.counts += active.reshape(-1, *sample).sum(0)
        inputs.calls += math.prod(x.shape[:leading])
        if inputs.whole and inputs.events is not None:
            # Exact in 32 bits up to 65,793 time steps of samples in a forward, at counts up to 255.
            inputs.events += x.reshape(-1, *sample).abs().sum(0, dtype=torch.float32)
            inputs.whole = not bool((x != x.round()).any())

    def close(self) -> None:
        """Remove every hook."""
        self._release(self._handles)
        self._release(self._watching)

    @staticmethod
    def _release(handles: list[RemovableHandle]) -> None:
        for handle in handles:
            handle.remove()
        handles.clear()

    def __enter__(self) -> SpikeCounter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def reached(
    module: nn.Module, projection: Projection, shape: tuple[int, ...], alive: Tensor | None = None
) -> Tensor:
    """Return how many synapses each place of one sample's input reaches, computed as a derivative, float64.

    With all weights set to 1, the derivative of the sum of a layer's outputs by an input is the number of
    weights that read this input. This holds for any strides, padding, dilation and groups.

    Args:
        module: the layer.
        projection: the layer in the topology.
        shape: of one sample's input, behind an axis of length 1.
        alive: bool, shape of the weight; None: all.
    """
    ones = torch.ones(projection.shape, dtype=torch.float64, device=device_of(module))
    place = torch.ones(shape, dtype=torch.float64, device=ones.device, requires_grad=True)
    with torch.enable_grad(), torch.autocast(place.device.type, enabled=False):
        out = apply_weight(module, ones if alive is None else alive.to(ones), place)
        (reach,) = torch.autograd.grad(out.sum(), place)
    return reach


def may_spike(model: nn.Module, topology: Topology) -> bool:
    """Tell whether a network has neurons that spike, or whose outputs would have to be looked at."""
    return any(map(_spikes, model.modules())) or bool(_unknown_neurons(model, topology))


def _spikes(module: nn.Module) -> bool:
    return isinstance(module, spiking_base()) or fires(module)


def _unknown_neurons(model: nn.Module, topology: Topology) -> list[nn.Module]:
    """Return the neurons of other libraries and of users, and those of SpikingJelly without its base."""
    names = dict.fromkeys(p.neuron for p in topology.projections.values() if p.neuron)
    found = [model.get_submodule(name) for name in names]
    return [m for m in found if not (_spikes(m) or isinstance(m, ACTIVATIONS))]
