"""What a run keeps of its neurons and synapses: true to the masks, through cuts, kills and resuming."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from snnprune import Pruner, PruningCallback
from snnprune.network.firing import Watch
from snnprune.nn import models
from snnprune.pruning import sample
from snnprune.pruning.sample import Sample
from snnprune.training.callbacks.dynamics import Dynamics
from support import tiny_run

EPOCHS = 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny_run.finished(tmp_path_factory.mktemp("dynamics") / "run", EPOCHS)


@pytest.fixture
def pruner():
    """A network with dead neurons and synapses, not yet cut, with scores and survival functions."""
    torch.manual_seed(0)
    model = models.build(tiny_run.config().model, (2, 8, 8), 3)
    x = torch.randint(0, 3, (4, 6, 2, 8, 8)).float()
    made = Pruner(model, x, "dpap", epochs=6, target=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    from spikingjelly.activation_based import functional

    for epoch in range(4):
        model(x).mean(0).square().sum().backward()
        optimizer.step()
        made.step(optimizer)
        functional.reset_net(model)
        if epoch < 3:  # the last epoch's scores are not yet decided on
            made.end_epoch()
    yield made
    made.close()


def sampled(pruner) -> Sample:
    return Sample(pruner._pruned, pruner.importance())


def lives(pruner) -> dict[str, torch.Tensor]:
    return {key: own["survival"] for key, own in pruner.method.rule.state.items()}


def everything(pruner) -> dict[str, torch.Tensor]:
    sample = sampled(pruner)
    groups = {
        "F": sample.survival(lives(pruner)),
        "fan_in": sample.fan_in(),
        "importance": sample.importance(),
    }
    return {f"{group}/{key}": values for group, found in groups.items() for key, values in found.items()}


def test_file_has_an_epoch_a_row_and_agrees_with_the_metrics(whole):
    tensors = load_file(whole / "dynamics.safetensors")
    rows = (whole / "metrics.csv").read_text().splitlines()
    weights = [int(row.split(",")[rows[0].split(",").index("weights")]) for row in rows[1:]]
    assert tensors["epochs"].tolist() == [1, 2, 3, 4, 5]
    assert tensors["weights"].sum(1).tolist() == weights
    for name, t in tensors.items():
        if name.startswith("fan_in/"):
            assert len(t) == EPOCHS
        elif name.startswith("survival/"):
            assert len(t) == EPOCHS - 1  # F begins with the first decision
    assert ((tensors["firing"] >= 0) & (tensors["firing"] <= 1)).all()


def test_who_is_dead_stays_dead_and_is_counted(whole):
    tensors = load_file(whole / "dynamics.safetensors")
    with safe_open(whole / "dynamics.safetensors", "pt") as opened:
        populations = list(json.loads(opened.metadata()["about"])["populations"])
    for i, name in enumerate(populations):
        alive = tensors[f"fan_in/{name}"] >= 0
        assert not (alive[1:] & ~alive[:-1]).any()
        assert alive.sum(1).tolist() == tensors["units"][:, i].tolist()
    assert any((t[-1] < 0).any() for name, t in tensors.items() if name.startswith("fan_in/"))


def test_a_cut_changes_nothing_that_is_read(pruner):
    before = everything(pruner)
    sizes = {p.name: p.size for p in pruner.topology.populations.values()}
    pruner.compact(unread=False)
    assert {p.name: p.size for p in pruner.topology.populations.values()} != sizes
    after = everything(pruner)
    assert before.keys() == after.keys()
    assert {"F/neurons/fc1", "F/synapses/fc1", "fan_in/conv2", "importance/synapses/out"} <= before.keys()
    for name, values in before.items():
        if name.startswith("importance"):
            alive = ~values.isnan()
            assert torch.equal(~after[name].isnan(), alive), name
            assert torch.allclose(after[name][alive], values[alive], rtol=1e-5), name
        else:
            assert torch.equal(after[name].nan_to_num(-7), values.nan_to_num(-7)), name


def test_fan_in_counts_living_synapses(pruner):
    pruner.compact(unread=False)
    alive = pruner.dense_masks()
    found = sampled(pruner).fan_in()
    for name in ("conv1", "conv2", "fc1", "out"):
        counts = alive["synapses"][name].flatten(1).sum(1)
        assert found[name].tolist() == torch.where(alive["units"][name], counts, -1).tolist()


def test_samples_are_bounded(pruner, monkeypatch):
    monkeypatch.setattr(sample, "UNITS", 10)
    monkeypatch.setattr(sample, "SYNAPSES", 7)
    monkeypatch.setattr(sample, "MAP", 5)
    whole, few = pruner.dense_masks()["synapses"]["fc1"], sampled(pruner)
    assert few.fan_in()["conv2"].shape == (10,)
    assert few.survival(lives(pruner))["synapses/fc1"].shape == (7,)
    shown = few.importance()["synapses/fc1"]
    assert shown.shape == (5, 5)
    rows, columns = (torch.arange(5) * size // 5 for size in whole.shape)
    assert torch.equal(~shown.isnan(), whole[rows][:, columns])


def test_state_travels_without_pickle_and_comes_back(whole, tmp_path):
    saved = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    state = saved["callbacks"]["PruningCallback"]["pruner"]
    model = models.build(tiny_run.config().model, (2, 8, 8), 3)
    again = Pruner(
        model, torch.rand(4, 2, 2, 8, 8), "dpap", epochs=EPOCHS, **tiny_run.config().method.options
    )
    again.load_state_dict(state)
    again.close()
    written = load_file(whole / "dynamics.safetensors")
    assert again.history.tensors().keys() == written.keys()
    for name, tensor in again.history.tensors().items():
        assert torch.equal(tensor.nan_to_num(-7), written[name].nan_to_num(-7)), name


def test_nothing_is_written_before_the_first_epoch(tmp_path, pruner):
    callback = PruningCallback("dpap")
    empty = Dynamics(callback, tmp_path / "none.safetensors")
    empty.write()
    callback.pruner = Pruner(torch.nn.Linear(2, 2), torch.rand(1, 2), "dense", epochs=1)
    empty.write()
    assert not empty.path.exists()


def test_watch_counts_what_is_not_zero_and_lets_go():
    model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Identity())
    watch = Watch(model)
    model(torch.tensor([1.0, -1.0, 2.0, -2.0]))
    model(torch.tensor([-1.0, -1.0, 3.0, -1.0]))
    watch.close()
    model(torch.ones(4))
    assert watch.rates() == {"0": 3 / 8}
