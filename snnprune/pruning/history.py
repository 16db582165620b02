"""What happened while a network was pruned, epoch by epoch: sizes, firing, importance, survival.

An epoch adds a few numbers for each layer, and at most 6 bytes for each of `sample.UNITS` units of a
population and 2 for each of `sample.SYNAPSES` synapses of a layer (2.8 kB for the DPAP paper's small
network). The maps of importance are replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

import torch

from snnprune.pruning.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.cost import Rates
    from snnprune.pruning.pruned import Pruned
    from snnprune.pruning.rule import Rule


@dataclass(frozen=True)
class Row:
    """One epoch: the network that was trained in it, before the decision that ends it.

    Attributes:
        epoch: its number, from 1.
        weights: number of weights left, by layer.
        units: number of units left, by population.
        firing: share of the outputs of each layer of neurons that are not zero, in the epoch's first batch.
        metrics: what `Pruner.end_epoch` was given.
        macs: multiply-accumulates of a sample at the weights left; None in a history of version 0.1.
        left: share of the dense network that is left, by each measure that is a target (`Pruner.reached`).
    """

    epoch: int
    weights: dict[str, int]
    units: dict[str, int]
    firing: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    macs: int | None = None
    left: dict[str, float] = field(default_factory=dict)


class History(Sequence[Row]):
    """The epochs of a pruner, in order; ``history[-1]`` is the last one. Print it for a table.

    The numbers of an epoch belong to the network that was trained in it. `Pruner.rates` says what is left
    after the decision that ended it.

    Attributes:
        dense: number of weights of each layer before anything was pruned.
        series: of a sample of units and synapses, by name, one tensor for each epoch; NaN (-1 for whole
            numbers) where one is pruned. "survival/neurons/NAME" and "survival/synapses/NAME": F before the
            decision, float16, from the first decision on, for methods with survival functions. "fan_in/NAME":
            number of living synapses into each unit, int32.
        maps: "first/..." and "last/...", importance after the first epoch and after the latest one, float32:
            "neurons/NAME" [sample], "synapses/NAME" [rows, columns] of fully connected layers. The importance
            of a synapse without a score is the magnitude of its weight.
        scored: keys of `Pruner.importance` that the method has a score for.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> with snnprune.Pruner(model, x, "magnitude", epochs=6, target=0.5) as pruner:
        ...     for _ in range(6):
        ...         model(x).sum().backward()
        ...         pruner.step()
        ...         pruner.end_epoch({"accuracy": 0.5})
        >>> len(pruner.history), pruner.history[0].weights, pruner.history[-1].metrics
        (6, {'0': 32, '2': 16}, {'accuracy': 0.5})
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.dense: dict[str, int] = {}
        self.series: dict[str, list[Tensor]] = {}
        self.maps: dict[str, Tensor] = {}
        self.scored: list[str] = []

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def has(self, epoch: int) -> bool:
        """Tell whether an epoch, from 1, was recorded."""
        return bool(self.rows) and self.rows[-1].epoch == epoch

    def survival(self, key: str) -> Tensor:
        """Return F of the sample of "neurons/NAME" or "synapses/NAME", [epochs, sample]; NaN where pruned.

        Raises:
            KeyError: the method has no such survival function.
        """
        return torch.stack(self.series[f"survival/{key}"])

    def record(
        self,
        epoch: int,
        pruned: Pruned,
        rule: Rule | None,
        scores: Mapping[str, Tensor],
        firing: Mapping[str, float],
    ) -> None:
        """Add an epoch.

        Args:
            epoch: its number, from 1.
            pruned: the network.
            rule: of the method, whose state may hold survival functions under "survival".
            scores: of the method (`Pruner.importance`).
            firing: share of the outputs of each layer of neurons that are not zero.
        """
        sample, rates = Sample(pruned, scores), pruned.rates()
        self.dense = {name: layer.dense for name, layer in rates.layers.items()}
        self.scored = sorted(scores)
        self.rows.append(_row(epoch, rates, firing))
        states = {} if rule is None else rule.state
        lives = {key: own["survival"] for key, own in states.items() if "survival" in own}
        for key, values in sample.survival(lives).items():
            self._add(f"survival/{key}", values.half())
        for name, counts in sample.fan_in().items():
            self._add(f"fan_in/{name}", counts.int())
        maps = sample.importance()
        for moment in ("first", "last") if len(self.rows) == 1 else ("last",):
            self.maps |= {f"{moment}/{key}": values.float().cpu().clone() for key, values in maps.items()}

    def measured(
        self,
        metrics: Mapping[str, float] | None = None,
        firing: Mapping[str, float] | None = None,
        left: Mapping[str, float] | None = None,
    ) -> None:
        """Add what was measured after the last epoch; ``firing`` takes the place of the first batch's."""
        row = self.rows[-1]
        fires = row.firing if firing is None else dict(firing)
        metrics, left = row.metrics | dict(metrics or {}), row.left | dict(left or {})
        self.rows[-1] = replace(row, metrics=metrics, firing=fires, left=left)

    def _add(self, name: str, values: Tensor) -> None:
        self.series.setdefault(name, []).append(values.cpu())

    def tensors(self) -> dict[str, Tensor]:
        """Return all series and maps, [epochs, ...] each, with "epochs", "weights", "units" and "firing"."""
        columns = {
            "epochs": torch.tensor([row.epoch for row in self.rows]),
            "weights": torch.tensor([list(row.weights.values()) for row in self.rows]),
            "units": torch.tensor([list(row.units.values()) for row in self.rows]),
            "firing": torch.tensor(
                [[row.firing.get(n, torch.nan) for n in self.neurons] for row in self.rows]
            ),
        }
        return columns | {name: torch.stack(values) for name, values in self.series.items()} | self.maps

    @property
    def neurons(self) -> list[str]:
        """Names of the layers of neurons, in the order in which they fired."""
        return list(dict.fromkeys(name for row in self.rows for name in row.firing))

    def __str__(self) -> str:
        head = ("epoch", "weights left", *self.dense, *(f"{name} fires" for name in self.neurons))
        metrics = list(dict.fromkeys(name for row in self.rows for name in row.metrics))
        rows = [(*head, *metrics)]
        for row in self.rows:
            left = [f"{row.weights[name] / max(size, 1):.1%}" for name, size in self.dense.items()]
            fires = [f"{row.firing[name]:.1%}" if name in row.firing else "-" for name in self.neurons]
            other = [f"{row.metrics[name]:.4g}" if name in row.metrics else "-" for name in metrics]
            share = sum(row.weights.values()) / max(sum(self.dense.values()), 1)
            rows.append((str(row.epoch), f"{share:.1%}", *left, *fires, *other))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows)

    # --- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Return tensors, numbers and strings."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "dense": dict(self.dense),
            "series": {name: torch.stack(values) for name, values in self.series.items()},
            "maps": dict(self.maps),
            "scored": list(self.scored),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.rows = [Row(**row) for row in state["rows"]]
        self.dense, self.maps, self.scored = dict(state["dense"]), dict(state["maps"]), list(state["scored"])
        self.series = {name: list(values.unbind()) for name, values in state["series"].items()}


def _row(epoch: int, rates: Rates, firing: Mapping[str, float]) -> Row:
    return Row(
        epoch,
        {name: layer.left for name, layer in rates.layers.items()},
        {name: left for name, (left, _) in rates.neurons_left.items()},
        dict(firing),
        macs=rates.macs_left,
    )
