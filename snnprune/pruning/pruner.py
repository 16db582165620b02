"""Pruner: the one object that a user holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.discovery import discover
from snnprune.pruning.clock import Clock
from snnprune.pruning.masks import Masks
from snnprune.pruning.method import Method, View
from snnprune.pruning.traces import TraceRecorder
from snnprune.registry import METHODS, build

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from torch import nn
    from torch.optim import Optimizer

    from snnprune.network.cost import Rates
    from snnprune.pruning.traces import Activity


class Pruner:
    """Prunes ``model`` while a loop of the user's own trains it.

    Three lines of a plain loop: this constructor, `step` after every optimiser step, `end_epoch` after
    every epoch. The model is not changed but for its weights; hooks go with `close` (or ``with``).

    Args:
        model: any network; spiking ones in multi-step or single-step mode.
        example_input: what ``model`` takes, to find its populations by one forward.
        method: a name (`snnprune list methods`), or a `Method`.
        epochs: length of the run; schedules scale with it.
        seed: of the method's own random numbers.
        neurons: further neuron classes, of other libraries or the user's own.
        options: constants of a method given by name, such as ``target=0.6``.

    Raises:
        UserError: no such method, or no such option.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Any,
        method: str | Method = "dpap",
        *,
        epochs: int,
        seed: int = 0,
        neurons: Sequence[type[nn.Module]] = (),
        **options: Any,
    ) -> None:
        if isinstance(method, str):
            method = build(METHODS, "method", method, options)
        elif options:
            raise TypeError(
                f"options {sorted(options)} go with a method's name; set them on the method itself"
            )
        assert isinstance(method, Method)
        self.model, self.method, self.seed = model, method, seed
        self.topology = discover(model, example_input, neurons=neurons)
        self.masks = Masks(model, self.topology)
        self.clock = Clock(epochs)
        self.recorder: TraceRecorder | None = None
        if method.reads is not None:
            self.recorder = TraceRecorder(model, self.topology, method.tau, method.reads)

    def step(self, optimizer: Optimizer | None = None) -> None:
        """Close the batch: hand its traces to the method, and keep the dead dead.

        Call it after ``optimizer.step()``; all forwards since the last call are one batch.
        """
        traces = self.recorder.batch() if self.recorder is not None else {}
        self.clock.batches += 1
        self.method.after_step(self._view(traces))
        self.masks.apply(optimizer)

    def end_epoch(self, metrics: Mapping[str, float] | None = None) -> None:
        """Score, decide and prune; then the clock moves on.

        Args:
            metrics: what was measured after the epoch, for methods that ask for accuracy.
        """
        decision = self.method.end_epoch(self._view({}), metrics)
        for name, alive in decision.units.items():
            self.masks.keep_units(self.topology.populations[name], alive)
        for name, alive in decision.synapses.items():
            self.masks.keep_synapses(self.topology.projections[name], alive)
        if decision.units or decision.synapses:
            self.masks.refresh()
            self.masks.apply()
        self.clock.epoch += 1

    def rates(self) -> Rates:
        """Count what is pruned and what is left."""
        return self.masks.rates()

    def _view(self, traces: Mapping[str, Activity]) -> View:
        generator = torch.Generator().manual_seed(
            hash((self.seed, self.clock.epoch, self.clock.batches)) % 2**63
        )
        return View(self.model, self.topology, self.masks, self.clock, traces, generator)

    # --- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs beside the model and the optimiser."""
        return {
            "clock": {"epoch": self.clock.epoch, "batches": self.clock.batches},
            "masks": self.masks.state_dict(),
            "method": self.method.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned.

        Raises:
            ValueError: the state is of another network.
        """
        self.masks.load_state_dict(state["masks"])
        self.clock.epoch, self.clock.batches = state["clock"]["epoch"], state["clock"]["batches"]
        device = next(self.model.parameters()).device
        self.method.load_state_dict(state["method"], device)

    # --- hooks

    def close(self) -> None:
        """Remove every hook from the model."""
        if self.recorder is not None:
            self.recorder.close()

    def __enter__(self) -> Pruner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
