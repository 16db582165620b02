"""BSP, BDNN-sp and BDNN-dsd against values computed independently, in plain loops, from their equations."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from snnprune.methods.bdnn_dsd import BDNNdsd
from snnprune.methods.bdnn_sp import BDNNsp, importance
from snnprune.methods.bsp import BSP
from snnprune.pruning import Decision, Pruner, View

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        values = {key: file[key] for key in file.files}
    return json.loads(str(values.pop("params"))), values


def network(*sizes: int) -> nn.Sequential:
    """Layers "0" and "2" without biases, in float64, whose weights the test sets."""
    first, second = itertools.pairwise(sizes)
    return nn.Sequential(nn.Linear(*first, bias=False), nn.Sigmoid(), nn.Linear(*second, bias=False)).double()


def set_weight(layer: nn.Module, value: np.ndarray) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(value))


def test_bsp_counts_and_prunes_as_written() -> None:
    p, g = golden("bsp")
    (hidden, inputs), (outputs, _) = p["shapes"]
    model = network(inputs, hidden, outputs)
    x = torch.zeros(1, inputs, dtype=torch.float64)
    with Pruner(model, x, "bsp", epochs=p["epochs"], p_r=p["p_r"], p_c=p["p_c"]) as pruner:
        assert isinstance(pruner.method, BSP)
        for epoch in range(p["epochs"]):
            set_weight(model[0], g["weights0"][epoch])
            set_weight(model[2], g["weights1"][epoch])
            pruner.end_epoch()
            for name, layer in (("0", 0), ("2", 1)):
                alive = pruner.masks.alive(pruner.topology.projections[name]).numpy()
                assert np.array_equal(alive, g[f"alive{layer}"][epoch])
                count = pruner.method.state[name]["count"].numpy()
                assert np.array_equal(count[alive], g[f"count{layer}"][epoch][alive])
    assert not alive.all()


def test_bdnn_dsd_moves_its_bounds_as_written() -> None:
    p, g = golden("bdnn_dsd")
    model = nn.Sequential(nn.Linear(p["in"], p["out"], bias=False)).double()
    set_weight(model[0], g["w0"])
    x = torch.zeros(1, p["in"], dtype=torch.float64)
    method = BDNNdsd(R_i=p["R_i"], R_d=p["R_d"], T_num=p["T_num"])
    with Pruner(model, x, method, epochs=1) as pruner:
        state = method.state["0"]
        for step in range(p["steps"]):
            with torch.no_grad():
                model[0].weight += torch.from_numpy(g["step"][step])
            pruner.step()
            for ours, theirs in ((model[0].weight.detach(), "weights"), (state["bound"], "bound")):
                assert np.abs(ours.numpy() - g[theirs][step]).max() < 1e-12
            assert np.array_equal(state["plus"].numpy(), g["num_plus"][step])
            assert np.array_equal(state["minus"].numpy(), g["num_minus"][step])
    assert len(set(state["bound"].flatten().tolist())) > 3


def test_bdnn_sp_removes_and_judges_as_written() -> None:
    p, g = golden("bdnn_sp")
    model = network(p["in"], p["hidden"], p["out"])
    scores = []

    class Looking(BDNNsp):
        def end_epoch(self, view: View, metrics: Any) -> Decision:
            scores.append(importance(view, view.topology.populations["0"]))
            return super().end_epoch(view, metrics)

    method = Looking(p["share"], train_epochs=1)
    x = torch.zeros(1, p["in"], dtype=torch.float64)
    with Pruner(model, x, method, epochs=9) as pruner:
        set_weight(model[0], g["w_in"])
        set_weight(model[2], g["w_out"])
        pruner.end_epoch({"val_accuracy": p["accuracy"]})
        assert np.abs(scores[0].numpy() - g["importance"]).max() < 1e-9
        dead = (~pruner.masks.units["0"]).nonzero().squeeze(1)
        assert sorted(dead.tolist()) == sorted(g["removed"].tolist())
        set_weight(model[0], g["w_in_retrained"])
        set_weight(model[2], g["w_out_retrained"])
        pruner.step()
        pruner.end_epoch({"val_accuracy": p["accuracy"]})
    (fitness,) = method.curve
    assert abs(fitness.stability - g["stability"]) < 1e-9
    assert abs(fitness.mean_weight - g["mean_weight"]) < 1e-9
    assert abs(fitness.total - g["fitness"]) < 1e-9
    assert fitness.neurons == p["hidden"] - len(g["removed"])
