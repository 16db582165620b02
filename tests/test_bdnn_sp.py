"""BDNN-sp: fitness on paper, the peak, and the way back to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from snnprune.common.errors import UserError
from snnprune.methods.bdnn_sp import BDNNsp, Fitness, importance, stability
from snnprune.pruning import Decision, Method, Pruner, View
from support.loops import through_a_file
from support.networks import conv_snn

X = torch.rand(8, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.arange(8) % 3
PEAK = {1: 0.5, 2: 0.9, 3: 0.6, 4: 0.5, 5: 0.4}
"""Accuracy after each epoch from 0: the third epoch is the best."""


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 20), nn.Sigmoid(), nn.Linear(20, 3)).double()


class Training:
    """A plain loop with a momentum to lose."""

    def __init__(self, **options: Any) -> None:
        self.model = network()
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.5, momentum=0.9)
        self.method = BDNNsp(0.2, train_epochs=1, patience=2)
        self.pruner = Pruner(self.model, X, self.method, epochs=20, **options)
        self.weights: list[dict[str, Tensor]] = []

    def epochs(self, first: int, last: int) -> Training:
        for epoch in range(first, last):
            loss = nn.functional.cross_entropy(self.model(X), Y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.pruner.step(self.optimizer)
            self.weights.append({k: v.clone() for k, v in self.model.state_dict().items()})
            self.pruner.end_epoch({"val_accuracy": PEAK.get(epoch, 0.3)})
        return self

    def state(self) -> dict[str, Any]:
        return through_a_file(model=self.model, optimizer=self.optimizer, pruner=self.pruner)

    def load(self, state: dict[str, Any]) -> Training:
        for name in ("pruner", "model", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        return self


def test_stability_on_paper() -> None:
    # H = 0.5 + 0.5, the largest term is 0.5, of four connections.
    assert stability(torch.tensor([0.5, 0.25, 0.0, 0.0])) == pytest.approx(0.5)
    assert stability(torch.tensor([0.5, 0.5])) == pytest.approx(1.0)
    assert stability(torch.zeros(3)) == 0.0
    assert stability(torch.tensor([1.0, 1.0])) == 0.0
    assert stability(torch.tensor([4.0])) == 0.0  # a negative entropy is no stability


def test_fitness_is_the_mean_of_the_three() -> None:
    assert Fitness(3, 10, accuracy=0.9, stability=0.3, mean_weight=0.6).total == pytest.approx(0.6)


def test_importance_is_what_comes_in_and_goes_out_of_all_layers() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        model[2].weight.copy_(torch.tensor([[-5.0, 0.5]]))
    scores = []

    class Looking(Method):
        def end_epoch(self, view: View, metrics: Any) -> Decision:
            scores.append(importance(view, view.topology.populations["0"]).tolist())
            return Decision()

    with Pruner(model, torch.zeros(1, 2), Looking(), epochs=4) as pruner:
        pruner.end_epoch()
    assert scores == [[8.0, 7.5]]


@pytest.mark.parametrize(("divisor", "expected"), [("connections", 15.5 / 6), ("units", 15.5 / 3)])
def test_mean_weight_by_connections_or_by_inputs_and_outputs(divisor: str, expected: float) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0], [0.1, 0.1]]))
        model[2].weight.copy_(torch.tensor([[-5.0, 0.5, 0.1]]))
    method = BDNNsp(train_epochs=1, divisor=divisor)  # type: ignore[arg-type]
    with Pruner(model, torch.zeros(1, 2), method, epochs=5) as pruner:
        for _ in range(2):
            pruner.end_epoch({"val_accuracy": 1.0})
    assert method.curve == [Fitness(1, 2, 1.0, 0.0, pytest.approx(expected))]


def test_it_stops_behind_the_peak_and_is_again_what_it_was_there() -> None:
    training = Training().epochs(0, 4)
    assert not training.pruner.finished
    assert [fitness.neurons for fitness in training.method.curve] == [16, 13, 11]
    training.epochs(4, 5)
    assert [fitness.accuracy for fitness in training.method.curve] == [0.5, 0.9, 0.6, 0.5]
    assert training.pruner.finished
    assert training.pruner.returned_to == 2
    assert int(training.pruner.masks.units["0"].sum()) == 13
    for key, value in training.model.state_dict().items():
        assert torch.equal(value, training.weights[2][key])
    assert not training.optimizer.state


def test_cut_on_the_way_it_grows_back() -> None:
    masked, cut = Training().epochs(0, 5), Training(compact_every=1)
    parameters = list(cut.model.parameters())
    cut.epochs(0, 4)
    assert cut.model[0].out_features == 9
    cut.epochs(4, 5)
    assert cut.pruner.returned_to == 2
    assert cut.model[0].out_features == 13
    assert [id(p) for p in cut.model.parameters()] == [id(p) for p in parameters]
    whole, kept = masked.pruner.dense_masks(), cut.pruner.dense_masks()
    assert torch.equal(whole["units"]["0"], kept["units"]["0"])
    torch.testing.assert_close(cut.model(X), masked.model(X), rtol=0, atol=1e-9)
    cut.epochs(5, 7)  # it trains on, and decides nothing more
    assert len(cut.method.curve) == 4
    assert cut.model[0].out_features == 13


@pytest.mark.parametrize("stop", [2, 4, 5, 6])
@pytest.mark.parametrize("compact_every", [None, 1])
def test_a_resumed_run_finds_the_peak_as_well(stop: int, compact_every: int | None) -> None:
    whole = Training(compact_every=compact_every).epochs(0, 8)
    state = Training(compact_every=compact_every).epochs(0, stop).state()
    resumed = Training(compact_every=compact_every).load(state).epochs(stop, 8)
    assert resumed.pruner.returned_to == whole.pruner.returned_to == 2
    assert resumed.method.curve == whole.method.curve
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key])


def test_the_last_removal_is_one_that_is_still_judged() -> None:
    method = BDNNsp(0.1, train_epochs=1, retrain_epochs=2)
    with Pruner(network(), X, method, epochs=7) as pruner:
        for epoch in range(6):  # a trainer decides nothing after its last epoch
            assert not pruner.finished
            pruner.end_epoch({"val_accuracy": 0.1 * epoch})
            if pruner.finished:
                break
    assert [fitness.epoch for fitness in method.curve] == [2, 4]
    assert pruner.returned_to == 4


def test_channels_of_a_spiking_network_go_in_the_same_way() -> None:
    model, x = conv_snn(), torch.rand(3, 4, 2, 12, 12)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Pruner(model, x, "bdnn-sp", epochs=9, share=0.34, train_epochs=1, compact_every=1) as pruner:
        for epoch in range(3):
            loss = model(x).mean(0).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pruner.step(optimizer)
            functional.reset_net(model)
            pruner.end_epoch({"val_accuracy": 0.5 + 0.1 * epoch})
    assert [model[0].out_channels, model[4].out_channels, model[9].out_features] == [2, 2, 7]


def test_a_metric_that_is_not_there_is_named() -> None:
    with Pruner(network(), X, "bdnn-sp", epochs=8, train_epochs=1, metric="val_acc") as pruner:
        pruner.end_epoch()
        with pytest.raises(UserError, match=r"'val_acc', and the epoch has \['val_loss'\]"):
            pruner.end_epoch({"val_loss": 0.1})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"share": 1.0}, "between 0 and 1, came 1.0"),
        ({"patience": 0}, "whole numbers from 1"),
        ({"train_epochs": 7, "retrain_epochs": 2}, "at least 10 epochs, and this one has 9"),
        ({"divisor": "n"}, "must be one of connections, units, and is 'n'"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Pruner(network(), X, "bdnn-sp", epochs=9, **options)
