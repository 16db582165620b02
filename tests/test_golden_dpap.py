"""DPAP against values computed independently, in plain loops, from the paper's equations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snnprune.methods.dpap import BCM, SurvivalFunction, spiking_trace
from snnprune.methods.dpap.survival import Constants
from snnprune.network import Projection
from snnprune.network.places import Layout
from snnprune.pruning import Activity, Candidates, Clock
from snnprune.pruning.traces import sum_over_space

GOLDEN = Path(__file__).parent / "golden"
VIEW: Any = None  # these scores come of activity alone


def golden(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(GOLDEN / f"dpap_{name}.npz") as file:
        values = {key: file[key] for key in file.files}
    return json.loads(str(values.pop("params"))), values


def trace(spikes: np.ndarray, dtype: torch.dtype, tau: float) -> torch.Tensor:
    activity = torch.from_numpy(spikes).to(dtype)
    axis = -3 if activity.ndim == 5 else -1
    return spiking_trace(sum_over_space(activity, axis, Layout(1, 0)), tau)


def close(ours: torch.Tensor, theirs: np.ndarray, scale: float = 1.0) -> bool:
    return bool(np.abs(ours.double().numpy() - theirs).max(initial=0.0) <= 1e-5 * max(scale, 1e-12))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["fc", "conv"])
def test_every_statistic_and_every_decision(name: str, dtype: torch.dtype) -> None:
    p, g = golden(name)
    projection = Projection(
        "layer", "linear" if name == "fc" else "conv", (), "layer", (p["post"], p["pre"]), 1, "neuron"
    )
    criterion = BCM(p["tau"])
    constants = Constants(p["start"], p["eta"], p["beta"], p["gamma"], epochs=None)
    rule = SurvivalFunction(p["epsilon"], p["C"], p["C"], constants)
    alive_syn = torch.ones(p["post"], p["pre"], dtype=torch.bool)
    alive_neu = torch.ones(p["post"], dtype=torch.bool)
    clock = Clock(p["epochs"])
    deaths = 0
    for epoch in range(p["epochs"]):
        clock.epoch = epoch
        for batch in range(p["batches"]):
            clock.batches += 1
            pre = trace(g["spikes_pre"][epoch, batch], dtype, p["tau"])
            post = trace(g["spikes_post"][epoch, batch], dtype, p["tau"])
            if epoch == batch == 0:
                assert close(pre, g["trace_pre_first"])
                assert close(post, g["trace_post_first"])
            criterion.observe(projection, Activity(pre, post), clock.batches)
        assert close(criterion.state["layer"]["theta"], g["theta"][epoch])
        bcm = criterion.synapse_score(projection, VIEW)
        spine = criterion.neuron_score(projection, alive_syn, VIEW)
        assert bcm is not None
        assert spine is not None
        assert close(bcm, g["bcm"][epoch], np.abs(g["bcm"][epoch]).max())
        known = alive_neu.numpy()  # what belongs to a unit that was dead before need not be compared
        assert close(spine[alive_neu], g["spine"][epoch][known], np.abs(g["spine"][epoch]).max())

        decisions = []
        for unit, score, alive in (("synapse", bcm, alive_syn), ("neuron", spine, alive_neu)):
            candidates = Candidates(unit, unit, projection.kind, score, alive, torch.zeros_like(score))  # type: ignore[arg-type]
            decisions.append(rule.decide(candidates, clock))
            if epoch >= p["start"]:
                u = rule.normalise(score, alive)
                expected = g["u_syn" if unit == "synapse" else "u_neu"][epoch]
                if unit == "neuron" or name == "fc":
                    assert close(
                        (u if u is not None else torch.zeros_like(score))[alive], expected[alive.numpy()]
                    )
        if name == "fc":
            assert close(rule.state["synapse"]["survival"][alive_syn], g["F_syn"][epoch][alive_syn.numpy()])
            alive_syn = decisions[0]
        assert close(rule.state["neuron"]["survival"][alive_neu], g["F_neu"][epoch][known])
        alive_neu = decisions[1]
        if name == "fc":
            alive_syn = alive_syn & alive_neu[:, None]
            assert torch.equal(alive_syn, torch.from_numpy(g["alive_syn"][epoch]))
        assert torch.equal(alive_neu, torch.from_numpy(g["alive_neu"][epoch]))
        deaths += int((~alive_neu).sum())
        criterion.end_epoch()
    assert deaths > 0
