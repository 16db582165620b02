"""A method that acts behind the backward does so in every loop, also where the step runs the backward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import snnprune

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCHS = 4
X = torch.rand(24, 6, generator=torch.Generator().manual_seed(0))
BATCHES = DataLoader(TensorDataset(X, X[:, :3].argmax(1)), 8)


class Network(lightning.LightningModule):
    """Two layers, trained by SGD; ``automatic`` says who steps."""

    def __init__(self, *, automatic: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
        self.automatic_optimization = automatic

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        if not self.automatic_optimization:
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)


def loop(rho: float, step: Callable[[Any, Callable[[], Tensor]], None]) -> Network:
    """Train in a plain loop, in which ``step`` is given the optimiser and a closure."""
    net = Network()
    optimizer = net.configure_optimizers()
    pruner = snnprune.Pruner(net, X[:8], "admm", epochs=EPOCHS, rho=rho, every=2)
    for epoch in range(EPOCHS):
        for x, y in BATCHES:

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(net(x), y)
                loss.backward()
                return loss

            step(optimizer, closure)
            pruner.step(optimizer)
        if epoch < EPOCHS - 1:
            pruner.end_epoch()
    pruner.close()
    return net


def apart(rho: float) -> Network:
    return loop(rho, lambda optimizer, closure: (closure(), optimizer.step())[1])


def trained(rho: float, *, automatic: bool) -> Network:
    net = Network(automatic=automatic)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        callbacks=[snnprune.PruningCallback("admm", rho=rho, every=2)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(net, BATCHES)
    return net


LOOPS: dict[str, Callable[[float], Network]] = {
    "closure": lambda rho: loop(rho, lambda optimizer, closure: optimizer.step(closure)),
    "closure by name": lambda rho: loop(rho, lambda optimizer, closure: optimizer.step(closure=closure)),
    "Lightning, automatic": lambda rho: trained(rho, automatic=True),
    "Lightning, manual": lambda rho: trained(rho, automatic=False),
}


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.filterwarnings("ignore")
def test_the_penalty_acts_as_in_a_plain_loop(kind: str) -> None:
    for rho in (0.0, 1.0):
        for ours, plain in zip(LOOPS[kind](rho).parameters(), apart(rho).parameters(), strict=True):
            assert torch.equal(ours, plain)


def test_the_penalty_matters() -> None:
    pairs = zip(apart(0.0).parameters(), apart(1.0).parameters(), strict=True)
    assert any(float((a - b).abs().max()) > 0.01 for a, b in pairs)


def test_a_step_returns_the_loss_of_its_closure() -> None:
    losses: list[Any] = []
    loop(1.0, lambda optimizer, closure: losses.append(optimizer.step(closure)))
    assert all(isinstance(loss, Tensor) for loss in losses)
