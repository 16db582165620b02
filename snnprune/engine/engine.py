"""A plan, computed: on whole batches, or step by step."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.common.errors import UserError
from snnprune.engine import costs, machine, reading
from snnprune.engine.bounds import refuse_inexact
from snnprune.engine.calibration import costs_of_this_machine
from snnprune.engine.checking import check
from snnprune.engine.plan import Layer, Plan
from snnprune.engine.program import compose

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from snnprune.engine.costs import Costs
    from snnprune.engine.program import Program

    Array = npt.NDArray[Any]

MADE = "make it with snnprune.export.planning"

WAYS = ("rows", "synapses", "product")
"""How a layer may add what its synapses contribute: see `Engine`."""


class Engine:
    """Computes a plan where spikes arrive, on a CPU.

    Each layer with synapses adds its contributions in one of three ways, with the same bits: "rows" adds
    for each event the weights of all units, "synapses" only those that are not 0, and "product" multiplies
    everything with everything, for inputs that are hardly ever 0. The cheapest is chosen from the costs of
    this machine and the number of events: from customary rates at first, from those of the first sample once
    there was one. An input that is 0 adds nothing.

    Args:
        plan: the network.
        threads: samples of a batch are divided among so many threads.
        ways: for names of layers the way that they take, in place of the cheapest.
        costs: of this machine; None for those that are measured once and kept in a file.

    Raises:
        UserError: the plan does not fit together, weights are not finite, or ``ways`` or ``threads`` are not
            what they may be.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        threads: int = 1,
        ways: Mapping[str, str] | None = None,
        costs: Costs | None = None,
    ) -> None:
        if not isinstance(plan, Plan):
            raise UserError(f"an engine computes a Plan, and was given a {type(plan).__name__}: {MADE}")
        if threads < 1:
            raise UserError(f"threads are {threads}: choose 1 or more")
        _refuse_broken(plan)
        try:
            check(plan)  # kernels read without looking where
        except ValueError as error:
            raise UserError(f"this is no plan of a network ({error}): {MADE}") from error
        self.plan, self.threads = plan, threads
        self._asked = dict(ways or {})
        self._costs = costs
        names = {node.name for node in plan.nodes if isinstance(node, Layer)}
        for name, way in self._asked.items():
            if name not in names or way not in WAYS:
                raise UserError(
                    f"ways: '{name}: {way}' is not known: choose among the layers {', '.join(sorted(names))} "
                    f"and the ways {', '.join(WAYS)}"
                )
        self._rates: dict[str, float] = {}
        self._ways = self._chosen()
        self._program = compose(plan, self._ways)
        self._samples = [_Sample(self._program)]
        self._stream: _Sample | None = None
        self._watching: _Sample | None = None
        self._bounded: tuple[float, int] = (0.0, 0)
        self._steps = 0

    # --- batches

    def __call__(self, frames: Array) -> Array:
        """Return outputs [T, B, K] for frames [T, B, C, H, W] of numbers. Each sample begins at rest.

        Raises:
            UserError: the shape is another, a number is not finite, or sums would not be exact.
        """
        frames = self._admitted(frames)
        if not self._rates and frames.size:
            self._measure(frames[:, :1])
        outputs = np.empty((*frames.shape[:2], self._outputs), self.plan.dtype)
        while len(self._samples) < min(self.threads, frames.shape[1]):
            self._samples.append(_Sample(self._program))
        parts = min(self.threads, frames.shape[1])
        finite = [True] * parts

        def compute(i: int) -> None:
            finite[i] = self._samples[i].answer(frames, i, parts, outputs)

        others = [threading.Thread(target=compute, args=(i,)) for i in range(1, parts)]
        for thread in others:
            thread.start()
        if parts:
            compute(0)
        for thread in others:
            thread.join()
        if not all(finite):
            raise _not_finite()
        return outputs

    def scores(self, frames: Array) -> Array:
        """Return scores [B, K] for frames [T, B, C, H, W], outputs over time as the plan says.

        Raises:
            UserError: as of a call, or there is no time step.
        """
        outputs = self(frames)
        if not len(outputs):
            raise UserError("frames have no time step (T is 0), and scores are over time: give one or more")
        if self.plan.over_time == "last":
            return outputs[-1]
        return outputs.max(0) if self.plan.over_time == "max" else outputs.mean(0)

    def spikes(self, frames: Array) -> dict[str, Array]:
        """Return what each node hands on, [T, B, channels, height, width], for frames [T, B, C, H, W]."""
        frames = self._admitted(frames)
        if self._watching is None:
            self._watching = _Sample(compose(self.plan, self._ways, watched=True))
        sample = self._watching
        steps, samples = frames.shape[:2]
        shapes = {node.name: (steps, samples, *node.shape) for node in self.plan.nodes}
        found = {name: np.zeros(shape, self.plan.dtype) for name, shape in shapes.items()}
        block = sample.program.block
        for b in range(samples):
            sample.rest()
            for begin in range(0, steps, block):
                now = min(block, steps - begin)
                for step in range(now):
                    sample.read(frames[begin + step, b], step)
                sample.run(now)
                for place, node in enumerate(self.plan.nodes):
                    found[node.name][begin : begin + now, b] = sample.dense(place, node.shape, now)
        return found

    # --- streams

    def reset(self) -> None:
        """Begin a stream at rest."""
        self._steps = 0
        if self._stream is None or self._stream.program is not self._program:
            self._stream = _Sample(self._program)
        self._stream.rest()

    def step(self, frame: Array) -> Array:
        """Return outputs [K] of one step for a frame [C, H, W]. Potentials go on from the step before.

        Raises:
            UserError: the shape is another, a number is not finite, or sums would not be exact.
        """
        frame = _readable(np.asarray(frame), self.plan.dtype)
        if frame.shape != self.plan.shape:
            raise UserError(f"a frame has the shape {frame.shape}: the network reads {self.plan.shape}")
        stream = self._streaming(frame)
        stream.read(frame, 0)
        return stream.step(self._outputs)

    def step_events(self, addresses: Array, counts: Array) -> Array:
        """Return outputs [K] of one step for a frame that is given by its numbers other than 0.

        Args:
            addresses: [n], places in the order (channels, height, width). Numbers of a place are added.
            counts: [n], the numbers.

        Raises:
            UserError: a place is outside, a number is not finite, or sums would not be exact.
        """
        addresses, counts = np.asarray(addresses), np.asarray(counts)
        if addresses.ndim != 1 or addresses.shape != counts.shape or addresses.dtype.kind not in "iu":
            raise UserError(
                f"events have places {addresses.dtype} {addresses.shape} and numbers {counts.shape}: "
                "give as many numbers as whole places, each in one row"
            )
        stream = self._streaming(counts)
        stream.read_events(addresses.astype(np.int64, copy=False), counts.astype(self.plan.dtype, copy=False))
        return stream.step(self._outputs)

    def _streaming(self, numbers: Array) -> _Sample:
        if self._stream is None:
            self.reset()
        assert self._stream is not None
        self._steps += 1
        if self.plan.bits is not None:
            self._bound(numbers, self._steps)
        return self._stream

    # --- ways

    def layers(self) -> list[dict[str, Any]]:
        """Return a row for each layer with synapses.

        Its ``layer`` (name), the ``way`` that it takes, the estimated time of a step by each way in
        nanoseconds (``rows``, ``synapses``, ``product``), its ``alive`` synapses of so many ``synapses in
        all``, and the ``rate``: the share of its inputs that were not 0, None before there was a sample.
        """
        return [
            {
                "layer": estimate.name,
                "way": self._ways[estimate.name],
                **{way: estimate.nanoseconds[way] for way in WAYS},
                "alive": estimate.alive,
                "all": estimate.every,
                "rate": self._rates.get(estimate.name),
            }
            for estimate in costs.estimates(self.plan, self._rates, self._known_costs())
        ]

    def _known_costs(self) -> Costs:
        if self._costs is None:
            self._costs = costs_of_this_machine(self.plan.dtype)
        return self._costs

    def _chosen(self) -> dict[str, str]:
        names = [node.name for node in self.plan.nodes if isinstance(node, Layer)]
        if set(names) <= set(self._asked):
            return {name: self._asked[name] for name in names}
        found = costs.estimates(self.plan, self._rates, self._known_costs())
        return {e.name: self._asked.get(e.name, min(WAYS, key=e.nanoseconds.__getitem__)) for e in found}

    def _measure(self, frames: Array) -> None:
        """Take the rates of a sample, and choose the ways by them."""
        sample = _Sample(compose(self.plan, dict.fromkeys(self._ways, "rows")))
        outputs = np.empty((*frames.shape[:2], self._outputs), self.plan.dtype)
        if not sample.answer(frames, 0, 1, outputs):
            raise _not_finite()
        for place, node in enumerate(self.plan.nodes):
            if isinstance(node, Layer):
                size = int(np.prod(self.plan.shape_of(node.sources[0])))
                self._rates[node.name] = float(sample.n[place]) / (size * len(frames))
        ways = self._chosen()
        if ways != self._ways:
            self._ways, self._watching = ways, None
            self._program = compose(self.plan, ways)
            self._samples = [_Sample(self._program)]

    # --- input

    @property
    def _outputs(self) -> int:
        return int(np.prod(self.plan.nodes[self.plan.output].shape))

    def _admitted(self, frames: Array) -> Array:
        frames = _readable(np.asarray(frames), self.plan.dtype)
        if frames.ndim != 5 or frames.shape[2:] != self.plan.shape:
            raise UserError(
                f"frames have the shape {frames.shape}: the network reads [T, B, C, H, W] with "
                f"{self.plan.shape} as C, H, W"
            )
        if self.plan.bits is not None:
            self._bound(frames, len(frames))
        return frames

    def _bound(self, numbers: Array, steps: int) -> None:
        top = float(np.abs(numbers.astype(np.float64)).max(initial=0))
        if top > self._bounded[0] or steps > self._bounded[1]:
            bounded = max(top, self._bounded[0]), max(2 * steps, self._bounded[1])
            refuse_inexact(self.plan, top, steps)
            self._bounded = bounded if _is_exact(self.plan, *bounded) else (top, steps)


class _Sample:
    """The numbers of one sample, on their way through a program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.x, self.e, self.b, self.n = program.arrays()
        self._arrays = (program.numbers, program.whole, self.x, self.e, self.b, self.n)
        self._source = program.source[0]
        self.rest()

    def rest(self) -> None:
        machine.rest(self.program.table, self.program.numbers, self.x, self.e, self.b, self.n)

    def read(self, frame: Array, step: int) -> None:
        if not reading.read_frame(frame.reshape(-1), 0, self._source, step, self.x, self.e):
            raise _not_finite()

    def read_events(self, places: Array, numbers: Array) -> None:
        finite, inside = reading.read_events(places, numbers, self._source, self.x, self.e, self.b)
        if not inside:
            raise UserError("an event lies outside of the frame: places go by (channels, height, width)")
        if not finite:
            raise _not_finite()

    def run(self, steps: int) -> None:
        machine.run(self.program.table, steps, *self._arrays)

    def step(self, size: int) -> Array:
        self.run(1)
        at = self.program.output
        return self.x[at : at + size].copy()

    def answer(self, frames: Array, first: int, apart: int, outputs: Array) -> bool:
        program, row = self.program, frames.reshape(-1)
        counts = row if row.dtype == np.uint8 else row[:0].view(np.uint8)
        numbers = self.x[:0] if row.dtype == np.uint8 else row
        return bool(
            machine.answer(
                counts, numbers, first, apart, outputs,
                program.block, program.table, program.source, program.output, *self._arrays,
            )
        )  # fmt: skip

    def dense(self, place: int, shape: tuple[int, int, int], steps: int) -> Array:
        c, h, w = shape
        at = self.program.held[place]
        return self.x[at : at + steps * c * h * w].reshape(steps, h, w, c).transpose(0, 3, 1, 2)


def _readable(frames: Array, dtype: Any) -> Array:
    """Return numbers of a kind that the kernels read."""
    if frames.dtype.kind not in "buif":
        raise UserError(f"frames are {frames.dtype}: numbers are read, such as uint8 or float32")
    own = frames if frames.dtype in {np.dtype(np.uint8), dtype} else frames.astype(dtype)
    return np.require(own, requirements=("C", "W", "A"))


def _refuse_broken(plan: Plan) -> None:
    for node in plan.nodes:
        for name, numbers in vars(node).items():
            if isinstance(numbers, np.ndarray) and not np.isfinite(numbers).all():
                raise UserError(
                    f"{name} of '{node.name}' are not finite: look for what made them so in training"
                )


def _not_finite() -> UserError:
    return UserError(
        "a number of the frames is not finite: look for a division by zero in front of the network"
    )


def _is_exact(plan: Plan, top: float, steps: int) -> bool:
    try:
        refuse_inexact(plan, top, steps)
    except UserError:
        return False
    return True
