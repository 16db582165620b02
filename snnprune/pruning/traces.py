"""Spiking traces: recent activity of every neuron, one number per sample (DPAP, equations 5, 6, 18 and 19).

A trace is linear in the spikes, ``S = sum_t tau^(T-1-t) o[t]``: spikes are first summed over a channel's
H x W and then weighted over time with one product, so nothing of the size of the activity is kept.
"""

from __future__ import annotations

import copy
import functools
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch

from snnprune.network.axes import tensors_in
from snnprune.network.leaves import is_multi_step, leaf_kind, spiking_base

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from snnprune.network.topology import Projection, Site, Topology

Keep = Literal["trace", "series"]

CARRIED = (
    "a batch begins with the neuron states of the last one: if samples are independent, call "
    "functional.reset_net(model) after every batch, or write PruningCallback(..., reset_states=True)"
)


@dataclass(frozen=True)
class Activity:
    """What the two sides of a projection did in one batch.

    Attributes:
        pre: trace of every input column, [B, columns] (or [T, B, columns] where the series was asked for).
        post: trace of every unit, [B, post] (or [T, B, post]).

    Examples:
        >>> import torch
        >>> from snnprune.pruning import Activity
        >>> Activity(pre=torch.rand(16, 4), post=torch.rand(16, 8)).samples
        16
    """

    pre: Tensor
    post: Tensor

    @property
    def samples(self) -> int:
        """B, the number of samples."""
        return self.post.shape[-2]


def spiking_trace(spikes: Tensor, tau: float = 0.5) -> Tensor:
    """Return the trace after the last step: S[t+1] = tau S[t] + o[t+1] from S = 0 (DPAP, equation 5).

    Args:
        spikes: [T, ...], one entry per time step.
        tau: decay per step.

    Returns:
        [...], in the dtype of ``spikes`` (float32 where that is not a floating type).

    Examples:
        >>> import torch
        >>> from snnprune.dpap import spiking_trace
        >>> spiking_trace(torch.tensor([1.0, 0.0, 1.0]), tau=0.5)  # 1, 0.5, 1.25
        tensor(1.2500)
    """
    if not spikes.is_floating_point():
        spikes = spikes.float()
    decay = _decays(tau, spikes.shape[0], spikes.dtype, spikes.device)
    with full_precision(spikes.device):  # a product, which an autocast would make in 16 bits
        return (decay @ spikes.reshape(len(decay), -1)).reshape(spikes.shape[1:])


@functools.lru_cache(maxsize=64)
def _decays(tau: float, steps: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return what each step weighs in a trace, [T]: the same few in every batch, so they are kept."""
    with torch.inference_mode(False):  # it outlives this call, and may be wanted in a graph
        return tau ** torch.arange(steps - 1, -1, -1, dtype=dtype, device=device)


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Return what keeps arithmetic out of the 16 bits of an autocast, where there is one around it."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def sum_over_space(activity: Tensor, axis: int, leading: int) -> Tensor:
    """Sum everything but ``leading`` axes in front and the channel axis (DPAP, equation 6).

    Args:
        activity: [..., C, ...] with channels at ``axis``, counted from the end.
        axis: negative.
        leading: axes in front that stay (time, batch).

    Returns:
        [leading..., C].
    """
    channel = activity.ndim + axis
    gone = [d for d in range(activity.ndim) if d >= leading and d != channel]
    return activity.sum(gone) if gone else activity


Form = Literal["raw", "series", "trace"]


def _reader(p: Projection) -> tuple[str, Site]:
    assert p.neuron is not None
    assert p.site is not None
    return p.neuron, p.site


@dataclass
class _Site:
    """A module whose input (pre) or output (post) is recorded during one model forward.

    The module may stand in several places, so its calls are counted (``turn``).
    A call is "raw" [N, C] until it is known whether N holds time, a "series" [T, B, C], or a "trace" [B, C].
    """

    axis: int
    leading: int
    calls: list[Tensor] = field(default_factory=list)
    form: Form = "raw"
    turn: int = 0


class TraceRecorder:
    """Hooks on a network that keep the traces of the batch, [B, C] each.

    Only training-mode forwards with gradients count; recomputation during a backward (checkpointing) does
    not. Several forwards before a step (gradient accumulation) are one batch.

    Args:
        model: the network.
        topology: its populations and projections.
        tau: decay of the trace.
        keep: "trace" for the value after the last step, "series" for all steps (methods that pair spikes).

    Attributes:
        carries_over: states are meant to go on from batch to batch; otherwise that is said, once.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> recorder = snnprune.pruning.TraceRecorder(model, snnprune.discover(model, x))
        >>> model(x).sum().backward()
        >>> recorder.batch()["0"].post.shape  # B, units
        torch.Size([16, 8])
        >>> recorder.close()
    """

    carries_over: bool = False

    def __init__(self, model: nn.Module, topology: Topology, tau: float = 0.5, keep: Keep = "trace") -> None:
        self.model, self.tau, self.keep = model, tau, keep
        self.follow(topology)
        self._pre: dict[str, _Site] = {}
        self._post: dict[tuple[str, int], _Site] = {}
        self._batches: list[dict[tuple[str, object], Tensor]] = []
        self._time: tuple[int, int] | None = None
        self._counts = False
        self._summed: tuple[Tensor, Tensor] | None = None
        self._learned, self._said = True, set[str]()
        for p in self.projections:
            axis = -1 if p.kind == "linear" else -(len(p.shape) - 1)
            self._pre[p.name] = _Site(axis, p.leading)
            neuron, site = _reader(p)
            self._post.setdefault((neuron, site.call), _Site(site.axis, site.leading))
        self._hook()

    def _hook(self) -> None:
        modules = dict(self.model.named_modules())
        self._neurons = [m for m in modules.values() if isinstance(m, spiking_base())]
        readers = [modules[_reader(p)[0]] for p in self.projections]
        self._foreign = next((m for m in readers if leaf_kind(m, ()) is None), None)
        self._handles = [
            # No bound methods: whoever copies the model should copy no recorder.
            self.model.register_forward_pre_hook(lambda m, _: self._begin(m)),
            self.model.register_forward_hook(lambda m, _, y: self._finish(m, y)),
        ]
        sites = {(neuron, site.call): site for neuron, site in map(_reader, self.projections)}
        self._handles += [
            modules[p.name].register_forward_pre_hook(self._record_pre(p.name)) for p in self.projections
        ]
        self._handles += [
            modules[neuron].register_forward_hook(self._record_post(neuron, site))
            for (neuron, _), site in sites.items()
        ]

    def follow(self, topology: Topology) -> None:
        """Take the projections of ``topology``: the network was cut; modules and axes are where they were."""
        self.projections = [
            p for p in topology.projections.values() if p.frozen is None and p.neuron and not p.output
        ]

    @property
    def holds_activity(self) -> bool:
        """Whether a forward was recorded whose batch is not closed."""
        return bool(self._batches) or any(site.calls for site in self._post.values())

    # --- hooks

    def _begin(self, model: nn.Module) -> None:
        if model is not self.model:
            return  # a copy, with which the hooks went along
        backward = torch._C._current_graph_task_id() != -1
        self._counts = model.training and torch.is_grad_enabled() and not backward
        if not self._counts:
            return
        carried = any(
            isinstance(n.v, torch.Tensor) for n in self._neurons[:1]
        )  # a reset neuron holds a number
        multi = any(is_multi_step(n) for n in self._neurons)
        if carried and (multi or not self.holds_activity) and not self.carries_over:
            self._say(CARRIED)
        if carried and not multi:
            return  # one more time step of the same samples
        if self._foreign is not None and self.holds_activity and not self._learned:
            self._say(
                "the network was called again before any backward, and neurons of class "
                f"{type(self._foreign).__name__} do not say whether that was one more time step: every call "
                "is taken for samples of its own. Have the loop over time inside the network's forward()"
            )
        self._learned = False
        self._close_forward()
        for site in self._post.values():
            site.turn = 0

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            warnings.warn(sentence, stacklevel=2)

    def _finish(self, model: nn.Module, output: Any) -> None:
        if model is not self.model:
            return
        if self._counts and self._foreign is not None:
            for tensor in tensors_in(output):
                if tensor.requires_grad:
                    tensor.register_hook(self._learn)
        self._counts, self._summed = False, None

    def _learn(self, _gradient: Tensor) -> None:
        self._learned = True

    def _record_pre(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            if self._counts:
                output, sums = self._summed or (None, None)
                self._keep_call(self._pre[name], args[0], module, sums if args[0] is output else None)

        reader: Any = hook
        reader.only_reads = True  # a layer fused with others may call it by itself
        return reader

    def _record_post(self, name: str, site: Site) -> Any:
        place = self._post[name, site.call]

        def is_counted() -> bool:
            place.turn += self._counts
            return self._counts and (place.turn - 1) % site.calls == site.call

        def hook(module: nn.Module, _args: Any, output: Any) -> None:
            if is_counted():
                spikes = tensors_in(output)[0]  # some neurons hand out their state as well
                if is_multi_step(module) and self._time is None:
                    self._time = (spikes.shape[0], spikes.shape[1])
                self._keep_call(place, spikes, module)

        def counts(output: Tensor, post: Tensor, pre: Tensor | None) -> None:
            """Take spikes [T, B, C] that fused layers have summed over space on the way."""
            if is_counted():
                self._summed = (output, post if pre is None else pre)
                if self._time is None:
                    self._time = (post.shape[0], post.shape[1])
                place.form = "series" if self.keep == "series" else "trace"
                place.calls.append(post if self.keep == "series" else spiking_trace(post, self.tau))

        reader: Any = hook
        reader.counts = counts  # a layer fused with others need not show its spikes then
        return reader

    def _keep_call(
        self, site: _Site, activity: Tensor, module: nn.Module, sums: Tensor | None = None
    ) -> None:
        """Keep one call's activity, summed over space and, where time is known, weighted over time.

        Where a layer of channels is given what a fused layer put out, its ``sums`` [T, B, C] are known.
        """
        with torch.no_grad(), full_precision(activity.device):
            kept = activity.detach()
            kept = kept if kept.is_floating_point() and kept.element_size() >= 4 else kept.float()
            multi = is_multi_step(module) or (site.leading == 2 and not hasattr(module, "step_mode"))
            if sums is not None and multi and site.axis == 2 - activity.ndim:
                kept = sums
            elif multi and kept.shape[0] > 1 and kept.stride(0) == 0:  # the same at every step: sum one
                kept = sum_over_space(kept[:1], site.axis, 2).expand(kept.shape[0], -1, -1)
            else:
                kept = sum_over_space(kept, site.axis, 2 if multi else 1)
            site.form = "series" if multi else "raw"
            if not multi and self._time is not None:
                kept, site.form = self._unfold(kept), "series"
            if site.form == "series" and self.keep == "trace":
                kept, site.form = spiking_trace(kept, self.tau), "trace"
            site.calls.append(kept)

    def _unfold(self, kept: Tensor) -> Tensor:
        """Return [T, B, C] of a network with time, from [T x B, C], or from [B, C] shown at every step."""
        assert self._time is not None
        steps, batch = self._time
        if kept.shape[0] == steps * batch:
            return kept.unflatten(0, self._time)
        return kept.expand(steps, *kept.shape)

    # --- batches

    def _close_forward(self) -> None:
        """Turn what the sites hold into one micro-batch of traces."""
        if not any(site.calls for site in self._post.values()):
            return
        batch: dict[tuple[str, object], Tensor] = {}
        for side, sites in (("pre", self._pre), ("post", self._post)):
            for name, site in sites.items():
                if site.calls:
                    batch[side, name] = self._reduce(site)
                    site.calls = []
        self._batches.append(batch)
        self._time = None

    def _reduce(self, site: _Site) -> Tensor:
        """Return the trace [B, C] (or the series [T, B, C]) from the calls of one forward."""
        if site.form == "trace":
            return site.calls[0]
        if site.form == "series":
            series = site.calls[0]
        elif self._time is not None:
            series = self._unfold(site.calls[0])
        else:
            series = torch.stack(site.calls)  # a call per time step; one call for a network without time
        return series if self.keep == "series" else spiking_trace(series, self.tau)

    def batch(self) -> dict[str, Activity]:
        """Close the batch: return each projection's activity since the last call, and start anew."""
        self._close_forward()
        micro, self._batches = self._batches, []
        dim = 1 if self.keep == "series" else 0
        activity = {}
        for p in self.projections:
            neuron, site = _reader(p)
            keys = ("pre", p.name), ("post", (neuron, site.call))
            parts = [[b[key] for b in micro if key in b] for key in keys]
            if all(parts):
                pre, post = (side[0] if len(side) == 1 else torch.cat(side, dim) for side in parts)
                activity[p.name] = Activity(pre, post.narrow(-1, site.offset, site.size))
        return activity

    def __deepcopy__(self, memo: dict[int, Any]) -> TraceRecorder:
        """Return a recorder of a copy of the model, hooked as this one is."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        vars(twin).update(copy.deepcopy({k: v for k, v in vars(self).items() if k != "_handles"}, memo))
        for module in twin.model.modules():
            for handle in self._handles:  # those that went along with the copy speak to this recorder
                module._forward_hooks.pop(handle.id, None)
                module._forward_pre_hooks.pop(handle.id, None)
        twin._handles = []
        if self._handles:
            twin._hook()
        return twin

    def close(self) -> None:
        """Remove every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
