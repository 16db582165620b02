"""Cuts of populations that feed back: what nothing but itself reads, what is saved, what is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer
from torch import nn

import snnprune
from snnprune.network import discover
from snnprune.pruning import Masks, Pruner
from snnprune.pruning.compaction.removal import plan_cut
from support.families import FAMILIES, half_dead
from support.loops import Loop

if TYPE_CHECKING:
    from pathlib import Path

RECURRENT = [name for name in FAMILIES if "ecurrent" in name]


def masks_of(name: str) -> tuple[nn.Module, Masks]:
    family = FAMILIES[name]
    net = family.network("m").double()
    return net, Masks(net, discover(net, family.example("m").double()))


def widths(net: nn.Module) -> list[tuple[int, int]]:
    """Return the columns of each container's layer, and how many of them hear the units inside."""
    containers: list[Any] = [m for m in net.modules() if isinstance(m, layer.LinearRecurrentContainer)]
    return [(c.rc.in_features, c.sub_module_out_features) for c in containers]


def only(masks: Masks, projection: str, pairs: dict[int, list[int]]) -> None:
    """Let ``projection`` have no synapses but to each post unit from these."""
    p = masks.topology.projections[projection]
    keep = torch.zeros(p.shape, dtype=torch.bool)
    for post, pre in pairs.items():
        keep[post, pre] = True
    masks.keep_synapses(p, keep)


def test_units_that_are_read_by_themselves_and_one_another_alone_go() -> None:
    net, masks = masks_of("recurrent across layers")
    with torch.no_grad():
        net.get_parameter("out.weight")[:, 2:] = (
            0.1  # the output reads all of the second layer: nothing is lost
        )
    assert not plan_cut(net, masks)
    only(masks, "back", {0: [0], 7: [7], 8: [6, 7]})
    only(masks, "fc2", {0: [0, 1], 6: [8], 7: [7]})
    cut = plan_cut(net, masks)
    assert cut.units["fc1"].nonzero().flatten().tolist() == [0, 1, 7, 8]


def test_a_ring_of_units_without_a_way_out_is_removed_exactly() -> None:
    torch.manual_seed(0)
    family = FAMILIES["recurrent"]
    net, masks = masks_of("recurrent")
    own = {n: [n] for n in range(10)}
    only(masks, "1.feedback", {**own, 8: [8, 9], 9: [8, 0]})  # 8 and 9 hear each other, and 0
    only(masks, "2", {n: [0, 1, 2, 3, 4, 5, 6, 7] for n in range(8)})
    masks.refresh()
    masks.apply()
    cut = plan_cut(net, masks)
    assert cut.units["0"].tolist() == [True] * 8 + [False] * 2
    small = snnprune.compact(net, masks)
    agreement = snnprune.verify(net, small, family.example("m", steps=6, batch=5).double())
    assert agreement.flipped == 0
    assert agreement.difference < 1e-9
    assert small.get_parameter("1.feedback.weight").shape == (8, 8)


def test_a_population_that_nothing_reads_keeps_its_strongest_unit_and_what_that_hears() -> None:
    net, masks = masks_of("recurrent")
    only(masks, "4", {}) if masks.topology.projections["4"].frozen is None else None
    only(masks, "2", {n: [n] for n in range(8)})
    only(masks, "1.feedback", {n: [(n + 1) % 10] for n in range(10)})
    cut = plan_cut(net, masks)
    assert not cut  # a ring through all ten, of which eight are read
    only(masks, "1.feedback", {n: [n] for n in range(10)})
    assert plan_cut(net, masks).units["0"].tolist() == [True] * 8 + [False] * 2


@pytest.mark.parametrize("name", RECURRENT)
def test_a_small_network_is_saved_and_built_again(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    net, x = family.network("m"), family.example("m", steps=4)
    small = snnprune.compact(net, half_dead(net, discover(net, x))).eval()
    snnprune.save(small, tmp_path / "net")
    again = snnprune.load(tmp_path / "net", lambda: family.newborn("m")).eval()
    for each in (small, again):
        functional.reset_net(each)
    with torch.no_grad():
        assert torch.equal(small(x), again(x))


def test_the_width_of_a_container_follows_a_cut() -> None:
    family = FAMILIES["LinearRecurrentContainer"]
    net, x = family.network("m"), family.example("m")
    small = snnprune.compact(net, half_dead(net, discover(net, x)))
    assert widths(small) == [(8, 4), (9, 5)]
    assert widths(net) == [(16, 8), (18, 10)]


@pytest.mark.parametrize("structured", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["recurrent", "recurrent across layers"])
def test_a_target_is_reached_where_weights_go_with_the_square_of_a_population(
    name: str, structured: float
) -> None:
    method = snnprune.methods.Magnitude(target=0.6, structured=structured)
    run = Loop(FAMILIES[name], "m", method, epochs=6).epochs(0, 6, 1)
    assert abs(run.pruner.rates().synapses - 0.6) < 0.02
    assert isinstance(run.pruner, Pruner)
