"""The code of docs/add-a-method.md is run as it stands, and does what the text says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional

from snnprune.pruning import Pruner
from support.networks import conv_snn

TEXT = (Path(__file__).parents[1] / "docs" / "add-a-method.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
X = torch.ones(3, 6, 2, 12, 12)
EPOCHS = 10


@pytest.fixture
def written() -> dict[str, Any]:
    """Return what the text defines."""
    names: dict[str, Any] = {"model": conv_snn(), "example_input": X}
    exec("\n".join(BLOCKS), names)
    names["pruner"].close()
    return names


def train(method: Any) -> Pruner:
    model, generator = conv_snn(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with Pruner(model, X, method, epochs=EPOCHS) as pruner:
        for _ in range(EPOCHS):
            optimizer.zero_grad()
            model(torch.poisson(X, generator)).mean(0).square().sum().backward()
            optimizer.step()
            pruner.step(optimizer)
            functional.reset_net(model)
            pruner.end_epoch()
    return pruner


@pytest.mark.parametrize("name", ["by_rate", "ablation"])
def test_its_criterion_meets_a_target(written: dict[str, Any], name: str) -> None:
    assert train(written[name]).rates().synapses == pytest.approx(0.6, abs=0.05)


def test_its_rule_lets_the_quiet_die_after_its_patience(written: dict[str, Any]) -> None:
    from snnprune.pruning import Candidates, Clock

    rule = written["Quiet"](patience=2)
    alive, decided = torch.ones(3, dtype=torch.bool), []
    for score in ([0.1, 5.0, 5.0], [5.0, 5.0, 0.1], [0.1, 5.0, 0.1]):
        found = Candidates("neurons/x", "neuron", "linear", torch.tensor(score), alive, torch.ones(3))
        decided.append(rule.decide(found, Clock(4)).tolist())
    assert decided == [[True, True, True], [True, True, True], [True, True, False]]
    train(written["quiet"])


def test_its_method_keeps_its_density_and_changes_who_lives(written: dict[str, Any]) -> None:
    pruner = train(written["Evolution"](density=0.4))
    (layer,) = pruner.masks.synapses
    assert pruner.rates().layers[layer].pruned == pytest.approx(0.6, abs=0.05)
    weight = pruner.model.get_parameter(f"{layer}.weight")
    assert not weight[~pruner.masks.synapses[layer]].any()
    (whole,) = [block for block in BLOCKS if "class Evolution" in block]
    assert len(whole.splitlines()) < 40


def test_its_state_follows_a_cut_and_a_checkpoint(written: dict[str, Any]) -> None:
    pruner = train(written["Restless"]())
    first = pruner.topology.populations["0"]
    pruner.masks.keep_units(first, torch.arange(first.size) > 1)
    before = pruner.method.state["4"]["last"]
    pruner.compact()
    assert torch.equal(pruner.method.state["4"]["last"], before[:, 2:])
    again = written["Restless"]()
    again.load_state_dict(pruner.method.state_dict(), torch.device("cpu"))
    assert torch.equal(again.state["4"]["moved"], pruner.method.state["4"]["moved"])
