"""Networks that are compiled or in a wrapper: what is public does for them what it does for those inside."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import snnprune
from snnprune.common.errors import CompactionError
from snnprune.export.demand import demand
from snnprune.export.quantisation import quantise
from snnprune.network.firing import check
from snnprune.network.synops import SpikeCounter
from snnprune.network.wrappers import inside, prefix
from snnprune.pruning.compaction.survivors import survivors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

X = torch.rand(4, 16, 12, generator=torch.Generator().manual_seed(0))


def build() -> nn.Sequential:
    torch.manual_seed(0)

    def lif() -> nn.Module:
        return neuron.LIFNode(tau=2.0, v_threshold=0.3, step_mode="m")

    model = nn.Sequential(nn.Linear(12, 20), lif(), nn.Linear(20, 16), lif(), nn.Linear(16, 5))
    with torch.no_grad():
        model[2].weight.mul_(3)  # all layers fire
    return model


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def one_layer_compiled(model: nn.Sequential) -> nn.Module:
    model[2] = compiled(model[2])
    return model


WRAPPERS: dict[str, Callable[[nn.Sequential], nn.Module]] = {
    "torch.compile": compiled,
    "module.compile": compiled_in_place,
    "one layer": one_layer_compiled,
    "DataParallel": nn.DataParallel,
    "compiled DataParallel": lambda model: compiled(nn.DataParallel(model)),
    "DataParallel of compiled": lambda model: nn.DataParallel(compiled(model)),
}


def masked(model: nn.Module) -> snnprune.Masks:
    """Prune all but 13 units of the first layer and 8 of the second one."""
    masks = snnprune.Masks(model, snnprune.discover(model, X))
    for population, left in zip(masks.topology.free(), (13, 8), strict=True):
        masks.keep_units(population, torch.arange(population.size) < left)
    masks.refresh()
    masks.apply()
    return masks


@pytest.fixture(
    params=[
        pytest.param(n, marks=[pytest.mark.slow] if " DataP" in n or " of " in n else []) for n in WRAPPERS
    ]
)
def model(request: pytest.FixtureRequest) -> Iterator[nn.Module]:
    made = WRAPPERS[request.param](build()).eval()
    with torch.no_grad():
        made(X)  # what is compiled knows of no hook that comes later
    functional.reset_net(made)
    yield made
    torch.compiler.reset()


def test_what_was_compact_is_compared_and_saved(model: nn.Module, tmp_path: Path) -> None:
    small = snnprune.compact(model, masked(model))
    assert [inside(small)[n].out_features for n in (0, 2)] == [13, 8]
    for dense, cut in ((model, small), (inside(model), inside(small)), (model, inside(small))):
        agreement = snnprune.verify(dense, cut, X)
        assert (agreement.flipped, list(agreement.layers)) == (0, ["1", "3"])
        assert agreement.difference < 1e-6
        assert not agreement.silent
    kept = survivors_of(inside(small))
    assert list(kept.cut_sizes.values()) == [20, 16]
    assert survivors_of(small).cut_sizes == {prefix(small) + n: size for n, size in kept.cut_sizes.items()}
    snnprune.save(small, tmp_path / "net")
    if isinstance(inside(model)[2], nn.Linear):  # else the builder has to compile that layer, too
        for builder in (build, lambda: nn.DataParallel(build())):
            again = snnprune.load(tmp_path / "net", builder)
            assert snnprune.verify(model, again, X).flipped == 0


def test_a_cut_in_place_is_compared_with_a_copy_from_before(model: nn.Module) -> None:
    masks = masked(model)
    before = copy.deepcopy(inside(model))
    snnprune.compact(model, masks, inplace=True)
    for cut in (model, inside(model)):
        assert snnprune.verify(before, cut, X).flipped == 0
    torch.testing.assert_close(before(X), model(X))


def test_what_is_measured_is_the_network_inside(model: nn.Module) -> None:
    masked(model)
    network = copy.deepcopy(inside(model))
    assert [(layer.name, layer.weights) for layer in demand(model, X)] == [("0", 156), ("2", 104), ("4", 40)]
    assert quantise(model, X, 8).layers.keys() == {"0", "2", "4"}
    assert [f.rate for f in check(model, X)] == [f.rate for f in check(network, X)]
    counts = []
    for counted in (model, network):
        functional.reset_net(counted)
        with SpikeCounter(counted, snnprune.discover(counted, X)) as counter, torch.no_grad():
            counted(X)
        counts.append(counter.operations(16).synops)
        functional.reset_net(counted)
    assert counts[0] == counts[1] > 0


def test_a_network_that_was_compiled_when_it_was_pruned() -> None:
    model = compiled(build())
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with snnprune.Pruner(model, X, "dpap", epochs=6, target=0.5) as pruner:
        for _ in range(6):
            optimizer.zero_grad()
            model(X).pow(2).mean().backward()
            optimizer.step()
            pruner.step(optimizer)
            functional.reset_net(model)
            pruner.end_epoch()
        small = snnprune.compact(model, pruner.masks)
        agreement = snnprune.verify(model, small, X)
    assert (agreement.flipped, agreement.silent) == (0, [])
    assert inside(small)[0].out_features < 20
    torch.compiler.reset()


@pytest.mark.parametrize("outside", [lambda ddp: ddp, compiled], ids=["DDP", "compiled DDP"])
def test_what_keeps_old_shapes_is_refused_in_a_sentence(outside: Callable[[nn.Module], nn.Module]) -> None:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        network = build()
        model = outside(DistributedDataParallel(network))
        pruner = snnprune.Pruner(model, X, "magnitude", epochs=6)
        for cut in (lambda: snnprune.compact(model, pruner.masks), lambda: pruner.compact(unread=True)):
            with pytest.raises(CompactionError, match=r"remove the wrapper before the cut \(del ddp\)"):
                cut()
        assert quantise(model, X, 8).layers.keys() == {"0", "2", "4"}
        assert snnprune.verify(model, network, X).difference == 0.0
        pruner.close()
    finally:
        distributed.destroy_process_group()
        torch.compiler.reset()
