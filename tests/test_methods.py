"""What every registered method owes, on three small nets; no line here names a method."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from networks import ResidualSNN, conv_ann, conv_snn
from spikingjelly.activation_based import functional
from torch import nn

from snnprune.pruning import Pruner
from snnprune.registry import METHODS

EPOCHS, BATCHES = 8, 3
NETWORKS = {
    "conv": (lambda: conv_snn(norm=True), torch.rand(3, 6, 2, 12, 12)),
    "residual": (ResidualSNN, torch.rand(3, 6, 2, 8, 8)),
    "ann": (conv_ann, torch.rand(6, 2, 12, 12)),
}

pytestmark = [
    pytest.mark.parametrize("method", sorted(METHODS)),
    pytest.mark.parametrize("network", sorted(NETWORKS)),
]


class Run:
    """A plain loop, as a user would write it."""

    def __init__(self, network: str, method: str) -> None:
        torch.manual_seed(0)
        build, self.x = NETWORKS[network]
        self.model: nn.Module = build()
        self.spiking = self.x.ndim == 5
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-2, weight_decay=0.1)
        self.pruner = Pruner(self.model, self.x, method, epochs=EPOCHS, seed=3)
        self.history: list[dict[str, torch.Tensor]] = []

    def epochs(self, first: int, last: int) -> None:
        y = torch.eye(4)[torch.arange(6) % 4]
        for epoch in range(first, last):
            for batch in range(BATCHES):
                generator = torch.Generator().manual_seed(100 * epoch + batch)
                x = torch.poisson(self.x * 2, generator)
                out = self.model(x)
                loss = ((out.mean(0) if out.ndim == 3 else out) - y).square().sum(1).mean()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.pruner.step(self.optimizer)
                if self.spiking:
                    functional.reset_net(self.model)
            self.pruner.end_epoch({"val_accuracy": 0.5})
            masks = self.pruner.masks
            self.history.append(
                {k: v.clone() for k, v in masks.units.items()}
                | {f"{p.name} synapses": masks.alive(p).clone() for p in masks.topology.projections.values()}
            )

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "pruner": self.pruner.state_dict(),
        }


def test_masks_only_shrink_and_no_population_is_emptied(network: str, method: str) -> None:
    run = Run(network, method)
    run.epochs(0, EPOCHS)
    if run.pruner.method.permanent:
        for before, after in zip(run.history, run.history[1:], strict=False):
            assert all(not (after[k] & ~before[k]).any() for k in before)
    assert all(alive.any() for masks in run.history for alive in masks.values())


def test_frozen_populations_stay_whole(network: str, method: str) -> None:
    run = Run(network, method)
    run.epochs(0, EPOCHS)
    for population in run.pruner.topology.populations.values():
        if population.frozen is not None:
            assert run.pruner.masks.units[population.name].all()


def test_a_resumed_run_is_the_same_run(network: str, method: str) -> None:
    whole, first, second = (Run(network, method) for _ in range(3))
    whole.epochs(0, EPOCHS)
    first.epochs(0, 4)
    buffer = io.BytesIO()
    torch.save(first.state(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    second.model.load_state_dict(state["model"])
    second.optimizer.load_state_dict(state["optimizer"])
    second.pruner.load_state_dict(state["pruner"])
    second.epochs(4, EPOCHS)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key]), key
    for key, value in whole.history[-1].items():
        assert torch.equal(value, second.history[-1][key]), key


def test_dead_weights_gradients_and_moments_are_zero(network: str, method: str) -> None:
    run = Run(network, method)
    run.epochs(0, EPOCHS)
    for projection in run.pruner.topology.projections.values():
        dead = ~run.pruner.masks.alive(projection)
        weight = run.model.get_parameter(projection.weight)
        held = [weight, weight.grad, *run.optimizer.state[weight].values()]
        assert all(t[dead].abs().sum() == 0 for t in held if t is not None and t.shape == dead.shape)


def test_the_model_stays_the_users_own(network: str, method: str) -> None:
    run = Run(network, method)
    keys = list(run.model.state_dict())
    run.epochs(0, 2)
    assert list(run.model.state_dict()) == keys
    copy.deepcopy(run.model)
    run.pruner.close()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in run.model.modules())


def test_a_permuted_batch_is_the_batch(network: str, method: str) -> None:
    decided = []
    for order in (torch.arange(6), torch.tensor([3, 1, 5, 0, 2, 4])):
        torch.manual_seed(0)
        build, x = NETWORKS[network]
        model = build().double().train()
        x = torch.poisson(x.double() * 2, torch.Generator().manual_seed(0))
        with Pruner(model, x, method, epochs=4) as pruner:
            for _ in range(3):
                for module in model.modules():
                    if isinstance(module, nn.modules.batchnorm._BatchNorm):
                        module.eval()
                model(x[:, order] if x.ndim == 5 else x[order])
                pruner.step()
                functional.reset_net(model) if x.ndim == 5 else None
                pruner.end_epoch({"val_accuracy": 0.5})
            decided.append([pruner.masks.alive(p) for p in pruner.topology.projections.values()])
    assert all(torch.equal(a, b) for a, b in zip(*decided, strict=True))
