"""Layers of neurons that do not fire in training, told by the traces that a method reads anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.network.firing import SILENT, Firing, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snnprune.pruning.masks import Masks
    from snnprune.pruning.traces import Activity


class Quiet:
    """Collects the layers of neurons that have not fired since an epoch began.

    A layer is looked at until it has fired once in the epoch, which is seldom later than in the first batch.
    """

    def __init__(self) -> None:
        self._heard: set[str] = set()
        self._rates: dict[str, float] = {}

    def look(self, traces: Mapping[str, Activity], masks: Masks) -> None:
        """Look at a batch of training.

        A trace that is not zero tells that a neuron has fired, though not how often. So the share of samples
        and living units with such a trace is at least that of active outputs.
        """
        for name in traces.keys() - self._heard:
            projection, post = masks.topology.projections[name], traces[name].post
            alive = int(masks.units[projection.post].sum())
            rate = int(post.count_nonzero()) * post.shape[-1] / max(post.numel() * alive, 1)
            if rate >= SILENT:
                self._heard.add(name)
            neuron = projection.neuron or name
            self._rates[neuron] = max(rate, self._rates.get(neuron, 0.0))

    def end_epoch(self) -> list[Firing]:
        """Return the layers that were silent in the whole epoch, and begin the next one."""
        found = [judge(neuron, rate, spikes=False) for neuron, rate in self._rates.items()]
        self._heard, self._rates = set(), {}
        return [layer for layer in found if layer.state == "silent"]
