"""Populations whose width code in another place takes for its own are masked, and the others are cut."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import layer
from torch import Tensor, nn

import snnprune
from snnprune.common.errors import CompactionError
from snnprune.network import discover
from support.attention import Normed, spiking
from support.families import half_dead

WIDTH, HEADS = 8, 2


class OfTheInput(nn.Module):
    """Attention as it is mostly written: the channels of a head are counted in the input of the block."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = HEADS
        self.q, self.k, self.v, self.proj = (Normed(WIDTH, WIDTH) for _ in range(4))
        self.q_lif, self.k_lif, self.v_lif, self.proj_lif = (spiking() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        steps, samples, positions, channels = x.shape
        q, k, v = (
            lif(linear(x))
            .reshape(steps, samples, positions, self.heads, channels // self.heads)
            .transpose(2, 3)
            for linear, lif in ((self.q, self.q_lif), (self.k, self.k_lif), (self.v, self.v_lif))
        )
        y = (q @ k.mT @ v * 0.5).transpose(2, 3).reshape(steps, samples, positions, channels)
        joined: Tensor = self.proj_lif(self.proj(y))
        return x + joined


class Net(nn.Module):
    def __init__(self, attention: nn.Module | None = None) -> None:
        super().__init__()
        self.embed, self.lif = Normed(4, WIDTH), spiking()
        self.attention = OfTheInput() if attention is None else attention
        self.hidden, self.hidden_lif = Normed(WIDTH, 6), spiking()
        self.head = layer.Linear(6, 3, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(self.lif(self.embed(x)))
        scores: Tensor = self.head(self.hidden_lif(self.hidden(x)))
        return scores.mean(2)


def course() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(2, 2, 3, 4, dtype=torch.float64) * 4


def test_a_stream_whose_width_a_reshape_of_others_takes_is_masked_and_the_rest_is_cut() -> None:
    torch.manual_seed(0)
    net, x = Net().double().eval(), course()
    topology = discover(net, x)
    uncut = {p.name: p.uncut for p in topology.free() if p.uncut is not None}
    assert list(uncut) == ["embed.0"]
    assert "the smaller network does not run, in attention" in uncut["embed.0"]
    assert "q.shape[-1] where q is reshaped" in uncut["embed.0"]
    assert "embed.0 can be masked, but not removed by a cut: the smaller" in str(topology)
    masks = half_dead(net, topology)
    assert not masks.units["embed.0"].all()
    with pytest.warns(UserWarning, match=r"population embed\.0 stays whole: the smaller network"):
        small = snnprune.compact(net, masks)
    assert small.embed[0].out_features == WIDTH
    assert small.hidden[0].out_features == 3
    assert small.hidden[0].in_features == WIDTH
    torch.testing.assert_close(small(x), net(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", [layer.TokenQKAttention, layer.ChannelQKAttention])
def test_spikingjellys_attention_of_other_kinds_leaves_its_stream_whole(kind: type[nn.Module]) -> None:
    class Stream(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = layer.Conv1d(4, WIDTH, 1, step_mode="m")
            self.lif, self.attention = spiking(), kind(WIDTH, HEADS)
            self.hidden, self.hidden_lif = layer.Conv1d(WIDTH, 6, 1, step_mode="m"), spiking()
            self.head = layer.Linear(6, 3, step_mode="m")

        def forward(self, x: Tensor) -> Tensor:
            x = self.lif(self.embed(x))
            x = self.hidden_lif(self.hidden(x + self.attention(x)))
            scores: Tensor = self.head(x.mean(-1))
            return scores

    torch.manual_seed(0)
    net, x = Stream().double().eval(), torch.rand(2, 2, 4, 9, dtype=torch.float64) * 4
    topology = discover(net, x)
    assert [p.name for p in topology.free() if p.uncut is not None] == ["embed"], f"\n{topology}"
    with pytest.warns(UserWarning, match="population embed stays whole"):
        small = snnprune.compact(net, half_dead(net, topology))
    assert (small.embed.out_channels, small.hidden.out_channels) == (WIDTH, 3)


def test_a_pruner_says_so_at_its_start_and_cuts_what_can_be_cut() -> None:
    torch.manual_seed(0)
    net, x = Net().double(), course()
    with pytest.warns(UserWarning, match=r"population embed\.0 can be masked but not compacted") as said:
        pruner = snnprune.Pruner(net, x, "magnitude", epochs=4, target=0.5)
    assert len(said) == 1
    for name, size in (("embed.0", WIDTH), ("hidden.0", 6)):
        pruner.masks.keep_units(pruner.topology.populations[name], torch.arange(size) < size // 2)
    pruner.compact()
    assert (net.embed[0].out_features, net.hidden[0].out_features) == (WIDTH, 3)
    assert int(pruner.masks.units["embed.0"].sum()) == WIDTH // 2
    pruner.compact()


def test_units_that_only_dead_units_of_a_whole_population_read_are_removed() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    masks = snnprune.Masks(net, discover(net, torch.rand(2, 4).double()))
    masks.topology.populations["2"].uncut = "it is to stay"
    masks.topology.populations["2"].whole = True
    masks.keep_units(masks.topology.populations["2"], torch.arange(5) < 1)
    columns = torch.ones(5, 6, dtype=torch.bool)
    columns[0, 3:] = False
    masks.keep_synapses(masks.topology.projections["2"], columns)
    masks.refresh()
    masks.apply()
    with pytest.warns(UserWarning, match="population 2 stays whole: it is to stay"):
        small = snnprune.compact(net, masks)
    assert small[2].weight.shape == (5, 3)
    x = torch.rand(7, 4).double()
    torch.testing.assert_close(small(x), net(x), rtol=0, atol=1e-12)


def test_a_network_of_which_nothing_can_be_cut_refuses_by_name() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    masks = snnprune.Masks(net, discover(net, torch.rand(2, 4)))
    masks.topology.populations["0"].uncut = "it is to stay"
    masks.topology.populations["0"].whole = True
    assert snnprune.compact(net, masks)[0].out_features == 6
    masks.keep_units(masks.topology.populations["0"], torch.arange(6) < 1)
    with pytest.raises(CompactionError, match="population 0 cannot be compacted: it is to stay"):
        snnprune.compact(net, masks)
