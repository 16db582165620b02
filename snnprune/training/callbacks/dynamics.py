"""Record neurons and synapses of a bounded sample, epoch by epoch, while a network is pruned.

The sample is drawn once, from the dense network, so that a unit can be followed even if the network is cut.
An epoch adds at most 6 bytes for each of `UNITS` units of a population and 2 for each of `SYNAPSES` synapses
of a layer (2.8 kB for the paper's small network), and the maps are replaced.
"""

# ruff: noqa: ARG002 - the methods' signatures are Lightning's
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning
import torch

from snnprune.common import document, ranks
from snnprune.methods.dpap.survival import SurvivalFunction
from snnprune.network.firing import Watch
from snnprune.network.weights import weight_of
from snnprune.runs import tensors
from snnprune.runs.tensors import AboutDynamics, Followed
from snnprune.runs.typed import typed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning import Pruner
    from snnprune.training.callbacks.pruning import PruningCallback

UNITS = 512
"""Largest sample of a population: all units of the papers' layers, but for the widest two-layer networks."""

SYNAPSES = 256
"""Largest sample of synapses of a fully connected layer: a picture can show as many lines."""

MAP = 96
"""Most rows and columns of the map of a fully connected layer: a column of a paper can show as many."""

TEST = 1
"""Index of the test set among the loaders of the validation loop."""

GOLDEN = 0.6180339887498949  # fractions of its multiples fill a row evenly, for any width of a layer


class Dynamics(lightning.Callback):
    """Writes a run's dynamics to a file after every epoch, and carries them in the checkpoint.

    `snnprune.runs.tensors.Dynamics` describes the file. Its maps show the sample of a population, and up to
    `MAP` x `MAP` synapses of a fully connected layer.

    Args:
        pruning: the callback with the network and its masks.
        path: of the file.
    """

    def __init__(self, pruning: PruningCallback, path: Path) -> None:
        self.pruning = pruning
        self.path = path
        self._series: dict[str, list[Tensor]] = {}
        self._maps: dict[str, Tensor] = {}
        self._neurons: list[str] = []
        self._about: AboutDynamics | None = None
        self._watch: Watch | None = None

    def on_validation_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Record the neurons in the first test batch only, because this slows down fused neurons."""
        if (dataloader_idx, batch_idx) == (TEST, 0):
            assert self.pruning.pruner is not None
            self._watch = Watch(self.pruning.pruner.model)

    def on_validation_batch_end(self, *_: Any) -> None:
        """Store the firing rates."""
        if self._watch is not None:
            self._watch.close()
            rates = self._watch.rates()
            self._neurons = list(rates)
            self._add("firing", torch.tensor(list(rates.values())))
            self._watch = None

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Remove the hooks from the network."""
        if self._watch is not None:
            self._watch.close()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Add an epoch, and write the file again."""
        pruner = self.pruning.pruner
        assert pruner is not None
        if pruner.finished:
            return  # no batch was trained since the last epoch
        sample = Sample(pruner)
        rates = pruner.rates()
        self._about = self._described(pruner, list(rates.layers), sample.scores)
        self._add("epochs", torch.tensor(trainer.current_epoch + 1))
        self._add("weights", torch.tensor([layer.left for layer in rates.layers.values()]))
        self._add("units", torch.tensor([left for left, _ in rates.neurons_left.values()]))
        for key, values in sample.survival().items():
            self._add(f"survival/{key}", values.half())
        for name, counts in sample.fan_in().items():
            self._add(f"fan_in/{name}", counts.int())
        maps = sample.importance()
        for moment in ("first", "last") if len(self._series["epochs"]) == 1 else ("last",):
            self._maps |= {f"{moment}/{key}": values.float().cpu().clone() for key, values in maps.items()}
        self.write()

    def write(self) -> None:
        """Write the file; do nothing before the first epoch."""
        if self._about is not None and ranks.is_first():
            arrays = {name: tensor.numpy() for name, tensor in self._tensors().items()}
            tensors.Dynamics(self._about, arrays).write(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return all recorded epochs, for the checkpoint."""
        about = "" if self._about is None else tensors.Dynamics(self._about, {}).about_text()
        return {"tensors": self._tensors(), "about": about}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the recorded epochs from a checkpoint."""
        saved = state_dict["tensors"]
        self._maps = {key: t for key, t in saved.items() if key.startswith(("first/", "last/"))}
        self._series = {key: list(t.unbind()) for key, t in saved.items() if key not in self._maps}
        if self._series:
            self._about = typed(AboutDynamics, document.parse_json(state_dict["about"]))

    def _tensors(self) -> dict[str, Tensor]:
        return {name: torch.stack(values) for name, values in self._series.items()} | self._maps

    def _add(self, name: str, values: Tensor) -> None:
        self._series.setdefault(name, []).append(values.cpu())

    def _described(self, pruner: Pruner, layers: list[str], scored: Iterable[str]) -> AboutDynamics:
        return AboutDynamics(
            layers,
            {
                p.name: Followed(p.size, p.kind, frozen=p.frozen is not None)
                for p in pruner.dense.populations.values()
            },
            {p.name: list(p.shape) for p in pruner.dense.projections.values()},
            sorted(scored),
            self._neurons,
        )


class Sample:
    """A sample of the dense network's units, with values read from the current network.

    Args:
        pruner: of the network.

    Attributes:
        scores: of the method, by kind and name; see `Pruner.importance`.
    """

    def __init__(self, pruner: Pruner) -> None:
        self.pruner = pruner
        self.scores = pruner.importance()
        self.linear = [p for p in pruner.dense.projections.values() if p.kind == "linear"]
        sizes = {p.name: p.size for p in pruner.dense.populations.values()}
        self._cut = pruner.survivors.cut(pruner.dense)
        self._alive = {p.name: pruner.masks.alive(p) for p in pruner.topology.projections.values()}
        self._units = {
            name: _places(self._cut.unit(name), _spread(size, UNITS)) for name, size in sizes.items()
        }

    def survival(self) -> dict[str, Tensor]:
        """Return F of neurons and synapses; nothing if the method has no survival functions."""
        rule = getattr(self.pruner.method, "rule", None)
        if not isinstance(rule, SurvivalFunction):
            return {}
        found = {}
        for key, state in ((key, own["survival"]) for key, own in rule.state.items()):
            unit, _, name = key.partition("/")
            if unit == "neurons":
                found[key] = _read(state, self.pruner.masks.units[name], self._units[name])
            elif name in {p.name for p in self.linear}:
                rows, columns = self._synapses(self.pruner.dense.projections[name])
                found[key] = _read(state, self._alive[name], _flat(rows, columns, state.shape[1]))
        return found

    def fan_in(self) -> dict[str, Tensor]:
        """Return the number of alive synapses into each neuron, int64 [sample] by population; -1: pruned."""
        found = {}
        for name, places in self._units.items():
            incoming = [self._alive[p.name] for p in self.pruner.topology.incoming(name)]
            counts = torch.stack([alive.flatten(1).sum(1) for alive in incoming]).sum(0)
            found[name] = _read(counts, self.pruner.masks.units[name], places, dead=-1)
        return found

    def importance(self) -> dict[str, Tensor]:
        """Return scores: [sample] of neurons, [rows, columns] of the synapses of fully connected layers."""
        found = {}
        for name, places in self._units.items():
            key = f"neurons/{name}"
            if key in self.scores:
                found[key] = _read(self.scores[key], self.pruner.masks.units[name], places)
        for p in self.linear:
            key, weight = f"synapses/{p.name}", weight_of(self.pruner.model.get_submodule(p.name)).detach()
            rows = _places(self._cut.post(p.name), _spread(p.shape[0], MAP))
            columns = _places(self._cut.pre(p.name), _spread(p.shape[1], MAP))
            flat = _flat(rows[:, None], columns[None, :], weight.shape[1])
            values = _read(self.scores.get(key, weight), self._alive[p.name], flat)
            found[key] = values if key in self.scores else values.abs()
        return found

    def _synapses(self, projection: Projection) -> tuple[Tensor, Tensor]:
        """Return the current rows and columns of the sample, -1 where they were cut."""
        size, width = projection.shape[0] * projection.shape[1], projection.shape[1]
        turns = torch.arange(min(SYNAPSES, size))
        flat = turns if size <= SYNAPSES else ((turns + 0.5) * GOLDEN % 1.0 * size).long().sort().values
        rows, columns = flat // width, flat % width
        return (
            _places(self._cut.post(projection.name), rows),
            _places(self._cut.pre(projection.name), columns),
        )


def _spread(size: int, limit: int) -> Tensor:
    """Return ``limit`` indices spread evenly over ``size``, or all indices if there are fewer."""
    return torch.arange(min(size, limit)) * size // min(size, limit)


def _places(stays: Tensor, chosen: Tensor) -> Tensor:
    """Return the current index of each ``chosen`` entry of the dense network, -1 where it was cut."""
    now = stays.cumsum(0) - 1
    return torch.where(stays[chosen], now[chosen], -1)


def _flat(rows: Tensor, columns: Tensor, width: int) -> Tensor:
    return torch.where((rows >= 0) & (columns >= 0), rows * width + columns, -1)


def _read(values: Tensor, alive: Tensor, places: Tensor, dead: float = torch.nan) -> Tensor:
    """Return entries of flattened ``values`` at ``places``; ``dead`` where a place is -1 or not ``alive``."""
    places = places.to(values.device)
    there = places.clamp(min=0)
    living = (places >= 0) & alive.flatten()[there]
    return torch.where(living, values.flatten()[there], dead)
