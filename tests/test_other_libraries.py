"""Networks of other libraries, as their users write them: found, trained, recorded, cut and counted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import torch

from snnprune.common.errors import CompactionError, UserError
from snnprune.network.topology import OUTPUT
from support.outside import (
    norse_networks,
    sinabs_networks,
    snntorch_networks,
    spikingjelly_layers,
    spikingjelly_neurons,
    torch_networks,
)
from support.outside.trial import cut, found, recorded, trained, weights_by_hand

if TYPE_CHECKING:
    from support.outside.trial import Trial

INSTALLED = {"torch": torch_networks, "neurons": spikingjelly_neurons, "layers": spikingjelly_layers}
OTHERS = {"norse": norse_networks, "sinabs": sinabs_networks, "snntorch": snntorch_networks}

pytestmark = pytest.mark.filterwarnings("ignore")


def trials(tables: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(table, trial, id=f"{table}: {trial.name}")
        for table, module in tables.items()
        for trial in module.TRIALS.values()
    ]


def check_what_is_found(trial: Trial) -> None:
    populations = found(trial).populations.values()
    assert tuple(p.name for p in populations if p.frozen is None) == trial.free
    kept = {p.name: p.frozen or "" for p in populations if p.frozen is not None}
    assert {name for name, reason in kept.items() if reason != OUTPUT} <= trial.kept.keys()
    for name, words in trial.kept.items():
        assert any(each in kept[name] for each in words.split(" | ")), kept[name]


@pytest.mark.parametrize(("table", "trial"), trials(INSTALLED))
def test_what_is_pruned_and_why_the_rest_is_not(table: str, trial: Trial) -> None:
    check_what_is_found(trial)


@pytest.mark.slow
@pytest.mark.parametrize(("table", "trial"), trials({**INSTALLED, **OTHERS}))
def test_it_is_recorded_trained_counted_and_cut(table: str, trial: Trial) -> None:
    if table in OTHERS:
        check_what_is_found(trial)
    right, got = recorded(trial)
    for name, (pre, post) in right.items():
        torch.testing.assert_close(got[name].pre, pre.to(got[name].pre), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(got[name].post, post.to(got[name].post), rtol=1e-4, atol=1e-5)
    pruner = trained(trial)
    assert pruner.rates().weights_dense == weights_by_hand(trial, pruner.model)
    if trial.uncut:
        with pytest.raises((CompactionError, UserError), match=re.escape(trial.uncut)):
            cut(trial)
        return
    difference, flipped, gone = cut(trial)
    assert difference < 1e-5
    assert flipped == 0
    assert (gone > 0) == bool(trial.free)
