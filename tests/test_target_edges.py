"""Targets and shares at the edges of [0, 1), for every registered method and for the smallest networks."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from snnprune.common.errors import UserError
from snnprune.config.names import METHODS, options_of
from snnprune.methods.grad_r import centre
from snnprune.pruning import Pruner

if TYPE_CHECKING:
    from collections.abc import Callable

AIMED = [name for name in METHODS if "target" in options_of(METHODS, "method", name)]
NEARLY = math.nextafter(1.0, 0.0)


def lif() -> nn.Module:
    return neuron.LIFNode(v_threshold=0.3, step_mode="m")


SMALL: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "two layers": lambda: (
        nn.Sequential(nn.Linear(4, 6), lif(), nn.Linear(6, 5), lif(), nn.Linear(5, 2)), (4,),
    ),
    "one layer": lambda: (nn.Sequential(nn.Linear(4, 2)), (4,)),
    "one unit": lambda: (
        nn.Sequential(nn.Linear(1, 1), lif(), nn.Linear(1, 1), lif(), nn.Linear(1, 1)), (1,),
    ),
    "one channel": lambda: (
        nn.Sequential(
            layer.Conv2d(1, 1, 1, step_mode="m"), lif(),
            nn.Flatten(2), nn.Linear(16, 1), lif(), nn.Linear(1, 2),
        ),
        (1, 4, 4),
    ),
}  # fmt: skip


def pruned(method: str, network: str, **options: Any) -> Pruner:
    """Train one of `SMALL` for six epochs of two steps, and return its pruner."""
    torch.manual_seed(0)
    model, shape = SMALL[network]()
    pruner = Pruner(model, torch.rand(3, 8, *shape), method, epochs=6, **options)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(6):
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.rand(3, 8, *shape)).square().mean().backward()
            optimizer.step()
            pruner.step(optimizer)
            functional.reset_net(model)
        pruner.end_epoch({"val_accuracy": 0.5})
    assert all(p.isfinite().all() for p in model.parameters())
    return pruner


def test_these_methods_have_a_target() -> None:
    assert {"dpap", "deep-r", "grad-r", "stds", "admm", "magnitude", "random", "hebb", "stdp"} <= set(AIMED)


@pytest.mark.parametrize(
    "network",
    [pytest.param(n, marks=[] if n in ("two layers", "one unit") else [pytest.mark.slow]) for n in SMALL],
)
@pytest.mark.parametrize("method", AIMED)
@pytest.mark.filterwarnings("ignore")
def test_at_the_edges(method: str, network: str) -> None:
    assert pruned(method, network, target=0.0).rates().synapses == 0.0
    if largest(method, network) > 0.0:
        assert pruned(method, network, target=1e-9).rates().synapses < 0.2
        most = pruned(method, network, target=largest(method, network))
        assert all(alive.any() for alive in most.dense_masks()["synapses"].values()), "no layer is emptied"
    for target in (0.0, largest(method, network, layers={"0": 0.0})):
        kept = pruned(method, network, target=target, layers={"0": 0.0}).dense_masks()
        assert kept["units"].get("0", torch.ones(1)).all()
        assert kept["synapses"]["0"].all()
    with pytest.raises(UserError, match="layer '0' cannot lose 1 of its units and synapses"):
        pruned(method, network, target=0.0, layers={"0": NEARLY})


def largest(method: str, network: str, **options: Any) -> float:
    """Return the largest target, as the refusal of a larger one names it."""
    with pytest.raises(UserError, match="cannot be reached") as refused:
        pruned(method, network, target=NEARLY, **options)
    found = re.search(r"at most ([\d.]+) can be pruned", str(refused.value))
    return 0.0 if found is None else float(found[1])


@pytest.mark.parametrize("share", [1.0, -0.1, 2.0])
@pytest.mark.parametrize("method", AIMED)
def test_no_share_at_all_is_refused_when_the_pruner_is_made(method: str, share: float) -> None:
    model, shape = SMALL["two layers"]()
    for options in ({"target": share}, {"target_macs": share}, {"target": 0.5, "layers": {"0": share}}):
        with pytest.raises(UserError, match=r"a target is a share in \[0, 1\), came"):
            Pruner(model, torch.rand(3, 8, *shape), method, epochs=6, **options)


@pytest.mark.parametrize(("share", "sign"), [(0.0, 1), (1.0, -1)])
@pytest.mark.parametrize("alpha", [0.0, 1e-5])
def test_the_centre_of_a_prior_with_nothing_on_one_side(share: float, sign: int, alpha: float) -> None:
    assert centre(share, alpha) == sign * math.inf
