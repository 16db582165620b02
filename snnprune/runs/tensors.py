"""Tensors that the page of a run shows: dynamics.safetensors and example.safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from snnprune.common import atomic, document
from snnprune.common.errors import UserError, in_one_line
from snnprune.runs.typed import typed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from snnprune.pruning import Pruner

    Tensors = dict[str, NDArray[Any]]

Kind = TypeVar("Kind")


class WithTensors:
    """Tensors by name with a description: a safetensors file with one entry of metadata, in JSON."""

    about: Any
    tensors: Tensors

    def write(self, file: Path) -> None:
        """Write ``file``, whole or not at all."""
        from safetensors import numpy as safetensors  # noqa: PLC0415 - what only reads numbers need not wait

        # One entry, since safetensors writes several in random order.
        content = safetensors.save(self.tensors, {"about": json.dumps(asdict(self.about))})
        atomic.write(file, lambda opened: opened.write(content))


@dataclass(frozen=True)
class Followed:
    """A population that dynamics follow: its size, "linear" or "conv", and whether it is not prunable."""

    size: int
    kind: str
    frozen: bool


@dataclass(frozen=True)
class AboutDynamics:
    """Names and shapes of the dense network: layers, populations, weights, scores, layers of neurons."""

    layers: list[str]
    populations: dict[str, Followed]
    shapes: dict[str, list[int]]
    scored: list[str]
    neurons: list[str]
    format: str = "snnprune dynamics, version 1"


@dataclass(frozen=True)
class Dynamics(WithTensors):
    """What happened to a sample of neurons and synapses, epoch by epoch.

    Attributes:
        about: names and shapes.
        tensors: tensors by name, with E epochs; pruned units and synapses are NaN (-1 in integer tensors):

            - ``epochs`` int64 [E]; ``weights`` int64 [E, layers] and ``units`` int64 [E, populations], the
              numbers of those left;
            - ``firing`` float32 [E, layers of neurons], the share of outputs that are not zero in the first
              test batch;
            - ``survival/neurons/NAME`` and ``survival/synapses/NAME`` float16 [D, sample], F before the
              decision of each of the last D epochs, from the method's first decision on, if the method has
              survival functions;
            - ``fan_in/NAME`` int32 [E, sample], number of surviving synapses that end at each neuron;
            - ``first/...`` and ``last/...`` float32, importance after the first and after the latest epoch:
              of a population's sample [sample], and of a sample of a fully connected layer's synapses
              [rows, columns]. If the method has no score, the importance of a synapse is the magnitude of
              its weight.
    """

    about: AboutDynamics
    tensors: Tensors

    @classmethod
    def of(cls, pruner: Pruner) -> Dynamics:
        """Return what the history of a pruner holds; at least one epoch has ended."""
        history, dense = pruner.history, pruner.dense
        followed = {
            p.name: Followed(p.size, p.kind, frozen=p.frozen is not None) for p in dense.populations.values()
        }
        shapes = {p.name: list(p.shape) for p in dense.projections.values()}
        about = AboutDynamics(list(history.dense), followed, shapes, history.scored, history.neurons)
        return cls(about, {name: tensor.numpy() for name, tensor in history.tensors().items()})

    @property
    def epochs(self) -> NDArray[Any]:
        """Numbers of the epochs, from 1."""
        return self.tensors["epochs"]

    def under(self, prefix: str) -> Tensors:
        """Return the tensors whose names begin with ``prefix``, by the rest of the name."""
        return {k.removeprefix(prefix): t for k, t in self.tensors.items() if k.startswith(prefix)}


@dataclass(frozen=True)
class AboutExample:
    """Names of all classes; the sample's true class and the predicted one; layers of neurons; kinds of data.

    The classes are numbers, ``time_steps`` is that of the whole recording. ``readout`` is the layer of the
    output if it has potentials in place of spikes.
    """

    classes: list[str]
    label: int
    answer: int
    neurons: list[str]
    spiking: bool
    events: bool
    time_steps: int
    readout: str | None = None
    format: str = "snnprune example, version 1"

    def __post_init__(self) -> None:
        if not 0 <= min(self.label, self.answer) <= max(self.label, self.answer) < len(self.classes):
            raise ValueError(f"there are {len(self.classes)} classes, and it names another")


@dataclass(frozen=True)
class Example(WithTensors):
    """One recording, and what the network did with it.

    Attributes:
        about: classes, prediction and names.
        tensors: ``frames`` uint8 [frames, P, H, W], some of the recording's frames, and their ``steps`` (one
            image [1, C, H, W] if there is no time), ``scores`` float32 [K], and ``activity/LAYER`` float32
            [T, channels or neurons] for each layer of neurons, averaged over space: in [0, 1], the share of
            places that spiked; for a readout that does not spike, its potentials.
    """

    about: AboutExample
    tensors: Tensors


def is_sound(shape: Sequence[int]) -> bool:
    """Tell whether frames [..., P, H, W] are channels side by side, of one polarity and one row."""
    return tuple(shape[-3:-1]) == (1, 1)


def read_dynamics(file: Path) -> Dynamics | None:
    """Read a dynamics.safetensors; return None if there is none.

    Raises:
        UserError: it is damaged.
    """
    read = _read(file, AboutDynamics, {"epochs", "weights", "units", "firing"})
    return None if read is None else Dynamics(*read)


def read_example(file: Path) -> Example | None:
    """Read an example.safetensors; return None if there is none.

    Raises:
        UserError: it is damaged.
    """
    read = _read(file, AboutExample, {"frames", "steps", "scores"})
    return None if read is None else Example(*read)


def _read(file: Path, kind: type[Kind], needed: set[str]) -> tuple[Kind, Tensors] | None:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - what only reads numbers need not wait

    if not file.exists():
        return None
    try:
        with safe_open(file, framework="numpy") as opened:
            about = typed(kind, document.parse_json((opened.metadata() or {}).get("about", "{}")))
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
        if needed - tensors.keys():
            raise ValueError(f"'{min(needed - tensors.keys())}' is missing")  # noqa: TRY301 - as any other
    except (SafetensorError, ValueError, TypeError, OSError) as error:
        raise UserError(
            f"{file} is damaged ({in_one_line(error)}): remove it to get a page without it, or train again"
        ) from error
    return about, tensors
