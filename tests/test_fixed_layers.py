"""Layers that do not learn (requires_grad is False): training prunes neither their rows nor their columns."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

import snnprune
from snnprune import Pruner, discover
from snnprune.config.names import METHODS, options_of

X = torch.rand(8, 4)
OUTPUT = "it is the output of the network"


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(),
        nn.Linear(7, 3),
    )  # fmt: skip


def fixed(name: str) -> str:
    return f"the weight of {name} does not learn (requires_grad is False)"


def train(model: nn.Module, pruner: Pruner, epochs: int, optimizer: Any = None) -> None:
    optimizer = optimizer or torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(epochs):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
        pruner.step(optimizer)
        pruner.end_epoch({"val_accuracy": 0.5})


@pytest.mark.parametrize(
    ("frozen", "populations"),
    [
        (["0"], {"0": fixed("0"), "3": None, "5": None, "7": OUTPUT}),
        (["3"], {"0": fixed("3"), "3": fixed("3"), "5": None, "7": OUTPUT}),
        (["7"], {"0": None, "3": None, "5": fixed("7"), "7": OUTPUT}),
        (["0", "3"], {"0": fixed("0"), "3": fixed("3"), "5": None, "7": OUTPUT}),
        (["1"], {"0": None, "3": None, "5": None, "7": OUTPUT}),  # a norm goes with the units that it serves
    ],
)
def test_a_population_with_a_place_in_a_fixed_weight_stays_whole(
    frozen: list[str], populations: dict[str, str | None]
) -> None:
    model = net()
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    topology = Pruner(model, X, "magnitude", epochs=4, target=0.3).topology
    assert {p.name: p.frozen for p in topology.populations.values()} == populations
    named = {p.name: fixed(p.name) for p in topology.projections.values() if p.name in frozen}
    assert {n: p.frozen for n, p in topology.projections.items() if p.frozen} == named


def test_a_bias_alone_decides_nothing() -> None:
    model = net()
    for module in model:
        if isinstance(module, nn.Linear):
            module.bias.requires_grad_(False)
    assert [p.name for p in Pruner(model, X, "magnitude", epochs=4, target=0.3).topology.free()] == [
        "0",
        "3",
        "5",
    ]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_what_is_fixed_is_not_touched_by_any_method(method: str) -> None:
    model = net()
    model[3].requires_grad_(False)
    before = model[3].weight.clone()
    options = {"target": 0.4} if "target" in options_of(METHODS, "method", method) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnprune.TargetMissedWarning)
        pruner = Pruner(model, X, method, epochs=8, **options)
        train(model, pruner, 8)
    assert torch.equal(model[3].weight, before)
    assert pruner.rates().layers["3"].left == 48
    assert torch.equal(snnprune.compact(model, pruner.masks)[3].weight, before)


def test_structure_does_not_depend_on_it() -> None:
    model = net()
    model[0].requires_grad_(False)
    found = discover(model, X)
    assert [p.name for p in found.free()] == ["0", "3", "5"]
    assert str(found).endswith("do not learn, and are kept whole in training: 0")
    masks = snnprune.Masks(model, found)
    masks.keep_units(found.populations["0"], torch.arange(6) < 4)
    masks.apply()
    assert snnprune.compact(model, masks)[0].weight.shape == (4, 4)


def test_a_network_that_does_not_learn_at_all_says_nothing_of_its_layers() -> None:
    model = net().requires_grad_(False)
    pruner = Pruner(model, X, "magnitude", epochs=4, target=0.3)
    assert [p.name for p in pruner.topology.free()] == ["0", "3", "5"]
    assert "do not learn" not in str(pruner.topology)


def test_a_computed_weight_learns_where_its_parts_do() -> None:
    model = net()
    torch.nn.utils.parametrizations.weight_norm(model[3])
    assert discover(model, X).fixed == ()
    model[3].requires_grad_(False)
    assert discover(model, X).fixed == ("3",)


def said(record: list[Any], words: str) -> list[str]:
    return [str(w.message) for w in record if words in str(w.message)]


def test_layers_that_begin_or_cease_to_learn_are_said_once() -> None:
    model = net()
    model[0].requires_grad_(False)
    pruner = Pruner(model, X, "magnitude", epochs=8, target=0.3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        train(model, pruner, 2, optimizer)
        assert not record
        model[0].requires_grad_(True)
        model[5].requires_grad_(False)
        train(model, pruner, 3, optimizer)
    [begun], [ceased] = said(record, "learn now and stay whole: 0;"), said(record, "pruned all the same: 5;")
    assert "new.inherit(pruner.state_dict())" in begun
    assert "new.inherit(pruner.state_dict())" in ceased
    again = Pruner(model, X, "magnitude", epochs=8, target=0.3)
    again.inherit(pruner.state_dict())
    assert [p.name for p in again.topology.free()] == ["0"]
    assert again.rates() == pruner.rates()


def test_a_moment_without_any_gradient_is_no_change() -> None:
    model = net()
    model[0].requires_grad_(False)
    pruner = Pruner(model, X, "magnitude", epochs=8, target=0.3)
    train(model, pruner, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flags = [p.requires_grad for p in model.parameters()]
        model.requires_grad_(False)
        pruner.step()
        pruner.end_epoch()
        for p, flag in zip(model.parameters(), flags, strict=True):
            p.requires_grad_(flag)
        train(model, pruner, 1)


def test_layers_that_no_optimiser_holds_are_named() -> None:
    model = net()
    pruner = Pruner(model, X, "magnitude", epochs=8, target=0.3)
    head = torch.optim.SGD([*model[5].parameters(), *model[7].parameters()], lr=0.1)
    with pytest.warns(UserWarning, match="no optimiser trains layers that are pruned: 0, 3; to keep"):
        train(model, pruner, 1, head)
