"""Loops drawn by lot: networks of a few units, methods, options and optimisers that no other test joins."""

from __future__ import annotations

import itertools
import random
from functools import partial
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from snnprune.common.errors import UserError
from snnprune.config.names import METHODS, options_of
from snnprune.pruning import Pruner
from snnprune.pruning.aims import OPTIONS
from support.loops import assert_the_dead_are_zero, dead_entries, equal, through_a_file

STEPS, SAMPLES, BATCHES = 2, 4, 2
DAILY = (0, 1, 4, 11, 12, 14, 22, 24, 28)
"""Seeds that are quick, and those that have found something."""

AIMED = [name for name in METHODS if "target" in options_of(METHODS, "method", name)]
OPTIMISERS = (
    partial(torch.optim.AdamW, lr=5e-3, eps=1e-6, weight_decay=0.1),
    partial(torch.optim.SGD, lr=2e-2, momentum=0.9, nesterov=True),
    partial(torch.optim.RMSprop, lr=5e-3, momentum=0.5, eps=1e-4),
)
CHOICES: dict[str, tuple[Any, ...]] = {
    "structured": (0.0, 0.5, 1.0),
    "unit": ("synapses", "neurons", "both"),
    "initial_density": (0.2, 1.0, None),
    "first_weight": ("zero", "drawn"),
    "last": (0.01, 0.5, 1.0),
    "scope": ("local", "erk"),
    "bits": (4, 32),
}
"""Values of options, each drawn where a method has it."""


def node() -> neuron.BaseNode:
    return neuron.IFNode(v_threshold=0.5, step_mode="m")


def plain(dice: random.Random) -> nn.Module:
    """Linear layers of two to six units."""
    sizes = [3, *(dice.randint(2, 6) for _ in range(dice.randint(1, 3)))]
    hidden = ((layer.Linear(*pair, step_mode="m"), node()) for pair in itertools.pairwise(sizes))
    return nn.Sequential(*itertools.chain(*hidden), layer.Linear(sizes[-1], 2, step_mode="m"))


class Twice(nn.Module):
    """A layer that is called in two places, and one behind it that may be pruned."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        a, b = dice.randint(2, 5), dice.randint(2, 5)
        pairs = ((3, a), (a, a), (a, b), (b, 2))
        self.fc, self.shared, self.last, self.out = (layer.Linear(*p, step_mode="m") for p in pairs)
        self.neurons = nn.ModuleList(node() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.neurons[1](self.shared(self.neurons[0](self.fc(x))))
        return self.out(self.neurons[3](self.last(self.neurons[2](self.shared(x)))))


class Loop:
    """Training of what the seed draws; decisions come between epochs."""

    def __init__(self, seed: int, *, every: int | None = None) -> None:
        dice = random.Random(seed)
        torch.manual_seed(seed)
        self.model = dice.choice((plain, plain, Twice))(dice).double().train()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.mul_(2.0).add_(0.1)
        self.optimizer = dice.choice(OPTIMISERS)(self.model.parameters())
        self.epochs, method = dice.choice((1, 2, 5, 8)), dice.choice(AIMED)
        known = options_of(METHODS, "method", method)
        options = {key: dice.choice(values) for key, values in CHOICES.items() if key in known}
        options |= {key: dice.choice((0.0, 0.3, 0.6, 0.8)) for key in dice.sample(sorted(OPTIONS), 2)}
        self.stop = dice.randrange(self.epochs * BATCHES)
        x = torch.rand(STEPS, SAMPLES, 3, dtype=torch.float64)
        self.pruner = Pruner(
            self.model, x, method, epochs=self.epochs, seed=seed, compact_every=every, **options
        )
        self.masks: list[dict[str, Tensor]] = []

    def run(self, first: int, last: int) -> Loop:
        """Run batches, and an end of the epoch before the first batch of the next one."""
        for batch in range(first, last):
            if batch and batch % BATCHES == 0:
                self.end()
            generator = torch.Generator().manual_seed(batch)
            rates = torch.rand(STEPS, SAMPLES, 3, generator=generator, dtype=torch.float64)
            self.optimizer.zero_grad()
            out = self.model(torch.poisson(1.5 * rates, generator=generator)).mean(0)
            (out - torch.eye(2, dtype=out.dtype).repeat(2, 1)).square().mean().backward()
            self.optimizer.step()
            self.pruner.step(self.optimizer)
            functional.reset_net(self.model)
            self.look()
        return self

    def end(self) -> None:
        self.pruner.end_epoch()
        masks = self.pruner.dense_masks()
        self.masks.append({f"{kind} {name}": m for kind in masks for name, m in masks[kind].items()})
        self.look()

    def look(self) -> None:
        assert all(bool(p.isfinite().all()) for p in self.model.parameters())
        if any(bool(entries.any()) for entries in dead_entries(self.pruner).values()):
            assert_the_dead_are_zero(self)

    def whole(self) -> Loop:
        self.run(0, self.epochs * BATCHES).end()
        return self


def check(seed: int) -> None:
    """The run of a seed is the same when it is cut as it goes, and when it goes on from a checkpoint."""
    try:
        masked = Loop(seed).whole()
    except UserError:  # what cannot be reached is refused before the first batch
        return
    method = masked.pruner.method
    can_be_cut = method.units_stay_dead and method.can_shrink
    every = 1 if can_be_cut else None
    cut = Loop(seed, every=every).whole()
    assert all(map(equal, masked.masks, cut.masks))
    assert masked.pruner.reached() == pytest.approx(cut.pruner.reached())
    again, first = Loop(seed, every=every), Loop(seed, every=every)
    first.run(0, first.stop)
    state = through_a_file(model=first.model, optimizer=first.optimizer, pruner=first.pruner)
    again.pruner.load_state_dict(state["pruner"])
    again.model.load_state_dict(state["model"])
    again.optimizer.load_state_dict(state["optimizer"])
    again.pruner.follow(again.optimizer)  # its moments are looked at before the first step
    again.run(first.stop, first.epochs * BATCHES).end()
    assert equal(cut.masks[-1], again.masks[-1])
    for key, tensor in cut.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[key]), key


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "seed", [pytest.param(n, marks=[] if n in DAILY else [pytest.mark.slow]) for n in range(200)]
)
def test_a_loop_drawn_by_lot_keeps_its_promises(seed: int) -> None:
    check(seed)
