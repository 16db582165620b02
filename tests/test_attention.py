"""Attention: whole heads are populations, and so are the channels inside heads."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import snnprune
from snnprune.common.errors import CompactionError
from snnprune.methods.magnitude import Magnitude
from snnprune.network import Inflow, Outflow, Slot, discover
from snnprune.network.resizing import resized
from snnprune.pruning import Masks, Pruner, Target
from snnprune.pruning.compaction.shapes import conform
from snnprune.pruning.compaction.survivors import (
    SurvivingUnits,
    dense_topology,
    numbers_in,
    survivors_of,
)
from support.attention import Fused, Separate, Transformer, transformer
from support.families import FAMILIES, half_dead
from support.loops import Loop, difference, equal

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.network import Topology

FAMILY = FAMILIES["attention"]


class Paper(nn.Module):
    """Two heads of two channels, without a softmax; weights are the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.q, self.k, self.v, self.proj = (nn.Linear(4, 4, bias=False) for _ in range(4))
        self.q_act, self.k_act, self.v_act, self.act = (nn.ReLU() for _ in range(4))
        self.out = nn.Linear(4, 1)
        with torch.no_grad():
            for each in (self.q, self.k, self.v, self.proj):
                each.weight.copy_(torch.eye(4))

    def apart(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = (
            self.apart(act(linear(x)))
            for linear, act in ((self.q, self.q_act), (self.k, self.k_act), (self.v, self.v_act))
        )
        return (q @ k.transpose(-2, -1) @ v).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.act(self.proj(self.attend(x))))
        return scores.mean(1)


X = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
"""One sample of one position: the scores of the heads are 1 + 4 = 5 and 9 + 16 = 25."""


def masked(net: nn.Module, topology: Topology, **dead: list[int]) -> Masks:
    masks = Masks(net, topology)
    for name, units in dead.items():
        population = topology.populations[name.replace("_", ".")]
        masks.keep_units(population, torch.tensor([u not in units for u in range(population.size)]))
    masks.refresh()
    masks.apply()
    return masks


# --- by pencil


@pytest.mark.parametrize(
    ("dead", "answer"),
    [
        ({}, [5.0, 10.0, 75.0, 100.0]),
        ({"q_heads": [0]}, [0.0, 0.0, 75.0, 100.0]),
        ({"q_channels": [1]}, [1.0, 2.0, 27.0, 36.0]),  # scores 1 and 9
        ({"v_channels": [0]}, [0.0, 10.0, 0.0, 100.0]),
        ({"q_heads": [1], "q_channels": [0], "v_channels": [0]}, [0.0, 8.0, 0.0, 0.0]),  # 4 times 2
    ],
)
def test_what_is_left_on_paper(dead: dict[str, list[int]], answer: list[float]) -> None:
    net = Paper()
    masks = masked(net, discover(net, X), **dead)
    assert net.attend(X).flatten().tolist() == answer
    small = snnprune.compact(net, masks)
    alive = masks.columns(masks.topology.projections["proj"])
    assert small.attend(X).flatten().tolist() == [a for a, on in zip(answer, alive, strict=True) if on]
    assert torch.equal(small(X), net(X))
    assert small.heads == 2 - len(dead.get("q_heads", []))
    assert net.heads == 2


def test_the_populations_and_their_places() -> None:
    topology = discover(Paper(), X)
    found = {p.name: (p.size, p.kind, p.producers, p.frozen) for p in topology.populations.values()}
    assert found.pop("out")[0] == 1
    assert found == {
        "q.heads": (2, "heads", ["q", "k", "v"], None),
        "q.channels": (2, "head channels", ["q", "k"], None),
        "v.channels": (2, "head channels", ["v"], None),
        "proj": (4, "neurons", ["proj"], None),
    }
    heads, channels = topology.populations["q.heads"], topology.populations["v.channels"]
    assert Slot("k", "weight", 0, "out", 0, spread=2) in heads.slots
    assert channels.slots == [
        Slot("v", "weight", 0, "out", 0, 1, repeats=2), Slot("proj", "weight", 1, "in", 0, 1, repeats=2),
    ]  # fmt: skip
    k, proj = topology.projections["k"], topology.projections["proj"]
    assert k.post == ""
    assert k.outflow == (Outflow("q.heads", 0, 2, 2, 1), Outflow("q.channels", 0, 2, 1, 2))
    assert proj.inflow == (Inflow("q.heads", 0, 2, 2, 1), Inflow("v.channels", 0, 2, 1, 2))
    assert proj.post == "proj"
    assert topology.populations["q.channels"].contracted
    assert not channels.contracted
    assert {p.name for p in topology.incoming("q.heads")} == {"q", "k", "v"}
    assert [p.name for p in topology.outgoing("q.channels")] == []


def test_scores_are_summed_over_the_rows_of_a_unit_that_are_alive() -> None:
    net = Paper()
    with torch.no_grad():
        for number, each in enumerate((net.q, net.k, net.v)):
            each.weight.copy_(torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0]) * 10**number))
    pruner = Pruner(net, X, Magnitude(target=0.1, unit="neurons"), epochs=4)
    scores = pruner.importance()
    assert scores["neurons/q.heads"].tolist() == [3 * 111, 7 * 111]  # rows 0 and 1 of each layer, 2 and 3
    assert scores["neurons/q.channels"].tolist() == [4 * 11, 6 * 11]  # rows 0 and 2 of q and k, 1 and 3
    assert scores["neurons/v.channels"].tolist() == [400, 600]
    pruner.masks.keep_units(pruner.topology.populations["q.heads"], torch.tensor([False, True]))
    assert pruner.importance()["neurons/v.channels"].tolist() == [300, 400]
    pruner.close()


def test_weights_left_are_a_product() -> None:
    net = Paper()
    masks = masked(net, discover(net, X), q_heads=[0], v_channels=[1])
    rates = masks.rates()
    assert {name: layer.left for name, layer in rates.layers.items()} == {
        "q": 2 * 4, "k": 2 * 4, "v": 1 * 4, "proj": 4 * 1, "out": 4,
    }  # fmt: skip
    assert rates.neurons_left["q.heads"] == (1, 2)


def test_heads_and_their_channels_lose_the_share_of_their_rows_together() -> None:
    net = Transformer(Separate(64, 8), width=64)
    topology = discover(net, torch.rand(2, 2, 3, 6))
    plan = Target(0.75, structured=1.0).plan(topology, synapses=False)
    units = plan.units
    rows = units["blocks.0.q.0.heads"] * units["blocks.0.v.0.channels"]
    assert abs(rows - units["embed.0"]) <= 6  # 64 units, and 8 heads of 8 channels, each rounded
    left = plan.solver.cost({name: float(count) for name, count in units.items()}, {})
    assert abs(left / plan.solver.dense - 0.25) < 0.05
    floor = Target(0.9, floor=0.3, structured=1.0)
    with pytest.raises(snnprune.common.errors.UserError, match="cannot be reached"):
        floor.plan(topology, synapses=False)


def test_a_cut_to_one_head_of_one_channel_and_back() -> None:
    net = Transformer(Fused(12, 4))
    whole = discover(net, FAMILY.example("m"))
    names = ("blocks.0.qkv.0.heads", "blocks.0.qkv.0.channels")
    small = resized(whole, dict.fromkeys(names, 1))
    assert small.projections["blocks.0.qkv.0"].shape == (3, 12)
    left = {name: torch.tensor([0]) for name in names}
    again = dense_topology(small, SurvivingUnits(dict(zip(names, (4, 3), strict=True)), left))
    assert again.populations == whole.populations
    assert again.projections == whole.projections


# --- exact


def test_unread_heads_and_values_go_and_what_a_score_reads_stays() -> None:
    net = Paper()
    masks = Masks(net, discover(net, X))
    keep = torch.ones(4, 4, dtype=torch.bool)
    keep[:, [0, 1, 2]] = False  # what reads head 0, and channel 0 of head 1
    masks.keep_synapses(masks.topology.projections["proj"], keep)
    masks.refresh()
    masks.apply()
    small = snnprune.compact(net, masks)
    assert torch.equal(small(X), net(X))
    assert {n: len(units) for n, units in survivors_of(small).items()} == {"q.heads": 1, "v.channels": 1}
    assert small.q.weight.shape == (2, 4)


def test_a_neuron_that_rests_above_zero_is_not_taken_from_a_score() -> None:
    net = Paper()
    net.q_act, net.k_act = nn.Sigmoid(), nn.Sigmoid()
    topology = discover(net, X)
    masks = masked(net, topology, q_channels=[0])
    with pytest.raises(CompactionError, match=r"q_act \(Sigmoid\) outputs 0.5 without input"):
        snnprune.compact(net, masks)
    net = Paper()
    net.v_act = nn.Sigmoid()
    small = snnprune.compact(net, masked(net, discover(net, X), v_channels=[0]))
    assert torch.equal(small(X), net(X))  # nothing reads what such a value says


def test_live_cuts_and_masks_alone_are_one_run() -> None:
    options: dict[str, Any] = {"epochs": 4, "target": 0.8, "samples": 3}
    dense = Loop(FAMILY, "m", "dpap", **options).epochs(0, 3, 1)
    live = Loop(FAMILY, "m", "dpap", compact_every=1, **options).epochs(0, 3, 1)
    assert live.units[-1] < live.units[0]
    for a, b in zip(dense.masks, live.masks, strict=True):
        assert equal(a, b)
    assert difference(dense, live) < 1e-9
    heads = live.pruner.dense.populations["blocks.1.qkv.0.heads"]
    assert live.model.blocks[1].n_head == len(live.pruner.survivors[heads.name])


def test_the_dead_stay_at_zero_under_weight_decay() -> None:
    net = FAMILY.network("m")
    topology = discover(net, FAMILY.example("m"))
    masks = half_dead(net, topology)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        net(FAMILY.example("m")).square().sum().backward()
        optimizer.step()
        masks.apply(optimizer)
        net.zero_grad()
        snnprune.network.duplicate.reset_states(net)
    for p in topology.projections.values():
        dead = ~masks.alive(p)
        weight = net.get_parameter(p.weight)
        assert not weight[dead].any()
        assert not optimizer.state[weight]["exp_avg"][dead].any()
        assert weight[~dead].all()


# --- the ways in which people write it


class OneLayer(nn.Module):
    """Queries, keys and values of one layer; ``way`` takes them apart and returns [B, heads, N, channels]."""

    def __init__(self, way: Any, heads: int = 2, channels: int = 3) -> None:
        super().__init__()
        self.way, self.heads, self.width = way, heads, heads * channels
        self.embed, self.embed_act = nn.Linear(4, self.width), nn.ReLU()
        self.qkv, self.act = nn.Linear(self.width, 3 * self.width), nn.ReLU()
        self.out = nn.Linear(self.width, 2)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.act(self.qkv(self.embed_act(self.embed(x))))
        attended = self.way(rows, self.heads)
        scores: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return scores.mean(1)


def product(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT * 0.2).softmax(-1) @ v


def parts_first(rows: Tensor, heads: int) -> Tensor:
    return product(*rows.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0))


def heads_first(rows: Tensor, heads: int) -> Tensor:
    apart = rows.view(*rows.shape[:2], heads, 3, -1).transpose(1, 2)
    return product(apart[..., 0, :], apart[..., 1, :], apart[..., 2, :])


def parts_last(rows: Tensor, heads: int) -> Tensor:
    apart = rows.view(*rows.shape[:2], heads, -1, 3).transpose(1, 2)
    return product(apart.select(-1, 0), apart.select(-1, 1), apart.select(-1, 2))


def in_chunks(rows: Tensor, heads: int) -> Tensor:
    return product(*(t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in rows.chunk(3, -1)))


def folded(rows: Tensor, heads: int) -> Tensor:
    """Heads in the axis of samples, as fairseq has them."""
    samples, positions, _ = rows.shape
    q, k, v = rows.view(samples, positions, 3, heads, -1).permute(2, 0, 3, 1, 4).flatten(1, 2)
    return torch.bmm(torch.bmm(q, k.transpose(1, 2)), v).view(samples, heads, positions, -1)


def einstein(rows: Tensor, heads: int) -> Tensor:
    q, k, v = rows.unflatten(-1, (3, heads, -1)).unbind(2)
    return torch.einsum("bhij,bjhd->bhid", torch.einsum("bihd,bjhd->bhij", q, k), v)


def torchs(rows: Tensor, heads: int) -> Tensor:
    q, k, v = rows.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    mask = torch.ones(rows.shape[1], rows.shape[1], dtype=torch.bool).tril()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.2)


def spikformer(rows: Tensor, heads: int) -> Tensor:
    """The other order of products: k and v over positions first."""
    q, k, v = rows.unflatten(-1, (3, heads, -1)).permute(0, 2, 3, 1, 4).flatten(1, 2).chunk(3, 1)
    return q @ (k.mT @ v)


@pytest.mark.parametrize(
    "way", [parts_first, heads_first, parts_last, in_chunks, folded, einstein, torchs, spikformer]
)
def test_ways_to_take_heads_apart(way: Any) -> None:
    torch.manual_seed(1)
    net = OneLayer(way).double()
    x = torch.rand(3, 5, 4, dtype=torch.float64)
    topology = discover(net, x)
    found = {p.name: (p.size, p.frozen) for p in topology.free()}
    assert found == {"embed": (6, None), "qkv.heads": (2, None), "qkv.channels": (3, None)}, f"\n{topology}"
    for units in ({"qkv.heads": [1]}, {"qkv.channels": [0, 2]}, {"qkv.heads": [0], "qkv.channels": [1]}):
        again = copy.deepcopy(net)
        masks = masked(again, topology, **units)
        small = snnprune.compact(again, masks)
        assert small.heads == 2 - len(units.get("qkv.heads", []))
        torch.testing.assert_close(small(x), again(x), rtol=0, atol=1e-12)
        assert again(x).abs().max() > 0


# --- small networks in files, and back


def small_network() -> tuple[nn.Module, Tensor]:
    net = FAMILY.newborn("m")
    masks = half_dead(net, discover(net, FAMILY.example("m")))
    FAMILY.enliven(net, "m")
    return snnprune.compact(net, masks).eval(), FAMILY.example("m")


def answer(net: nn.Module, x: Tensor) -> Tensor:
    snnprune.network.duplicate.reset_states(net)
    with torch.no_grad():
        out: Tensor = net(x)
    return out


def test_numbers_of_heads_are_saved_and_loaded(tmp_path: Path) -> None:
    small, x = small_network()
    snnprune.save(small, tmp_path / "net")
    again = snnprune.load(tmp_path / "net", transformer).eval()
    assert (again.blocks[0].num_heads, again.blocks[1].n_head, again.blocks[1].n_embd) == (2, 2, 4)
    assert torch.equal(answer(small, x), answer(again, x))
    assert torch.equal(answer(small, x), answer(copy.deepcopy(small), x))
    snnprune.save(again, tmp_path / "again")
    assert (tmp_path / "net.json").read_text() == (tmp_path / "again.json").read_text()


def test_numbers_of_heads_come_with_the_state_of_a_pruner() -> None:
    run = Loop(FAMILY, "m", "dpap", epochs=4, target=0.8, compact_every=1, samples=3).epochs(0, 2, 1)
    state = run.state()
    fresh = FAMILY.newborn("m").double()
    conform(fresh, state["model"], numbers=numbers_in(state["pruner"]["kept"]))
    fresh.load_state_dict(state["model"])
    assert fresh.blocks[1].n_head == run.model.blocks[1].n_head < 4
    assert torch.equal(answer(run.model.eval(), run.x), answer(fresh.eval(), run.x))
    pruner = Pruner(fresh, run.x, "dpap", epochs=4, target=0.8, seed=3)
    pruner.load_state_dict(state["pruner"])
    assert pruner.rates() == run.pruner.rates()
    pruner.close()


def test_a_network_that_grows_back_has_its_heads_again() -> None:
    options: dict[str, Any] = {"epochs": 4, "target": 0.8, "compact_every": 1, "samples": 3}
    whole = Loop(FAMILY, "m", "dpap", **options).epochs(0, 1, 1)
    early, heads = whole.state(), whole.model.blocks[1].n_head
    whole.epochs(1, 3, 1)
    assert whole.model.blocks[1].n_head < heads
    whole.load(early)
    assert whole.model.blocks[1].n_head == heads
    whole.epochs(1, 2, 1)


def test_a_run_resumed_behind_a_cut_of_heads_is_the_same_run() -> None:
    options: dict[str, Any] = {"epochs": 4, "target": 0.8, "compact_every": 1, "samples": 3}
    whole = Loop(FAMILY, "m", "dpap", **options).epochs(0, 2, 1)
    state = whole.state()
    assert "numbers" in next(iter(state["pruner"]["kept"].values()))
    rest = Loop(FAMILY, "m", "dpap", **options).load(state).epochs(2, 3, 1)
    whole.epochs(2, 3, 1)
    for key, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, rest.model.state_dict()[key]), key
    assert equal(whole.masks[-1], rest.masks[-1])


# --- what is frozen by name


def attending(attend: Any, **numbers: int) -> nn.Module:
    """Return `Paper` with another way to attend, ``attend(net, q, k, v)`` of rows [B, N, 4]."""

    class Other(Paper):
        def attend(self, x: Tensor) -> Tensor:
            out: Tensor = attend(self, self.q_act(self.q(x)), self.k_act(self.k(x)), self.v_act(self.v(x)))
            return out

    net = Other()
    for name, value in numbers.items():
        setattr(net, name, value)
    return net


def apart(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2)


def scaled(net: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (apart(t, net.heads) for t in (q, k, v))
    return ((q @ k.mT) * q.shape[-1] ** -0.5 @ v).transpose(1, 2).flatten(2)


def by_torch(net: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (apart(t, net.heads) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def literal(net: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (apart(t, 2) for t in (q, k, v))
    return (q @ k.mT @ v).transpose(1, 2).flatten(2)


def of_channels(net: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (apart(t, net.heads) for t in (q, k, v))
    return (q.mT @ k @ v.mT).permute(0, 3, 1, 2).flatten(2)


def softmax_of_heads(net: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (apart(t, net.heads) for t in (q, k, v))
    return ((q @ k.mT).softmax(1) @ v).transpose(1, 2).flatten(2)


def uniform(net: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (apart(t, net.heads) for t in (q, k, v))
    return ((q @ k.mT).softmax(-1) @ v.exp()).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(
    ("attend", "frozen"),
    [
        (scaled, {"q.channels": "something reads the number of units"}),
        (by_torch, {"q.channels": "scales by the number of channels, unless it is given a scale"}),
        (literal, {"q.heads": "it cannot be cut: the smaller network's output differs"}),
        (softmax_of_heads, {
            **dict.fromkeys(("q.heads", "q.channels"), "softmax() mixes"),
            **dict.fromkeys(("v.heads", "v.channels"), "beside a tensor of unknown origin"),
        }),
        (uniform, dict.fromkeys(("q.heads", "q.channels", "v.channels"), "does not stay at zero through")),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_frozen_with_the_reason(attend: Any, frozen: dict[str, str]) -> None:
    net = attending(attend)
    topology = discover(net, torch.rand(2, 3, 4))
    for name, words in frozen.items():
        assert words in str(topology.populations[name].frozen), f"\n{topology}"
    free = {"q.heads", "q.channels", "v.channels"} - frozen.keys()
    assert free <= {p.name for p in topology.free()}, f"\n{topology}"
    masks = half_dead(net, topology)
    small = snnprune.compact(net, masks)
    assert torch.allclose(small(X), net(X), rtol=1e-6)


def test_attention_over_channels_joins_them_all() -> None:
    """q^T k is [d, d]: the queries' channels go on, those of the keys meet the values'."""
    net = attending(of_channels)
    topology = discover(net, torch.rand(2, 3, 4))
    assert topology.populations["k.channels"].producers == ["k", "v"]
    assert topology.populations["k.channels"].contracted
    small = snnprune.compact(net, half_dead(net, topology))
    assert torch.allclose(small(X), net(X))


def test_an_integer_that_is_equal_by_chance_does_not_follow() -> None:
    def attend(net: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (apart(t, net.num_heads) for t in (q, k, v))
        return ((q @ k.mT) @ v).transpose(1, 2).flatten(2)[:, : net.size]

    net = attending(attend, num_heads=2, size=2, channels=2)  # `size` is a number of positions
    topology = discover(net, torch.rand(2, 3, 4))
    assert "num_heads" in {n.attribute for n in topology.numbers}
    assert "size" not in {n.attribute for n in topology.numbers}
    assert {"q.heads", "q.channels", "v.channels"} <= {p.name for p in topology.free()}


def test_torchs_own_attention_is_frozen_by_name() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.act = nn.Linear(4, 8), nn.ReLU()
            self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.act(self.embed(x))
            out: Tensor = self.out(self.attention(x, x, x)[0])
            return out

    topology = discover(Own(), torch.rand(2, 3, 4))
    assert "multi_head_attention_forward()" in str(topology.populations["embed"].frozen)
