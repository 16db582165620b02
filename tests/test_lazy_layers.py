"""Layers that take their sizes from their first input: the first answer is the true one."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from snnprune import Pruner, UserError, discover, load, save

if TYPE_CHECKING:
    from pathlib import Path

X = torch.rand(3, 2, 6, 6)


def lazy(dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout),
        nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3),
    )  # fmt: skip


def test_the_first_answer_is_that_of_a_network_that_has_run() -> None:
    net, run = lazy(), lazy()
    run(X)
    found = discover(net, X)
    assert str(found) == str(discover(run, X)) == str(discover(net, X))
    assert [p.name for p in found.free()] == ["0", "5"]
    assert [type(m) for m in net] == [type(m) for m in run]
    assert not net[0]._forward_pre_hooks


@pytest.mark.parametrize("spikes", [False, True])
def test_weights_are_drawn_as_the_first_call_draws_them(spikes: bool) -> None:
    def build() -> nn.Sequential:
        return nn.Sequential(nn.LazyLinear(8), neuron.IFNode(), nn.LazyLinear(3)) if spikes else lazy(0.5)

    called, found, x = build().eval(), build().train(), X[:, 0, 0] if spikes else X
    torch.manual_seed(7)
    called(x)
    afterwards = torch.rand(1)
    torch.manual_seed(7)
    discover(found, x)
    assert torch.equal(afterwards, torch.rand(1))  # nothing draws the same numbers a second time
    assert all(torch.equal(a, b) for a, b in zip(called.parameters(), found.parameters(), strict=True))
    assert all(module.training for module in found.modules())
    if spikes:
        assert found[1].v == 0.0
    else:
        assert int(found[1].num_batches_tracked) == 0


def test_an_optimiser_of_before_goes_on() -> None:
    net = lazy()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    pruner = Pruner(net, X, "magnitude", epochs=4, target=0.5)
    held = optimizer.param_groups[0]["params"]
    assert all(a is b for a, b in zip(held, net.parameters(), strict=True))
    for _ in range(4):
        optimizer.zero_grad()
        net(X).square().mean().backward()
        optimizer.step()
        pruner.step(optimizer)
        pruner.end_epoch()
    assert pruner.rates().synapses == pytest.approx(0.5, abs=0.02)


def test_a_lazy_layer_that_nothing_reaches_stays_lazy() -> None:
    net = lazy()
    net.add_module("spare", nn.Identity())
    net.spare.head = nn.LazyLinear(5)
    found = discover(net, X)
    assert found.unreached == ("spare.head",)
    assert [p.name for p in found.free()] == ["0", "5"]
    assert net.spare.head.has_uninitialized_params()
    net[3].forward = lambda x: x.flatten(1) if x.sum() > 0 else net.spare.head(x)
    assert "spare.head was not reached" in str(discover(net, X).populations["5"].frozen)
    net.spare.head(torch.rand(2, 7))
    assert net.spare.head.weight.shape == (5, 7)


def test_an_example_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="does not go through Sequential"):
        discover(lazy(), torch.rand(3))


def test_a_builder_of_lazy_layers_is_asked_to_run_them(tmp_path: Path) -> None:
    net = lazy()
    net(X)
    save(net, tmp_path / "net")
    with pytest.raises(
        UserError, match=r"0\.weight has no size before the first forward: let the builder call"
    ):
        load(tmp_path / "net", lazy)

    def built() -> nn.Module:
        made = lazy()
        made(X)
        return made

    assert torch.equal(load(tmp_path / "net", built).eval()(X), net.eval()(X))


class Own(nn.Module):
    """Makes its layer when it first sees an input."""

    def __init__(self, *, always: bool = False) -> None:
        super().__init__()
        self.first, self.act, self.always = nn.Linear(6, 4), nn.ReLU(), always
        self.out: Any = None

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.first(x))
        if self.out is None or self.always:
            self.out = nn.Linear(h.shape[-1], 3)
        return self.out(h)


def test_a_layer_of_a_networks_own_making_is_asked_for_first() -> None:
    net, x = Own(), torch.rand(2, 6)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(UserError, match=r"Own makes out in its first .* call model\(example_input\) once"):
        discover(net, x)
    assert net.out is None
    assert net.state_dict().keys() == before.keys()
    net(x)
    assert [p.name for p in discover(net, x).free()] == ["first"]


def test_a_layer_that_every_forward_makes_is_frozen() -> None:
    net, x = Own(always=True), torch.rand(2, 6)
    net(x)
    assert discover(net, x).free() == []
