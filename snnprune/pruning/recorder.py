"""Hooks on layers and neurons that keep the traces of a batch, whichever way the network was called."""

from __future__ import annotations

import copy
import sys
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from snnprune.network.axes import tensors_in
from snnprune.network.hooks import Hook, after, before
from snnprune.network.leaves import is_multi_step, leaf_kind, spiking_base
from snnprune.network.wrappers import forget_compiled
from snnprune.pruning.forwards import is_training, uncompiled
from snnprune.pruning.traces import Activity, full_precision, spiking_trace, sum_over_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

    from snnprune.network.places import Layout, Site
    from snnprune.network.topology import Projection, Topology
    from snnprune.pruning.traces import Keep

CARRIED = (
    "a batch begins with the neuron states of the last one: if samples are independent, call "
    "functional.reset_net(model) after every batch, or write PruningCallback(..., reset_states=True)"
)

_NONE: Mapping[str, Any] = {}

Form = Literal["raw", "series", "trace", "running"]


def _reader(p: Projection) -> tuple[str, Site]:
    assert p.neuron is not None
    assert p.site is not None
    return p.neuron, p.site


def _precise(activity: Tensor) -> Tensor:
    return activity if activity.is_floating_point() and activity.element_size() >= 4 else activity.float()


@dataclass
class _Place:
    """A layer whose input (pre) or a neuron whose output (post) is recorded.

    Attributes:
        module: the layer or neuron.
        neuron: the neuron that the layer feeds, or the neuron itself.
        axis: of the channels, counted from the end.
        layout: where samples and time are.
        order: of the projection, in the forward of the example.
        period: calls in a pass: more than one where a module stands in several places.
        steps: passes in a forward of the example: more than one in a loop over time inside of it.
        starts: in how many of the first passes it is not called (see `Projection`).
        delay: how many time steps behind those of its neuron its first call counts.
        counted: calls in the open forward.
        calls: what is kept of the open forward.
        form: of what is kept: "raw" [N, C] until it is known whether N holds time, a "series" [T, B, C], a
            "trace" [B, C], or a "running" trace [B, C] of the steps so far.
    """

    module: nn.Module
    neuron: nn.Module
    axis: int
    layout: Layout
    order: int
    period: int
    steps: int
    starts: int = 0
    delay: int = 0
    counted: int = 0
    calls: list[Tensor] = field(default_factory=list)
    form: Form = "raw"

    @property
    def is_done(self) -> bool:
        """Whether there were as many calls as in a forward of the example."""
        return self.passes >= self.steps

    @property
    def passes(self) -> float:
        """How many passes of the open forward have come by."""
        return self.counted / self.period + self.starts

    @property
    def is_of_steps(self) -> bool:
        """Whether every call is one time step of the same samples, so that all may come in one."""
        return self.period == 1 and self.layout.time is None and self.layout.fold is None


@dataclass
class _Forward:
    """What is known of the forward that is recorded now.

    Attributes:
        time: time steps and samples, once neurons that take a whole series have said so.
        answered: neurons of one step a call that have fired in it.
        begun: something was recorded.
        ended: the network has answered.
        learned: a backward has come through, from its beginning to its end.
        broken: a backward has begun, and has not ended.
        gave: it left gradients in parameters.
        hidden: it ran without gradients, to be repeated by its backward (reentrant checkpointing).
    """

    time: tuple[int, int] | None = None
    answered: list[nn.Module] = field(default_factory=list)
    begun: bool = False
    ended: bool = False
    learned: bool = False
    broken: bool = False
    gave: bool = False
    hidden: bool = False


class TraceRecorder:
    """Hooks on a network that keep the traces of the batch, [B, C] each.

    Only training-mode forwards with gradients count; recomputation during a backward (checkpointing) does
    not. What counts is that layers and neurons were called: by ``model(x)``, by ``model.forward(x)``, or by a
    module around the network.

    Several forwards before a step (gradient accumulation) are one batch, if the gradients of all are in the
    step. Where ``zero_grad()`` came between, as after a step that a loss scaler skipped, or in the closure of
    an optimiser that evaluates the network several times, the forwards before it are left out.

    A forward ends where the next one begins. Neurons of one step a call say where: a neuron that has fired
    and is at rest again begins with new samples. Without such neurons a call of the network is a forward, and
    where the network itself is not called, a layer that is called once more than in the example, or a layer
    that is called after a backward, begins one. A forward that broke off, by an exception in it or in its
    backward, is left out; so is one that nothing was learned from, where something was from others.

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
        self._batches: list[tuple[_Forward, dict[tuple[str, object], Tensor]]] = []
        self._inside = False
        self._summed: tuple[Tensor, Tensor] | None = None
        self._said = set[str]()
        self._pre: dict[str, _Place] = {}
        self._post: dict[tuple[str, int], _Place] = {}
        modules = dict(model.named_modules())
        for order, p in enumerate(self.projections):
            name, site = _reader(p)
            neuron, axis = modules[name], -1 if p.kind == "linear" else -(len(p.shape) - 1)
            period, delay = max(p.calls // p.loops, 1), p.starts + p.lag
            steps = site.steps if delay else p.loops
            self._pre[p.name] = _Place(
                modules[p.name], neuron, axis, p.layout, order, period, steps, p.starts, delay
            )
            post = _Place(neuron, neuron, site.axis, site.layout, order, site.calls, site.steps)
            self._post.setdefault((name, site.call), post)
        self._loops = any(place.steps > 1 for place in self._post.values())
        self._forward = _Forward()
        forget_compiled(model)
        self._hook()

    def _hook(self) -> None:
        self._places = [*self._pre.values(), *self._post.values()]
        spiking = [m for m in self.model.modules() if isinstance(m, spiking_base())]
        asked = {id(place.neuron) for place in self._places}
        self._neurons = [m for m in spiking if id(m) in asked]
        one_step = (place.module for place in self._post.values() if place.layout.time is None)
        self._foreign = next((m for m in one_step if leaf_kind(m, ()) is None), None)
        self._handles = [
            before(self.model, uncompiled(lambda m, _: self._enter(m))),
            after(self.model, uncompiled(lambda m, _, y: self._leave(m, y)), always=True),
        ]
        for neuron in spiking:
            if not is_multi_step(neuron):
                answered = Hook(uncompiled(lambda m, *_: self._answer(m)))
                answered.series = answered
                self._handles.append(after(neuron, answered))
        for place in self._pre.values():
            self._handles.append(before(place.module, self._record_pre(place), with_kwargs=True))
        for (_, call), place in self._post.items():
            self._handles.append(after(place.module, self._record_post(place, call)))

    def follow(self, topology: Topology) -> None:
        """Take the projections of ``topology``: the network was cut; modules and axes are where they were."""
        self.projections = [
            p for p in topology.projections.values() if p.frozen is None and p.neuron and not p.output
        ]

    @property
    def holds_activity(self) -> bool:
        """Whether a forward was recorded whose batch is not closed."""
        return bool(self._batches) or self._forward.begun

    def forget(self) -> None:
        """Drop the activity of the open batch."""
        self._batches, self._summed, self._inside = [], None, False
        self._forget_forward()

    # --- where a forward begins and ends

    def _enter(self, model: nn.Module) -> None:
        if model is not self.model:
            return  # a replica, which shares the hooks
        if not is_training(model):
            self._note_repetition()
            return
        self._inside, self._summed = True, None
        if self._forward.begun and not self._goes_on(None):
            self._next_forward()

    def _leave(self, model: nn.Module, output: Any) -> None:
        if model is not self.model or not self._inside or not is_training(model):
            return
        self._inside, self._summed = False, None
        if output is None and sys.exc_info()[0] is not None:
            self._forget_forward()
            return
        self._forward.ended, self._forward.hidden = True, not torch.is_grad_enabled()
        self._watch_backward(tensors_in(output))

    def _note_repetition(self) -> None:
        """Note the backward of a hidden forward, which repeats it; the last one comes first."""
        if torch._C._current_graph_task_id() == -1:
            return
        forwards = [*(forward for forward, _ in self._batches), self._forward]
        hidden = [f for f in forwards if f.hidden and not f.learned and not f.broken]
        if hidden:
            self._begin_backward(hidden[-1])

    def _watch_backward(self, tensors: list[Tensor]) -> None:
        forward = self._forward
        for tensor in tensors:
            if tensor.requires_grad:
                tensor.register_hook(lambda _: self._begin_backward(forward))

    def _begin_backward(self, forward: _Forward) -> None:
        """Note a backward that comes through; it is over when the engine says so."""
        if forward.broken:
            return
        forward.broken = True
        torch.autograd.Variable._execution_engine.queue_callback(lambda: self._end_backward(forward))
        if any(other.gave for other, _ in self._batches) and not any(g.any() for g in self._gradients()):
            # What others gave was thrown away before a step.
            self._batches = [(f, b) for f, b in self._batches if f is forward or not f.gave]

    def _end_backward(self, forward: _Forward) -> None:
        forward.broken, forward.learned = False, True
        forward.gave = next(self._gradients(), None) is not None

    def _gradients(self) -> Iterator[Tensor]:
        return (p.grad for p in self.model.parameters() if p.requires_grad and p.grad is not None)

    def _answer(self, neuron: nn.Module) -> None:
        if self._forward.begun and neuron not in self._forward.answered and is_training(self.model):
            self._forward.answered.append(neuron)

    def _goes_on(self, neuron: nn.Module | None) -> bool:
        """Tell whether ``neuron``, or another that has fired, holds the state of the open forward."""
        answered = self._forward.answered
        asked = [n for n in answered if n is neuron] or answered[:1]
        return any(isinstance(n.v, torch.Tensor) for n in asked)  # a reset neuron holds a number

    def _admit(self, place: _Place, module: nn.Module, activity: Tensor, calls: int = 1) -> bool:
        """Tell whether calls are recorded; close the forward before them where they begin a new one."""
        if module is not place.module or not is_training(self.model):
            return False
        forward = self._forward
        if forward.begun and self._begins(place, activity):
            self._next_forward()
        if not self._forward.begun:
            self._forward.begun = True
            carried = any(isinstance(n.v, torch.Tensor) for n in self._neurons)
            if carried and place.module is not place.neuron and not self.carries_over:
                self._say(CARRIED)
        self._forward.ended = False
        place.counted += calls
        return True

    def _begins(self, place: _Place, activity: Tensor) -> bool:
        """Tell whether a call is the first of a new forward."""
        if self._forward.answered:
            whole = place.layout.time is not None and place.is_done
            return whole or not self._goes_on(place.neuron)
        if self._inside:
            return False
        return place.is_done if place.steps == 1 else self._begins_a_loop(place, activity)

    def _begins_a_loop(self, place: _Place, activity: Tensor) -> bool:
        """Tell whether a call is the first one of a loop over time of which nobody says where it begins."""
        if self._forward.learned or self._forward.broken:
            return True
        if place.calls and len(place.calls[-1]) != activity.shape[place.layout.samples]:
            return True
        if any(self._is_behind(place, other) for other in self._places):
            return True
        if place.is_done:
            self._say(
                f"{type(self.model).__name__} was not called as model(x), and its neurons do not say where a "
                "sample begins: more calls before a backward than the example had are taken for further time "
                "steps of the same samples. Call the network itself"
            )
        return False

    @staticmethod
    def _is_behind(place: _Place, other: _Place) -> bool:
        """Tell whether ``other`` shows that the forward is over before ``place`` is called once more.

        It comes behind a loop that is over, or it is in the same loop and was not called in the last pass,
        which broke off.
        """
        if other.steps == 1 < place.steps:
            return other.order > place.order and other.is_done
        return other.steps == place.steps and int(other.passes) < int(place.passes)

    def _next_forward(self) -> None:
        forward = self._forward
        if self._foreign is not None and not self._loops and not forward.learned and not forward.broken:
            self._say(
                "the network was called again before any backward, and neurons of class "
                f"{type(self._foreign).__name__} do not say whether that was one more time step: every call "
                "is taken for samples of its own. Have the loop over time inside the network's forward()"
            )
        self._close_forward()

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            warnings.warn(sentence, stacklevel=2)

    # --- hooks of layers and neurons

    def _record_pre(self, place: _Place) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor] = _NONE) -> None:
            x = args[0] if args else next(iter(kwargs.values()))
            if self._admit(place, module, x) and (place.counted - 1) % place.period == 0:
                output, sums = self._summed or (None, None)
                self._keep_call(place, x, sums if x is output else None)

        reader = Hook(uncompiled(hook))
        reader.only_reads = True  # a layer fused with others may call it by itself
        self._take_steps(reader, place, lambda module, x, steps: self._admit(place, module, x[0], steps))
        return reader

    def _record_post(self, place: _Place, call: int) -> Any:
        def is_counted(module: nn.Module, spikes: Tensor, steps: int = 1) -> bool:
            if not self._admit(place, module, spikes if steps == 1 else spikes[0], steps):
                return False
            if self._foreign is not None or not self._inside:
                self._watch_backward([spikes])
            return (place.counted - 1) % place.period == call

        def hook(module: nn.Module, _args: Any, output: Any) -> None:
            spikes = tensors_in(output)[0]  # some neurons hand out their state as well
            if is_counted(module, spikes):
                layout = place.layout
                if layout.time is not None:
                    self._note_time(spikes.shape[layout.time], spikes.shape[layout.samples])
                elif layout.fold is not None:
                    self._note_time(*layout.fold.divide(spikes.shape[layout.samples]))
                self._keep_call(place, spikes)

        def counts(output: Tensor, post: Tensor, pre: Tensor | None) -> None:
            """Take spikes [T, B, C] that fused layers have summed over space on the way."""
            counted: Any = getattr(place.module, "_recorded", None)
            is_own = counted is not None and counted[0] is post  # and not those of a copy of the network
            if is_own and is_counted(place.module, output):
                self._summed = (output, post if pre is None else pre)
                self._note_time(post.shape[0], post.shape[1])
                place.form = "series" if self.keep == "series" else "trace"
                place.calls.append(post if self.keep == "series" else spiking_trace(post, self.tau))

        reader = Hook(uncompiled(hook))
        reader.counts = counts  # a layer fused with others need not show its spikes then
        self._take_steps(reader, place, is_counted)
        return reader

    def _take_steps(
        self, reader: Hook, place: _Place, is_counted: Callable[[nn.Module, Tensor, int], bool]
    ) -> None:
        """Have a hook take all time steps [T, B, ...] of neurons that are wired to themselves."""

        def series(module: nn.Module, activity: Tensor) -> None:
            if is_counted(module, activity, len(activity)):
                self._keep_steps(place, activity)

        if place.is_of_steps:
            reader.series = series

    def _note_time(self, steps: int, samples: int) -> None:
        if self._forward.time is None:
            self._forward.time = (steps, samples)

    def _keep_call(self, place: _Place, activity: Tensor, sums: Tensor | None = None) -> None:
        """Keep one call's activity, summed over space and, where time is known, weighted over time.

        Where a layer of channels is given what a fused layer put out, its ``sums`` [T, B, C] are known.
        """
        if place.calls and place.form == "running":
            self._keep_steps(place, activity.unsqueeze(0))
            return
        with torch.no_grad(), full_precision(activity.device):
            kept = _precise(activity.detach())
            time = place.layout.time
            if sums is not None and time == 0 and place.axis == 2 - activity.ndim:
                kept = sums
            elif time is not None and kept.shape[time] > 1 and kept.stride(time) == 0:
                # The same at every step: sum one.
                one = sum_over_space(kept.narrow(time, 0, 1), place.axis, place.layout)
                kept = one.expand(kept.shape[time], -1, -1)
            else:
                kept = sum_over_space(kept, place.axis, place.layout)
            place.form = "raw" if time is None else "series"
            if time is None and self._forward.time is not None and place.steps == 1:
                kept, place.form = self._unfold(kept, place.layout), "series"
            if place.form == "series" and self.keep == "trace":
                kept, place.form = spiking_trace(kept, self.tau), "trace"
            place.calls.append(kept)

    def _keep_steps(self, place: _Place, activity: Tensor) -> None:
        """Keep the calls of all time steps [T, B, ...], as `_keep_call` would one by one.

        Traces are taken now: whoever gets these spikes next may write over them.
        """
        goes_on = bool(place.calls) and place.form == "running"
        if len(activity) == 1 and not goes_on:
            self._keep_call(place, activity[0])
            return
        layout = replace(place.layout, time=0, samples=place.layout.samples + 1)
        with torch.no_grad(), full_precision(activity.device):
            kept = _precise(activity.detach())
            kept = sum_over_space(kept, place.axis, layout)
            if self.keep == "series":
                place.form = "raw"
                place.calls.extend(kept.clone().unbind())
                return
            trace = spiking_trace(kept, self.tau)
            if place.calls:
                earlier = place.calls[0] if goes_on else spiking_trace(torch.stack(place.calls), self.tau)
                trace += self.tau ** len(activity) * earlier
            place.form, place.calls = "running", [trace]

    def _unfold(self, kept: Tensor, layout: Layout) -> Tensor:
        """Return [T, B, C] of a network with time, from [T x B, C], or from [B, C] shown at every step."""
        assert self._forward.time is not None
        steps, batch = self._forward.time
        if kept.shape[0] != steps * batch:
            return kept.expand(steps, *kept.shape)
        if layout.by_sample:
            return kept.unflatten(0, (batch, steps)).transpose(0, 1)
        return kept.unflatten(0, (steps, batch))

    # --- batches

    def _close_forward(self) -> None:
        """Turn what is kept into one micro-batch of traces, unless the forward broke off."""
        forward = self._forward
        if not forward.begun:
            return
        if forward.ended or forward.learned or self._is_complete():
            batch: dict[tuple[str, object], Tensor] = {}
            for side, places in (("pre", self._pre), ("post", self._post)):
                for name, place in places.items():
                    if place.calls and not place.delay:
                        batch[side, name] = self._reduce(place)
            for p in self.projections:
                neuron, site = _reader(p)
                place, post = self._pre[p.name], self._post[neuron, site.call]
                if place.delay and post.calls:
                    batch["pre", p.name] = self._arriving(place, post, p.columns)
            self._batches.append((forward, batch))
        self._forget_forward()

    def _is_complete(self) -> bool:
        """Tell whether every place was called as often as every other, as measured by the example."""
        return len({place.passes / place.steps for place in self._places}) == 1

    def _forget_forward(self) -> None:
        for place in self._places:
            place.calls, place.counted = [], 0
        self._forward = _Forward()

    def _reduce(self, place: _Place) -> Tensor:
        """Return the trace [B, C] (or the series [T, B, C]) from the calls of one forward."""
        if place.form in {"trace", "running"}:
            return place.calls[0]
        if place.form == "series":
            series = place.calls[0]
        elif self._forward.time is not None and len(place.calls) == 1:
            series = self._unfold(place.calls[0], place.layout)
        else:
            series = torch.stack(place.calls)  # a call per time step; one call for a network without time
        return series if self.keep == "series" else spiking_trace(series, self.tau)

    def _arriving(self, place: _Place, post: _Place, columns: int) -> Tensor:
        """Return the trace or series of what reaches a neuron some steps later: at first, nothing.

        Args:
            place: the layer that reaches the neuron so late.
            post: the neuron.
            columns: of the layer.
        """
        like = (place.calls or post.calls)[0]
        nothing = like.new_zeros(like.shape[-2], columns)
        series = torch.stack(([nothing] * place.delay + place.calls)[: int(post.passes)])
        return series if self.keep == "series" else spiking_trace(series, self.tau)

    def batch(self) -> dict[str, Activity]:
        """Close the batch: return each projection's activity since the last call, and start anew."""
        self._close_forward()
        learned = any(forward.learned for forward, _ in self._batches)
        micro = [b for f, b in self._batches if not f.broken and (f.learned or not learned)]
        self._batches = []
        dim = 1 if self.keep == "series" else 0
        activity = {}
        for p in self.projections:
            neuron, site = _reader(p)
            keys = ("pre", p.name), ("post", (neuron, site.call))
            parts = [[b[key] for b in micro if all(k in b for k in keys)] for key in keys]
            if all(parts):
                pre, post = (side[0] if len(side) == 1 else torch.cat(side, dim) for side in parts)
                wider = torch.promote_types(pre.dtype, post.dtype)  # spikes may be of another than potentials
                activity[p.name] = Activity(pre.to(wider), site.rows(post.to(wider), -1))
        return activity

    def __deepcopy__(self, memo: dict[int, Any]) -> TraceRecorder:
        """Return a recorder of a copy of the model, hooked as this one is."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        vars(twin).update(copy.deepcopy({k: v for k, v in vars(self).items() if k != "_handles"}, memo))
        twin._handles = []
        if self._handles:
            twin._hook()
        return twin

    def close(self) -> None:
        """Remove every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
