"""A plain loop as a user writes it, on any network of the list, with a record of who was alive when."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from snnprune.config.names import METHODS, options_of
from snnprune.network.axes import tensors_in
from snnprune.pruning import Pruner
from support.families import STEPS
from support.optimisers import kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from snnprune.pruning.compaction.survivors import SurvivingUnits
    from snnprune.pruning.method import Method
    from support.families import Family

Masks = dict[str, Tensor]

HALF = 0.5
"""Share of a target by whole units: with less, networks of a few units lose none, and nothing is cut."""


def adamw(parameters: Any, rate: float) -> torch.optim.Optimizer:
    # The gradient of a bias in front of a norm is rounding alone, of which a smaller eps makes steps.
    return torch.optim.AdamW(parameters, rate, eps=1e-6, weight_decay=0.1, amsgrad=True)


def sgd(parameters: Any, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 2 * rate, momentum=0.9, nesterov=True, weight_decay=1e-3)


class Loop:
    """Training in float64; the numbers of a batch are a function of epoch and batch.

    Args:
        family: the network.
        mode: its step mode.
        method: a registered name, or the method itself.
        epochs: that the method plans for.
        samples: in a batch.
        optimiser: makes it from parameters and a rate of learning.
        order: of the samples in every batch, or which of them there are.
        options: of the `Pruner`; ``structured`` is `HALF` where the method knows it.
    """

    def __init__(
        self,
        family: Family,
        mode: str,
        method: str | Method,
        *,
        epochs: int,
        samples: int = 6,
        optimiser: Any = adamw,
        order: Tensor | None = None,
        **options: Any,
    ) -> None:
        self.family, self.mode, self.method = family, mode, method
        self.model: nn.Module = family.network(mode).double().train()
        for module in self.model.modules():
            if "Dropout" in type(module).__name__:
                module.p = 0.0  # type: ignore[assignment]  a cut and an order change what is drawn
        self.order = torch.arange(samples) if order is None else order
        shape = (STEPS, samples, *family.shape) if mode else (samples, *family.shape)
        self.x = 2 * torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.optimizer: torch.optim.Optimizer = optimiser(self.model.parameters(), family.rate)
        example = family.example(mode).double()
        if isinstance(method, str) and "structured" in options_of(METHODS, "method", method):
            options.setdefault("structured", HALF)
        self.pruner = Pruner(
            self.model, example, method, epochs=epochs, seed=3, neurons=family.neurons, **options
        )
        self.forward: Any = self.model
        self.weight = 1.0
        self.masks: list[Masks] = []
        self.sizes: list[int] = []
        self.units: list[int] = []
        self.returned: list[int | None] = []

    def step(self, epoch: int, batch: int) -> None:
        """Train on one batch."""
        torch.manual_seed(1000 * epoch + batch)
        x = torch.poisson(self.x)[:, self.order] if self.mode else torch.poisson(self.x)[self.order]
        out = torch.stack([self.forward(frame) for frame in x]) if self.mode == "s" else self.forward(x)
        out = tensors_in(out)[0]
        rates = out.mean(0) if out.ndim == 3 else out
        loss = (
            (rates - torch.eye(rates.shape[1], dtype=rates.dtype)[self.order % rates.shape[1]])
            .square()
            .sum(1)
            .mean()
        )
        self.optimizer.zero_grad()
        (loss * self.weight).backward()
        self.optimizer.step()
        self.pruner.step(self.optimizer)
        functional.reset_net(self.model)

    def end_epoch(self, metrics: dict[str, float]) -> None:
        """Decide."""
        self.pruner.end_epoch(metrics)

    def epochs(self, first: int, last: int, batches: int = 5) -> Loop:
        """Train, and note after each epoch who is alive, what is left, and which epoch it went back to."""
        for epoch in range(first, last):
            for batch in range(batches):
                self.step(epoch, batch)
            self.end_epoch({"val_accuracy": 0.9 - 0.02 * abs(epoch - 5), "val_loss": 0.5})
            self.masks.append(self.alive())
            self.units.append(sum(map(len, self.pruner.survivors.values())))
            self.returned.append(self.pruner.returned_to)
            self.sizes.append(sum(p.numel() for p in self.model.parameters()))
        return self

    def alive(self) -> Masks:
        """Return who of the dense network is alive: units and synapses."""
        whole = self.pruner.dense_masks()
        return {f"{kind} {name}": mask for kind in whole for name, mask in whole[kind].items()}

    # --- checkpoints

    def state(self) -> dict[str, Any]:
        """Return what a file would hold."""
        return through_a_file(model=self.model, optimizer=self.optimizer, pruner=self.pruner)

    def load(self, state: dict[str, Any]) -> Loop:
        self.pruner.load_state_dict(state["pruner"])  # first: it makes the model as small as it was
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        return self


def through_a_file(**parts: Any) -> dict[str, Any]:
    """Return the states of ``parts`` as a checkpoint gives them back, nothing but weights in it."""
    buffer = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in parts.items()}, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


def equal(a: Masks, b: Masks) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def difference(dense: Loop, live: Loop) -> float:
    """Return the largest difference of the cut network's tensors from the same entries of the dense one."""
    return distance(dense, live.pruner.survivors, live.model.state_dict())


def distance(dense: Loop, survivors: SurvivingUnits, small: Masks) -> float:
    """Return the same, of a network that has the units ``survivors`` and the tensors ``small``."""
    cut = survivors.cut(dense.pruner.dense)
    pairs = [(cut.take(key, tensor), small[key]) for key, tensor in dense.model.state_dict().items()]
    return max(float((a - b).abs().max()) for a, b in pairs)


def dead_entries(pruner: Pruner) -> dict[str, Tensor]:
    """Return which entries of which tensors belong to dead units, or are dead synapses."""
    state, found = pruner.model.state_dict(), {}
    for population in pruner.topology.populations.values():
        dead = ~pruner.masks.units[population.name]
        for slot in filter(lambda slot: slot.dies, population.slots):
            entries = found.setdefault(slot.key, torch.zeros_like(state[slot.key], dtype=torch.bool))
            run = slot.run(population)
            rows = entries.movedim(slot.axis, 0)[run.offset : run.stop]
            rows |= run.per_entry(dead).view(-1, *[1] * (rows.ndim - 1))
    for projection in pruner.topology.projections.values():
        if projection.name in pruner.masks.synapses:
            found[projection.weight] |= ~pruner.masks.alive(projection)
    return found


def assert_the_dead_are_zero(run: Any, kept: Callable[[Any, Tensor], Iterable[Tensor]] = kept) -> None:
    """What is dead, one entry at least, has parameters, gradients and moments of 0.

    Args:
        run: what has a ``model``, an ``optimizer`` and a ``pruner``.
        kept: returns what the optimiser keeps of a parameter; what has its shape is looked at.
    """
    state, dead = run.model.state_dict(keep_vars=True), dead_entries(run.pruner)
    for key, entries in dead.items():
        tensor = state[key]
        for held in (tensor, tensor.grad, *kept(run.optimizer, tensor)):
            if held is not None and held.shape == tensor.shape:
                assert not held.detach()[entries].any(), key
    assert any(entries.any() for entries in dead.values())


def assert_a_resumed_run_is_the_same(family: Family) -> None:
    """A run that is kept between two cuts, and gone on with in another loop, is the run in one piece."""
    whole, first, second = (Loop(family, "m", "bdnn-sp", epochs=7, compact_every=2) for _ in range(3))
    whole.epochs(0, 5, 2)
    second.load(first.epochs(0, 3, 2).state()).epochs(3, 5, 2)
    assert first.sizes[-1] < first.sizes[0]
    for key, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[key]), key
