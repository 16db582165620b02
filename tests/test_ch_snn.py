"""CH-SNN: CH3-L3 against a count of paths, the draw of what dies, chain removal, and an epoch on paper."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from snnprune.methods import CHSNN, ch_snn
from snnprune.methods.ch_snn import _work, ch3_l3, drawn, removal_score
from snnprune.network import discover
from snnprune.pruning import Masks, Pruner
from snnprune.pruning.chains import connected
from support.families import FAMILIES
from support.networks import conv_ann

X = torch.rand(16, 6, generator=torch.Generator().manual_seed(0))


def by_paths(links: Tensor) -> Tensor:
    """Return CH3-L3 by going through every path of three links, and every link of the nodes on it."""
    rows, columns = links.shape
    near: dict[tuple[str, int], set[tuple[str, int]]] = {("pre", u): set() for u in range(columns)}
    near |= {("post", v): set() for v in range(rows)}
    for v, u in links.nonzero().tolist():
        near["pre", u].add(("post", v))
        near["post", v].add(("pre", u))
    score = torch.zeros(rows, columns, dtype=torch.float64)
    for v, u in itertools.product(range(rows), range(columns)):
        start, end = ("pre", u), ("post", v)
        if end in near[start]:
            continue
        paths = [(z1, z2) for z1 in near[start] for z2 in near[z1] if z2 in near[end]]
        community = {start, end, *(z for path in paths for z in path)}
        outside = {z: len(near[z] - community) for path in paths for z in path}
        score[v, u] = sum(1 / math.sqrt((1 + outside[z1]) * (1 + outside[z2])) for z1, z2 in paths)
    return score


@pytest.mark.parametrize("density", [0.05, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(1, 7), (6, 5), (12, 20)])
def test_ch3_l3_is_the_count_of_paths(shape: tuple[int, int], density: float) -> None:
    links = torch.rand(shape, generator=torch.Generator().manual_seed(7)) < density
    assert torch.allclose(ch3_l3(links), by_paths(links), rtol=1e-12, atol=1e-12)


def test_ch3_l3_on_paper() -> None:
    # 0 - 0 - 1 - 1 is the only path from u = 0 to v = 1; z1 = 0 leads to column 2 as well, z2 = 1 to nothing.
    links = torch.tensor([[True, True, True], [False, True, False]])
    assert ch3_l3(links)[1].tolist() == pytest.approx([1 / math.sqrt(2), 0.0, 1 / math.sqrt(2)])


def test_of_a_large_layer_a_part_of_the_rows_is_scored() -> None:
    links = torch.rand(12, 20, generator=torch.Generator().manual_seed(1)) < 0.4
    rows = torch.arange(12) % 3 == 0
    part, whole = ch3_l3(links, rows=rows), ch3_l3(links)
    assert torch.equal(part[rows], whole[rows])
    assert not part[~rows].any()


@pytest.mark.parametrize("share", [2.0, 1.0, 0.5, 0.0])
def test_the_scores_of_all_layers_take_no_more_than_the_work(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    asked: list[Tensor] = []

    def scores(links: Tensor, groups: int, dtype: torch.dtype, rows: Tensor) -> Tensor:
        asked.append(rows)
        return ch3_l3(links, groups, dtype, rows)

    monkeypatch.setattr(ch_snn, "ch3_l3", scores)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), X
    with Pruner(model, x, "ch-snn", epochs=8, target=0.2, chains=False, zeta=0.01) as pruner:
        model(x).sum().backward()
        whole = [_work(pruner.masks.alive(p)) for p in pruner.topology.projections.values() if not p.output]
        monkeypatch.setattr(ch_snn, "WORK", max(share * sum(whole), 1.0))
        pruner.step()
        pruner.end_epoch()
    part = min(share, 1.0)
    assert [int(rows.sum()) for rows in asked] == [max(int(part * n), 1) for n in (8, 4)]


def test_the_work_of_a_layer_on_paper() -> None:
    links = torch.tensor([[True, False, True], [False, False, False], [True, False, False]])
    assert _work(links) == 2 * 3 * 2 * 2  # links, rows and columns that have any


def test_channels_of_other_groups_are_no_neighbours() -> None:
    links = torch.rand(8, 6, generator=torch.Generator().manual_seed(1)) < 0.5
    assert torch.equal(ch3_l3(links, groups=2), torch.cat([ch3_l3(links[:4]), ch3_l3(links[4:])]))


def test_the_removal_score_on_paper() -> None:
    score = removal_score(torch.tensor([[1.0, 3.0], [0.0, 1.0]]))
    assert score.flatten().tolist() == pytest.approx([1 / 5 + 1 / 2, 3 / 5 + 3 / 5, 0.0, 1 / 2 + 1 / 5])


def test_the_draw_has_the_chances_of_draws_without_replacement() -> None:
    # Chances 4 : 2 : 1 of scores 1/4, 1/2, 1 at d = 0.5. Two of three: the pair {a, b} comes as a b or b a.
    score, among = torch.tensor([0.25, 0.5, 1.0, 0.1]), torch.tensor([True, True, True, False])
    generator, times = torch.Generator().manual_seed(0), 6000
    found = Counter(
        tuple(drawn(score, among, torch.rand(4, generator=generator), 2, 0.0).nonzero().flatten().tolist())
        for _ in range(times)
    )
    expected = {(0, 1): 4 / 7 * 2 / 3 + 2 / 7 * 4 / 5, (0, 2): 4 / 7 * 1 / 3 + 1 / 7 * 4 / 6}
    expected[1, 2] = 2 / 7 * 1 / 5 + 1 / 7 * 2 / 6
    assert found.keys() == expected.keys()
    for pair, chance in expected.items():
        assert found[pair] / times == pytest.approx(chance, abs=0.02)


def test_late_draws_follow_the_score_more_closely_and_zero_dies_first() -> None:
    score, among = torch.tensor([0.5, 1.0]), torch.ones(2, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    early, late = (
        sum(bool(drawn(score, among, torch.rand(2, generator=generator), 1, q)[0]) for _ in range(500))
        for q in (0.0, 1.0)
    )
    assert early / 500 == pytest.approx(2 / 3, abs=0.06)
    assert late / 500 > 0.98  # 2^9 : 1
    zero = torch.tensor([0.3, 0.0, 0.2])
    assert drawn(zero, torch.ones(3, dtype=torch.bool), torch.rand(3), 1, 0.0).tolist() == [
        False,
        True,
        False,
    ]


def test_a_chain_of_units_dies_from_either_end() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    masks = Masks(model, discover(model, torch.rand(1, 2)))
    first, second = torch.ones(3, 2, dtype=torch.bool), torch.eye(3, dtype=torch.bool)
    first[0] = False  # nothing feeds unit 0 of "0", which alone feeds unit 0 of "2"
    last = torch.ones(2, 3, dtype=torch.bool)
    last[:, 2] = False  # nothing reads unit 2 of "2", which alone reads unit 2 of "0"
    units = connected(masks, {"0": first, "2": second, "4": last})
    assert {name: alive.tolist() for name, alive in units.items()} == {
        "0": [False, True, False],
        "2": [False, True, False],
    }
    assert bool(masks.units["0"].all())
    assert connected(masks, {"0": first & False}) == {}  # nobody would be left


def test_channels_behind_a_flatten_are_read_by_any_of_their_places() -> None:
    model = conv_ann()
    masks = Masks(model, discover(model, torch.ones(1, 2, 12, 12)))
    reader = next(p for p in masks.topology.projections.values() if p.inflow and p.inflow[0].spread > 1)
    run, columns = reader.inflow[0], torch.ones(reader.shape, dtype=torch.bool)
    columns[:, : run.spread] = False  # all places of channel 0
    columns[:, run.spread + 1 : 2 * run.spread] = False  # all but one of channel 1
    alive = connected(masks, {reader.name: columns})[run.population]
    assert alive.tolist() == [False] + [True] * (run.size - 1)


def test_a_residual_sum_is_fed_by_any_of_its_layers() -> None:
    family = FAMILIES["residual"]
    model = family.network("m")
    masks = Masks(model, discover(model, family.example("m")))
    joined = next(p for p in masks.topology.free() if len(p.producers) > 1)
    none = {n: torch.zeros(masks.topology.projections[n].shape) > 0 for n in joined.producers}
    for name in joined.producers:
        one = none[name].clone()
        one[1:] = True
        others = {n: masks.alive(masks.topology.projections[n]) for n in none}
        assert joined.name not in connected(masks, others | {name: one})
    but_one = {n: torch.arange(none[n].shape[0]).view(-1, *[1] * (none[n].ndim - 1)) > 0 for n in none}
    gone = connected(masks, {n: but_one[n].expand(none[n].shape) for n in none})
    assert gone[joined.name].tolist() == [False] + [True] * (joined.size - 1)


def test_an_epoch_removes_as_many_links_as_it_grows() -> None:
    torch.manual_seed(0)
    model = conv_ann()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    x = torch.rand(4, 2, 12, 12)
    with Pruner(model, x, CHSNN(0.7, zeta=0.5), epochs=5) as pruner:
        counts, changed = [], 0
        for _ in range(4):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            pruner.step(optimizer)
            before = {n: a.clone() for n, a in pruner.masks.all_alive().items()}
            pruner.end_epoch()
            for name, alive in pruner.masks.all_alive().items():
                changed += int((alive & ~before[name]).sum())
                assert not model.get_parameter(f"{name}.weight")[alive & ~before[name]].any()
            counts.append(pruner.rates().weights_left)
    assert changed > 0
    assert len(set(counts)) == 1
    assert pruner.rates().synapses > 0.69  # and more where units die that the output reads


def test_convolutions_keep_their_channels_where_hardly_a_synapse_is_left() -> None:
    torch.manual_seed(0)
    model, x = conv_ann(), torch.rand(4, 2, 12, 12)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with Pruner(model, x, CHSNN(0.9), epochs=6) as pruner:
        for _ in range(6):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            pruner.step(optimizer)
            pruner.end_epoch()
        left = {p.name: p.kind == "channels" for p in pruner.dense.populations.values()}
        assert any(left.values())
        for name, channels in left.items():
            alive, size = pruner.rates().neurons_left[name]
            assert not channels or alive > size / 2
