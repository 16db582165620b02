"""Layers may compute in 16 bits: membranes, traces, scores and survival stay in float32."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from snnprune.common.errors import UserError
from snnprune.config.names import METHODS
from snnprune.nn.fused import accelerate, keep_precise
from snnprune.pruning import Pruner
from snnprune.training import run
from support import tiny_run
from support.hooks import hooks
from support.networks import conv_snn

if TYPE_CHECKING:
    from pathlib import Path

SHORT = [torch.bfloat16, torch.float16]
NODES = [neuron.LIFNode, neuron.IFNode, neuron.ParametricLIFNode, neuron.KLIFNode]


def tensors(held: Any) -> list[torch.Tensor]:
    """Return every floating tensor in nested containers."""
    if isinstance(held, torch.Tensor):
        return [held] if held.is_floating_point() else []
    inside = held.values() if isinstance(held, dict) else held if isinstance(held, list | tuple) else []
    return [tensor for value in inside for tensor in tensors(value)]


def potentials(net: nn.Module) -> set[torch.dtype]:
    return {module.v.dtype for module in net.modules() if isinstance(module, neuron.BaseNode)}


@pytest.mark.parametrize("short", SHORT)
@pytest.mark.parametrize("kind", NODES)
def test_membranes_stay_in_float32(kind: Any, short: torch.dtype) -> None:
    net = nn.Sequential(layer.Linear(4, 8), kind(), layer.Linear(8, 3), kind())
    functional.set_step_mode(net, "m")
    x = torch.rand(3, 2, 4) * 4
    with torch.autocast("cpu", short):
        net(x)
        assert potentials(net) == {short}  # what is to be mended
        functional.reset_net(net)
        handles = keep_precise(net)
        spikes = net(x)
    assert potentials(net) == {torch.float32}
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    spikes.sum().backward()
    assert net[0].weight.grad.dtype == torch.float32
    for handle in handles:
        handle.remove()
    assert not hooks(net)


@pytest.mark.parametrize("short", SHORT)
def test_fused_neurons_keep_theirs_by_themselves(short: torch.dtype) -> None:
    net = accelerate(
        nn.Sequential(layer.Linear(4, 8), neuron.LIFNode(), layer.Linear(8, 3), neuron.LIFNode())
    )
    functional.set_step_mode(net, "m")
    assert keep_precise(net) == []
    with torch.autocast("cpu", short):
        net(torch.rand(3, 2, 4) * 4)
    assert potentials(net) == {torch.float32}


def steps(method: str, short: torch.dtype | None, *, inside: bool) -> Pruner:
    """Train under autocast, and call the pruner inside or outside of it."""
    net = conv_snn(norm=True)
    torch.manual_seed(1)
    x, labels = torch.rand(3, 6, 2, 12, 12) * 2, torch.arange(6) % 4
    pruner = Pruner(net, x[:, :1], method, epochs=6)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(5):
        for _ in range(2):
            with torch.autocast("cpu", short, enabled=short is not None):
                rates = net(x).mean(0)
                nn.functional.cross_entropy(rates.float(), labels).backward()
                optimizer.step()
                if inside:
                    pruner.step(optimizer)
            if not inside:
                pruner.step(optimizer)
            optimizer.zero_grad()
            functional.reset_net(net)
        with torch.autocast("cpu", short, enabled=inside and short is not None):
            pruner.end_epoch({"val_accuracy": 0.5})
    pruner.close()
    return pruner


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_method_decides_in_float32_wherever_it_is_called(method: str) -> None:
    torch.manual_seed(0)
    outside = steps(method, torch.bfloat16, inside=False)
    torch.manual_seed(0)
    inside = steps(method, torch.bfloat16, inside=True)
    for kind, masks in outside.dense_masks().items():
        for name, mask in masks.items():
            assert torch.equal(mask, inside.dense_masks()[kind][name]), name
    held = tensors(inside.method.state_dict())
    assert {tensor.dtype for tensor in held} <= {torch.float32, torch.float64}
    assert all(torch.equal(a, b) for a, b in zip(held, tensors(outside.method.state_dict()), strict=True))


def test_a_run_in_bfloat16(tmp_path: Path) -> None:
    run.train(tiny_run.config(precision="bf16"), tmp_path / "run", page=False)
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    kept = [saved["state_dict"], saved["optimizer_states"], saved["callbacks"]["PruningCallback"]]
    history = saved["callbacks"]["PruningCallback"]["pruner"].pop("history")
    assert history["rows"]  # what is only looked at may be shorter
    assert {tensor.dtype for tensor in tensors(kept)} == {torch.float32}
    with (tmp_path / "run" / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["pruned_synapses"]) == pytest.approx(0.5, abs=0.05)
    assert float(last["train_accuracy"]) > 0.5


def test_float16_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.precision fp16 needs a GPU"):
        run.train(tiny_run.config(precision="fp16"), tmp_path / "run")
