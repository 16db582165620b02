"""Ways to train a network, each beside the plain loop `model(x)` from the same weights, in float64."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from snnprune.pruning import Pruner

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCHS, BATCHES, STEPS, SAMPLES = 6, 3, 4, 8
ROUNDING = 1e-9
"""Largest difference of a weight, in float64, that comes of sums in another order."""


def network(mode: str = "m") -> nn.Sequential:
    """Return a network of two spiking layers, the same each time."""
    torch.manual_seed(0)
    lif = {"step_mode": mode, "v_threshold": 0.4}
    net = nn.Sequential(
        nn.Linear(12, 24), neuron.LIFNode(**lif), nn.Linear(24, 16), neuron.LIFNode(**lif), nn.Linear(16, 4)
    )
    return net.double()


def batches() -> list[tuple[Tensor, Tensor]]:
    """Return the batches of an epoch: [T, B, C] and labels [B]."""
    dice = torch.Generator().manual_seed(1)
    shape = (BATCHES, STEPS, SAMPLES, 12)
    x = torch.rand(shape, generator=dice, dtype=torch.float64) * 2
    return [(each, each.mean(0)[:, :4].argmax(1)) for each in x]


def error(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of scores over time [T, B, K]."""
    return F.cross_entropy(scores.mean(0), labels)


class Way:
    """The plain loop; a subclass changes one part of it."""

    def __init__(self) -> None:
        self.model: Any = self.made()
        self.optimizers = self.trained_by()
        self.pruner = self.watched()

    def made(self) -> nn.Module:
        return network()

    def trained_by(self) -> list[Any]:
        return [torch.optim.Adam(self.model.parameters(), 0.01, eps=1e-6)]

    def watched(self) -> Pruner:
        return Pruner(self.model, batches()[0][0], "dpap", epochs=EPOCHS, target=0.5)

    def call(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(x)
        return scores

    def backward(self, x: Tensor, labels: Tensor) -> None:
        error(self.call(x), labels).backward()

    def step(self, x: Tensor, labels: Tensor) -> None:
        self.backward(x, labels)
        for optimizer in self.optimizers:
            optimizer.step()
            self.pruner.step(optimizer)
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def begin(self, epoch: int) -> None:
        """Do what comes before an epoch: nothing."""

    def train(self) -> Way:
        for epoch in range(EPOCHS):
            self.begin(epoch)
            for x, labels in batches():
                self.step(x, labels)
                functional.reset_net(self.model)
            self.pruner.end_epoch()
        self.pruner.close()
        return self


def like_the_plain_loop(way: type[Way]) -> str:
    """Train both ways, and return "exact" or what differs."""
    return compared(way().train().pruner, Way().train().pruner)


def compared(pruner: Pruner, plain: Pruner) -> str:
    """Return "exact" where two pruners have the same masks and, to rounding, the same weights."""
    one, other = pruner.dense_masks(), plain.dense_masks()
    masks = sum(int((mask != other[kind][name]).sum()) for kind in one for name, mask in one[kind].items())
    pairs = zip(pruner.model.parameters(), plain.model.parameters(), strict=True)
    apart = max(float((a - b).detach().abs().max()) for a, b in pairs)
    if plain.rates().synapses < 0.4:
        return "WRONG: the plain loop pruned nothing"
    return (
        "exact" if not masks and apart < ROUNDING else f"WRONG: {masks} masks differ, weights by {apart:.0e}"
    )


# --- ways


class Forward(Way):
    def call(self, x: Tensor) -> Tensor:
        return self.model.forward(x)  # type: ignore[no-any-return]


class Inside(Way):
    def made(self) -> nn.Module:
        class Outer(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = network()

            def forward(self, x: Tensor) -> Tensor:
                return self.net(x)  # type: ignore[no-any-return]

        self.outer = Outer()
        return self.outer.net

    def call(self, x: Tensor) -> Tensor:
        return self.outer(x)  # type: ignore[no-any-return]


class CompiledBefore(Way):
    def made(self) -> nn.Module:
        self.run = torch.compile(network(), backend="eager")
        with torch.no_grad():
            self.run(batches()[0][0])
        functional.reset_net(self.run)
        return self.run._orig_mod  # type: ignore[no-any-return]

    def call(self, x: Tensor) -> Tensor:
        return self.run(x)  # type: ignore[no-any-return]


class CompiledInPlace(Way):
    def watched(self) -> Pruner:
        made = super().watched()
        self.model.compile(backend="eager")
        return made


class Reentrant(Way):
    def call(self, x: Tensor) -> Tensor:
        return checkpoint(self._again, x.requires_grad_(), use_reentrant=True)  # type: ignore[no-any-return]

    def _again(self, x: Tensor) -> Tensor:
        functional.reset_net(self.model)
        return self.model(x)  # type: ignore[no-any-return]


class NotReentrant(Reentrant):
    def call(self, x: Tensor) -> Tensor:
        return checkpoint(self._again, x, use_reentrant=False)  # type: ignore[no-any-return]


class Accumulated(Way):
    def backward(self, x: Tensor, labels: Tensor) -> None:
        for half in (slice(0, SAMPLES // 2), slice(SAMPLES // 2, SAMPLES)):
            functional.reset_net(self.model)
            (error(self.call(x[:, half]), labels[half]) / 2).backward()


class Broken(Way):
    def backward(self, x: Tensor, labels: Tensor) -> None:
        def out_of_memory(*_: Any) -> None:
            raise RuntimeError("out of memory")

        handle = self.model[3].register_forward_hook(out_of_memory)
        with contextlib.suppress(RuntimeError):
            self.call(x)
        handle.remove()
        functional.reset_net(self.model)
        super().backward(x, labels)


class Two(Way):
    def trained_by(self) -> list[Any]:
        parts = (self.model[:2], self.model[2:])
        return [torch.optim.Adam(part.parameters(), 0.01, eps=1e-6) for part in parts]


class SingleStep(Way):
    def made(self) -> nn.Module:
        return network("s")

    def watched(self) -> Pruner:
        return Pruner(self.model, batches()[0][0][0], "dpap", epochs=EPOCHS, target=0.5)

    def call(self, x: Tensor) -> Tensor:
        return torch.stack([self.model(step) for step in x])


class Closure(Way):
    def step(self, x: Tensor, labels: Tensor) -> None:
        def closure() -> None:
            self.optimizers[0].zero_grad()
            self.backward(x, labels)

        self.optimizers[0].step(closure)
        self.pruner.step(self.optimizers[0])


class Clipped(Way):
    """Beside a plain loop, a norm that nothing exceeds."""

    def backward(self, x: Tensor, labels: Tensor) -> None:
        super().backward(x, labels)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1e9)


class Scaled(Way):
    """A loss scaler that skips a step in between: the plain loop never had this batch."""

    def trained_by(self) -> list[Any]:
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)  # type: ignore[attr-defined]
        return super().trained_by()

    def step(self, x: Tensor, labels: Tensor) -> None:
        for factor in (float("inf"), 1.0):
            functional.reset_net(self.model)
            self.scaler.scale(error(self.call(x), labels) * factor).backward()
            self.scaler.step(self.optimizers[0])
            self.scaler.update()
            self.pruner.step(self.optimizers[0])
            self.optimizers[0].zero_grad()


class InBackward(Way):
    """Every parameter has an optimiser, which steps as soon as its gradient is there."""

    def trained_by(self) -> list[Any]:
        self.own = {p: torch.optim.Adam([p], 0.01, eps=1e-6) for p in self.model.parameters()}
        for p in self.own:
            p.register_post_accumulate_grad_hook(self._step)
        return []

    def _step(self, parameter: Tensor) -> None:
        self.own[parameter].step()  # type: ignore[index]
        self.own[parameter].zero_grad()  # type: ignore[index]

    def step(self, x: Tensor, labels: Tensor) -> None:
        self.backward(x, labels)
        for optimizer in self.own.values():
            self.pruner.step(optimizer)


class Cut(Way):
    def watched(self) -> Pruner:
        return Pruner(self.model, batches()[0][0], "dpap", epochs=EPOCHS, target=0.5, compact_every=2)


class Resumed(Way):
    """Half of the run, its checkpoint, and the other half in new objects."""

    def begin(self, epoch: int) -> None:
        if epoch != EPOCHS // 2:
            return
        state = (self.pruner.state_dict(), self.model.state_dict(), self.optimizers[0].state_dict())
        self.pruner.close()
        self.__init__()  # type: ignore[misc]
        for thing, saved in zip((self.pruner, self.model, self.optimizers[0]), state, strict=True):
            thing.load_state_dict(saved)


def dense_sizes(way: type[Way]) -> str:
    """Return the verdict on a way that cuts: its masks, as the dense network has them, are the plain ones."""
    cut, plain = way().train().pruner.dense_masks(), Way().train().pruner.dense_masks()
    same = all(torch.equal(mask, plain[kind][name]) for kind in cut for name, mask in cut[kind].items())
    return "exact" if same else "WRONG: other masks"


LOOPS: dict[str, Callable[[], str]] = {
    "model.forward(x)": lambda: like_the_plain_loop(Forward),
    "a module around the network, of any name": lambda: like_the_plain_loop(Inside),
    "torch.compile before the pruner": lambda: like_the_plain_loop(CompiledBefore),
    "model.compile() behind the pruner": lambda: like_the_plain_loop(CompiledInPlace),
    "checkpointing, reentrant": lambda: like_the_plain_loop(Reentrant),
    "checkpointing, not reentrant": lambda: like_the_plain_loop(NotReentrant),
    "gradient accumulation": lambda: like_the_plain_loop(Accumulated),
    "a forward that fails and is tried again": lambda: like_the_plain_loop(Broken),
    "two optimisers over one network": lambda: like_the_plain_loop(Two),
    "single-step mode": lambda: like_the_plain_loop(SingleStep),
    "optimizer.step(closure)": lambda: like_the_plain_loop(Closure),
    "clipping by norm": lambda: like_the_plain_loop(Clipped),
    "GradScaler, with a skipped step": lambda: like_the_plain_loop(Scaled),
    "an optimiser for each parameter, in the backward": lambda: like_the_plain_loop(InBackward),
    "compact_every=2": lambda: dense_sizes(Cut),
    "resumed from a checkpoint": lambda: like_the_plain_loop(Resumed),
}
"""The verdict on each way to train, by its name."""


def verdicts() -> dict[str, str]:
    """Return all verdicts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: trial() for name, trial in LOOPS.items()}
