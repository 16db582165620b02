"""Who answers recordings, and the sides of this package: SpikingJelly, fused layers, the engine, its C."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from spikingjelly.activation_based import functional

import snnprune
from snnprune.engine.c import writing
from snnprune.engine.engine import WAYS, Engine
from snnprune.engine.plan import Layer
from snnprune.export.graph import plain
from snnprune.export.planning import plan

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn

    from snnprune.engine.plan import Plan

    Array = npt.NDArray[Any]


class AbsentError(Exception):
    """A side that cannot compete here; the message says why."""


@dataclass(frozen=True)
class Case:
    """What all sides are given.

    Attributes:
        dense: the whole network, of SpikingJelly's layers.
        model: the network that is measured, without its dead units; it may be the whole one.
        example: encoded frames [T, B, C, H, W] of the batch that will come.
        threads: of the processor.
    """

    dense: nn.Module
    model: nn.Module
    example: Tensor
    threads: int

    @property
    def plan(self) -> Plan:
        """Return the plan of the network that is measured."""
        return plan(self.model, self.example[:, :1])


class Side:
    """One way to answer recordings.

    Args:
        case: the network. Building, exporting and compiling are done here, and are not timed.

    Raises:
        AbsentError: it cannot be done.
    """

    def __init__(self, case: Case) -> None:
        raise NotImplementedError

    def given(self, frames: Tensor) -> Any:
        """Return frames [T, B, C, H, W] as this side reads them; not timed."""
        return frames

    def answer(self, given: Any) -> Any:
        """Return the outputs as this side makes them; timed."""
        raise NotImplementedError

    def outputs(self, answer: Any) -> Array:
        """Return outputs [T, B, K]; [1, B, K], summed over time, of a side that keeps no steps."""
        return np.asarray(answer)

    def forget(self) -> None:
        """Let go of what is kept between answers, such as potentials; the next answer makes it anew."""


# --- networks of torch


class SpikingJelly(Side):
    """The network of SpikingJelly's layers, multi-step."""

    def __init__(self, case: Case) -> None:
        self.model = plain(case.model).eval()

    @torch.inference_mode()
    def answer(self, given: Tensor) -> Tensor:
        """Return outputs, and bring the neurons to rest."""
        out: Tensor = self.model(given)
        functional.reset_net(self.model)
        return out


class _SpikingJellyDense(SpikingJelly):
    """The whole network."""

    def __init__(self, case: Case) -> None:
        self.model = plain(case.dense).eval()


class _Fused(SpikingJelly):
    """The network with fused neurons and channels-last convolutions, as `snnprune train` runs it."""

    def __init__(self, case: Case) -> None:
        self.model = snnprune.accelerate(plain(case.model), channels_last=True).eval()


class _FusedDense(SpikingJelly):
    """The whole network with fused neurons."""

    def __init__(self, case: Case) -> None:
        self.model = snnprune.accelerate(plain(case.dense), channels_last=True).eval()


# --- the engine


class _Chosen(Side):
    """The engine, each layer in the way that its costs name."""

    way: str | None = None

    def __init__(self, case: Case) -> None:
        made = case.plan
        layers = [node.name for node in made.nodes if isinstance(node, Layer)]
        ways = dict.fromkeys(layers, self.way) if self.way else None
        self.engine = Engine(made, threads=case.threads, ways=ways)
        self.engine(self.given(case.example))

    def given(self, frames: Tensor) -> Array:
        return frames_of(frames)

    def answer(self, given: Array) -> Array:
        return self.engine(given)

    def forget(self) -> None:
        self.engine._samples.clear()


def frames_of(frames: Tensor) -> Array:
    """Return frames as numpy holds them: counts in bytes, as recordings are kept, else floats."""
    numbers = np.ascontiguousarray(frames.numpy())
    small = numbers.astype(np.uint8)
    return small if np.array_equal(small, numbers) else numbers


def _forced(way: str) -> type[_Chosen]:
    return type(f"Engine{way.title()}", (_Chosen,), {"way": way, "__doc__": f"Each layer by {way}."})


# --- C


FLAGS = ("-O3", "-march=native")

MOST_WEIGHTS = 3_000_000
"""A weight takes some twenty characters in C: for more weights gcc takes minutes, and gigabytes."""


def compiled(source: Path, *, flags: tuple[str, ...] = FLAGS) -> ctypes.CDLL:
    """Compile a file of C to a library beside it, and load it.

    Raises:
        AbsentError: there is no gcc.
    """
    if which("gcc") is None:
        raise AbsentError("there is no gcc")
    library = source.with_suffix(".so")
    command = ["gcc", *flags, "-shared", "-fPIC", "-w", source.name, "-o", library.name, "-lm"]
    subprocess.run(command, cwd=source.parent, check=True)
    return ctypes.CDLL(str(library))


def pointer(numbers: Array) -> ctypes.c_void_p:
    """Return where an array lies."""
    return numbers.ctypes.data_as(ctypes.c_void_p)


LOOP = """
void recordings(const number *frames, int64_t steps, int64_t samples, net_score *scores) {
    enum { SIZE = net_CHANNELS * net_HEIGHT * net_WIDTH };
    for (int64_t b = 0; b < samples; b++) {
        net_reset();
        for (int64_t t = 0; t < steps; t++) {
            const number *frame = frames + (t * samples + b) * SIZE;
            for (uint32_t place = 0; place < SIZE; place++) {
                if (frame[place] != 0) { (void)net_add(place, frame[place]); }
            }
            net_step();
        }
        (void)net_answer(scores + b * net_CLASSES);
    }
}
"""


class _InC(Side):
    """The C of the engine, compiled by gcc."""

    def __init__(self, case: Case) -> None:
        if case.threads > 1:
            raise AbsentError("C has one thread")
        alive = sum(int(p.count_nonzero()) for p in case.model.parameters())
        if alive > MOST_WEIGHTS:
            raise AbsentError(f"C of {alive / 1e6:.0f} million living weights has too much text for gcc")
        self.given_as = frames_of(case.example).dtype
        counts = self.given_as == np.uint8
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "net.c"
            made = writing.write(case.plan, source, bin_us=1000 if counts else None, counts=counts)
            number = "uint8_t" if counts else made.real
            text = source.read_text(encoding="utf-8")
            source.write_text(f"{text}\ntypedef {number} number;\n{LOOP}", encoding="utf-8")
            self.library = compiled(source)
        self.real = np.dtype({"float": np.float32, "double": np.float64}[made.real])
        self.classes = int(np.prod(case.plan.nodes[case.plan.output].shape))

    def given(self, frames: Tensor) -> Array:
        return frames_of(frames).astype(self.given_as)

    def answer(self, given: Array) -> Array:
        steps, samples = given.shape[:2]
        scores = np.empty((samples, self.classes), self.real)
        self.library.recordings(
            pointer(given), ctypes.c_int64(steps), ctypes.c_int64(samples), pointer(scores)
        )
        return scores * steps

    def outputs(self, answer: Array) -> Array:
        return np.rint(answer)[None]


BASELINE, CHOSEN = "SpikingJelly, dense", "engine"

OURS: dict[str, type[Side]] = {
    BASELINE: _SpikingJellyDense,
    "SpikingJelly": SpikingJelly,
    "fused, dense": _FusedDense,
    "fused": _Fused,
    CHOSEN: _Chosen,
    **{f"engine, {way}": _forced(way) for way in WAYS},
    "C of the engine": _InC,
}
"""By name; those without "dense" compute the network that is measured."""
