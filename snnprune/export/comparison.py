"""Compare an export with its network: outputs, spikes layer by layer, and answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.axes import tensors_in
from snnprune.network.duplicate import reset_states
from snnprune.network.leaves import spiking_base
from snnprune.nn.scores import scores_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor, nn

    Spikes = dict[str, Tensor]
    """The spikes of each layer of neurons, [T, B, ...], by the layer's name."""

    Run = Callable[[Tensor], tuple[Tensor, Spikes]]
    """Maps encoded frames [T, B, C, H, W] to outputs [T, B, K] and spikes."""


@dataclass
class LayerFlips:
    """Flips of one layer: spikes that only one of the two networks has.

    Attributes:
        flipped: number of them.
        spikes: number of spikes of the original network.
        size: number of places and time steps that were compared.
    """

    flipped: int = 0
    spikes: int = 0
    size: int = 0


@dataclass
class RoundTrip:
    """How an export compares with its original network, over all recordings that both were shown.

    Attributes:
        over_time: how outputs become answers (`snnprune.nn.scores`).
        samples: number of recordings.
        difference: largest absolute difference of the outputs, at any time step.
        answers: number of recordings with different answers.
        right: number of right answers of the original network and of the export, where labels were given.
        layers: flips by name of the layer of neurons.
    """

    over_time: str = "mean"
    samples: int = 0
    difference: float = 0.0
    answers: int = 0
    right: tuple[int, int] | None = None
    layers: dict[str, LayerFlips] = field(default_factory=dict)

    @property
    def flipped(self) -> int:
        """Number of spikes that flipped, in all layers."""
        return sum(layer.flipped for layer in self.layers.values())

    @property
    def size(self) -> int:
        """Number of places and time steps that were compared, in all layers."""
        return sum(layer.size for layer in self.layers.values())

    @property
    def spikes(self) -> int:
        """Number of spikes of the original network."""
        return sum(layer.spikes for layer in self.layers.values())

    def add(
        self, mine: tuple[Tensor, Spikes], other: tuple[Tensor, Spikes], labels: Tensor | None = None
    ) -> None:
        """Compare outputs ([T, B, K] or [B, K]) and spikes of one batch with those of the export.

        Spikes of the export may be units x 1 x 1 where those of the original are units. With ``labels`` [B]
        right answers are counted, too.
        """
        (y, fired), (z, again) = mine, other
        if y.ndim == 2:
            y, z = y.unsqueeze(0), z.unsqueeze(0)
        self.samples += y.shape[1]
        self.difference = max(self.difference, float((y - z).abs().max()))
        one, two = (scores_of(outputs, self.over_time).argmax(1) for outputs in (y, z))
        self.answers += int((one != two).sum())
        if labels is not None:
            before, after = self.right or (0, 0)
            self.right = before + int((one == labels).sum()), after + int((two == labels).sum())
        for name, spikes in fired.items():
            layer = self.layers.setdefault(name, LayerFlips())
            other_spikes = again[name].reshape(spikes.shape)
            layer.flipped += int(((spikes != 0) != (other_spikes != 0)).sum())
            layer.spikes += int(spikes.count_nonzero())
            layer.size += spikes.numel()

    def report(self) -> dict[str, Any]:
        """Return the numbers in plain types, for a file."""
        return {
            "samples": self.samples,
            "largest_difference": self.difference,
            "spike_flips": self.flipped,
            "spikes": self.spikes,
            "places_compared": self.size,
            "answers_differ": self.answers,
            **({} if self.right is None else dict(zip(("right", "right_in_file"), self.right, strict=True))),
            "layers": {n: {"flips": f.flipped, "spikes": f.spikes} for n, f in self.layers.items()},
        }

    def __str__(self) -> str:
        right = "" if self.right is None else ", {} right before and {} in the file".format(*self.right)
        return (
            f"read back and compared on {self.samples} recordings: largest difference of the outputs "
            f"{self.difference:.1e}, {self.flipped:,} of {self.spikes:,} spikes flipped "
            f"(in {self.size:,} places and steps), {self.answers} answers differ{right}"
        )


def compare(mine: Run, other: Run, batches: Iterable[Tensor], over_time: str = "mean") -> RoundTrip:
    """Run both on the same batches of encoded frames [T, B, C, H, W].

    Args:
        mine: the original network, as `spiking_run` makes it.
        other: the network that was read back, with the same signature and the same names of layers.
        batches: encoded frames.
        over_time: as in `RoundTrip`.
    """
    found = RoundTrip(over_time)
    with torch.inference_mode():
        for frames in batches:
            found.add(mine(frames), other(frames))
    return found


def spiking_run(model: nn.Module, neurons: Iterable[str] | None = None) -> Run:
    """Return a function from encoded frames to the outputs and spikes of ``model``, a multi-step network.

    Args:
        model: the network.
        neurons: names of its layers of neurons; by default those of SpikingJelly.
    """
    found = (name for name, module in model.named_modules() if isinstance(module, spiking_base()))
    names = list(found if neurons is None else neurons)

    def run(frames: Tensor) -> tuple[Tensor, Spikes]:
        reset_states(model)
        with Watched(model, {name: name for name in names}) as watched:
            outputs = model(frames)
        return outputs, watched.spikes

    return run


class Watched:
    """Keeps the outputs of modules of ``model``, as a context manager.

    The outputs of a module that is called once for each time step are stacked.

    Args:
        model: any network.
        names: names of modules, each with the name under which its spikes are kept.
    """

    def __init__(self, model: nn.Module, names: dict[str, str]) -> None:
        self.model, self.names = model, names
        self._outputs: dict[str, list[Tensor]] = {}

    @property
    def spikes(self) -> Spikes:
        """The spikes of each layer so far."""
        several = self._outputs.items()
        return {name: outs[0] if len(outs) == 1 else torch.stack(outs) for name, outs in several}

    def __enter__(self) -> Watched:
        def keep(name: str) -> Any:
            def hook(_module: nn.Module, _args: Any, output: Any) -> None:
                self._outputs.setdefault(name, []).append(tensors_in(output)[0].detach())

            return hook

        self._handles = [
            self.model.get_submodule(module).register_forward_hook(keep(name))
            for module, name in self.names.items()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
