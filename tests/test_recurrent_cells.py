"""SpikingJelly's recurrent cells: a unit has a row in each gate, a column, and its place in every state."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import rnn, surrogate
from torch import Tensor, nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.export import connections
from snnprune.export.step import Step
from snnprune.network import discover
from snnprune.network.synops import SpikeCounter
from snnprune.pruning import Masks, TraceRecorder
from support.cells import CELLS, ByHand, Loops, cell
from support.families import Family, half_dead
from support.loops import Loop, assert_a_resumed_run_is_the_same, assert_the_dead_are_zero, difference, equal

if TYPE_CHECKING:
    from pathlib import Path

GATES = {"VanillaRNN": 1, "LSTM": 4, "GRU": 3}
every_family = pytest.mark.parametrize("family", CELLS.values(), ids=CELLS.keys())
every_kind = pytest.mark.parametrize("kind", GATES)


def halved(family: Family) -> tuple[nn.Module, nn.Module]:
    """Return the network with half of its units dead, and what is left of it, in float64."""
    net = family.network("m").double().eval()
    masks = half_dead(net, discover(net, family.example("m").double()))
    return net, snnprune.compact(net, masks)


# --- what is found


@every_kind
def test_a_unit_owns_its_row_in_each_gate_and_its_column(kind: str) -> None:
    net, gates = ByHand(cell(kind)), GATES[kind]
    topology = discover(net, torch.rand(3, 2, 6))
    assert [p.name for p in topology.free()] == ["fc", "cell.linear_ih"]
    population = topology.populations["cell.linear_ih"]
    assert (population.size, population.kind) == (10, "neurons")
    assert {(s.key, s.axis, s.role, s.repeats) for s in population.slots} == {
        *(
            (f"cell.linear_{i}.{tensor}", 0, "out", gates)
            for i in ("ih", "hh")
            for tensor in ("weight", "bias")
        ),
        ("cell.linear_hh.weight", 1, "in", 1),
        ("out.weight", 1, "in", 1),
    }
    for name in ("cell.linear_ih", "cell.linear_hh"):
        projection = topology.projections[name]
        assert (projection.neuron, projection.loops) == ("cell", 3)
        assert projection.site is not None
        assert (projection.site.size, projection.site.repeats) == (10 * gates, gates)


@every_family
def test_cells_are_free(family: Family) -> None:
    topology = discover(family.network("m"), family.example("m"))
    assert len(topology.free()) == family.free
    assert [p.name for p in topology.populations.values() if p.frozen] == ["out"]
    assert all(p.uncut is None and p.kind == "neurons" for p in topology.free())


def test_all_cells_of_a_loop_share_their_units() -> None:
    topology = discover(CELLS["SpikingGRU, both directions"].network("m"), torch.rand(3, 2, 6))
    [population] = topology.free()
    cells = [f"rnn.cells{way}.{number}" for number in (0, 1) for way in ("", "_reverse")]
    assert set(population.producers) == {f"{c}.linear_{i}" for c in cells for i in ("ih", "hh")}
    runs = topology.projections["rnn.cells.1.linear_ih"].inflow
    assert [(run.population, run.offset) for run in runs] == [(population.name, 0), (population.name, 10)]


class Last(nn.Module):
    """Reads the last states of both layers, and hands out what the cells hold beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = rnn.SpikingLSTM(6, 10, 2), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, c = self.rnn(x)[1]
        return self.out(h[-1]) + self.out(h[0]), c


def test_the_last_states_are_those_of_the_units() -> None:
    torch.manual_seed(0)
    net = Last().double()
    x = torch.rand(3, 2, 6, dtype=torch.float64) * 2
    masks = half_dead(net, discover(net, x))
    assert [len(m) for m in masks.units.values()] == [10, 4]
    small = snnprune.compact(net, masks)
    alive = next(iter(masks.units.values()))
    assert torch.equal(net(x)[1][..., alive], small(x)[1])
    assert (net(x)[0] - small(x)[0]).abs().max() < 1e-9


# --- what is kept whole


class Own(rnn.SpikingLSTMCell):
    def forward(self, x: Tensor, hc: Any = None) -> Any:
        h, c = super().forward(x, hc)
        return h.flip(1), c


class Soft(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.softmax(-1) > 0.1).to(x)


@pytest.mark.parametrize(
    "kept", [Own(7, 10), rnn.SpikingGRUCell(7, 10, surrogate_function1=Soft()), nn.LSTMCell(7, 10)]
)
def test_a_cell_that_computes_in_its_own_way_is_kept_whole(kept: nn.Module) -> None:
    topology = discover(ByHand(kept), torch.rand(3, 2, 6))
    assert topology.free() == []
    what = "layer" if isinstance(kept, nn.LSTMCell) else "wrapper"
    assert f"wired to itself by the recurrent {what} cell" in str(topology.populations["fc"].frozen)


def test_a_first_state_that_learns_keeps_the_cell_whole() -> None:
    class Learned(ByHand):
        def __init__(self) -> None:
            super().__init__(cell("GRU"))
            self.first = nn.Parameter(torch.rand(1, 10))

        def forward(self, x: Tensor) -> Tensor:
            state = self.first.expand(x.shape[1], -1)
            for step in x:
                state = self.cell(self.lif(self.fc(step)), state)
            return self.out(state)

    topology = discover(Learned(), torch.rand(3, 2, 6))
    assert [p.name for p in topology.free()] == ["fc"]


def test_layers_beside_the_cell_that_read_one_gate_keep_it_whole() -> None:
    class Reading(ByHand):
        def forward(self, x: Tensor) -> Tensor:
            y = self.lif(self.fc(x[0]))
            return self.out(self.cell.linear_ih(y)[:, :10]) + self.out(self.cell(y)[0])  # type: ignore[operator]

    topology = discover(Reading(cell("LSTM")), torch.rand(3, 2, 6))
    assert [p.name for p in topology.free()] in ([], ["fc"])


class Queries(nn.Module):
    """Attention in which a cell makes queries and keys, or values."""

    def __init__(self, *, values: bool) -> None:
        super().__init__()
        self.rnn, self.other, self.act = rnn.SpikingGRU(6, 8, 1), nn.Linear(6, 8), nn.ReLU()
        self.out, self.values, self.heads = nn.Linear(8, 4), values, 2

    def forward(self, x: Tensor) -> Tensor:
        spikes, other = (
            y.transpose(0, 1).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for y in (self.rnn(x)[0], self.act(self.other(x)))
        )
        queries, values = (other, spikes) if self.values else (spikes, other)
        y = 0.1 * queries @ queries.transpose(-1, -2) @ values
        return self.out(y.transpose(1, 2).flatten(2))


class InEachStep(Queries):
    """A loop by hand, in which heads are taken apart at each time step."""

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for step in x:
            state = self.rnn.cells[0](step, state)
            spikes, other = (y.unflatten(-1, (self.heads, -1)) for y in (state, self.act(self.other(step))))
            outputs.append(self.out((other * spikes).flatten(1)))
        return torch.stack(outputs)


def test_heads_of_a_cell_are_heads_at_each_step() -> None:
    torch.manual_seed(0)
    net, x = InEachStep(values=True).double(), torch.rand(3, 2, 6, dtype=torch.float64)
    topology = discover(net, x)
    kinds = {p.name: p.kind for p in topology.populations.values() if p.name.startswith("rnn")}
    assert kinds == {
        "rnn.cells.0.linear_ih.heads": "heads", "rnn.cells.0.linear_ih.channels": "head channels"
    }  # fmt: skip
    masks = half_dead(net, topology)
    assert (net(x) - snnprune.compact(net, masks)(x)).abs().max() < 1e-9


def test_a_cell_may_make_values_and_not_the_queries_that_are_summed_over() -> None:
    torch.manual_seed(0)
    x = torch.rand(5, 2, 6, dtype=torch.float64)
    net = Queries(values=True).double()
    topology = discover(net, x)
    assert [p.uncut for p in topology.free()] == [None] * 3
    masks = half_dead(net, topology)
    assert (net(x) - snnprune.compact(net, masks)(x)).abs().max() < 1e-9
    topology = discover(Queries(values=False).double(), x)
    assert "outputs 1 without input" in str(topology.populations["rnn.cells.0.linear_ih.channels"].uncut)


# --- masked, compacted, cut while it trains


@every_family
def test_masked_and_compacted_say_the_same_and_sizes_follow(family: Family) -> None:
    net, small = halved(family)
    x = family.example("m", batch=4).double()
    agreement = snnprune.verify(net, small, x)
    assert agreement.flipped == 0
    assert agreement.difference < 1e-9
    assert all(layer.difference < 1e-9 for layer in agreement.layers.values())
    assert 0 < min(layer.active / layer.size for layer in agreement.layers.values()) < 1
    assert not torch.allclose(net(x), net(x.flip(0)))  # what the cells hold says something
    held = [m for m in small.modules() if isinstance(m, (rnn.SpikingRNNBase, rnn.SpikingRNNCellBase))]
    assert {m.hidden_size for m in held} == {5}
    for m in held:
        if isinstance(m, rnn.SpikingRNNCellBase):
            assert m.linear_ih.weight.shape[1] == m.input_size


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("SpikingLSTMCell", "dpap"), ("SpikingGRUCell", "bdnn-sp"), ("SpikingVanillaRNN", "dpap"),
        ("SpikingGRU, both directions", "stdp"),
    ],
)  # fmt: skip
def test_live_compaction_is_masking(name: str, method: str) -> None:
    masked, live = (
        Loop(CELLS[name], "m", method, epochs=7, **options).epochs(0, 5, 2)
        for options in ({}, {"compact_every": 2})
    )
    assert all(map(equal, masked.masks, live.masks))
    assert difference(masked, live) < 1e-9
    assert any(after < before for before, after in itertools.pairwise(live.sizes))


@pytest.mark.parametrize("name", ["SpikingLSTMCell", "SpikingGRU, both directions"])
def test_the_dead_stay_zero_in_every_gate(name: str) -> None:
    run = Loop(CELLS[name], "m", "bdnn-sp", epochs=7).epochs(0, 3, 2)
    for batch in range(5):
        run.step(3, batch)
    assert_the_dead_are_zero(run)


def test_a_resumed_run_is_the_same_run() -> None:
    assert_a_resumed_run_is_the_same(CELLS["SpikingLSTM"])


@pytest.mark.parametrize("name", ["SpikingLSTMCell", "SpikingGRU, both directions"])
def test_a_saved_network_comes_back(name: str, tmp_path: Path) -> None:
    family = CELLS[name]
    _, small = halved(family)
    snnprune.save(small, tmp_path / "net")
    back = snnprune.load(tmp_path / "net", lambda: family.newborn("m").double())
    x = family.example("m").double()
    assert torch.equal(back.eval()(x), small(x))


@pytest.mark.parametrize("name", ["SpikingLSTM", "SpikingGRUCell"])
def test_exports_refuse_a_cell(name: str, tmp_path: Path) -> None:
    net = CELLS[name].network("m")
    with pytest.raises(UserError, match=r"one time step .* '(cell|rnn\.cells\.0)'"):  # ONNX
        Step(net)
    with pytest.raises(UserError, match=f"forward of {type(net).__name__} cannot be followed"):
        connections.write(net, tmp_path / "net")
    assert not list(tmp_path.iterdir())


# --- traces


@every_kind
def test_what_a_row_is_shown_is_the_activity_of_its_unit(kind: str) -> None:
    net = Loops(getattr(rnn, f"Spiking{kind}")(6, 10, 1)).double()
    x = torch.rand(3, 2, 6, dtype=torch.float64) * 2
    told: list[Tensor] = []
    net.rnn.register_forward_hook(lambda _m, _i, output: told.append(output[0].detach()))
    recorder = TraceRecorder(net, discover(net, x), tau=0.5)
    net(x).sum().backward()
    batch = recorder.batch()
    recorder.close()
    [h] = told[-1:]
    own = sum(0.5 ** (2 - t) * h[t] for t in range(3))
    before = 0.5 * h[0] + h[1]  # what arrives is that of the step before
    assert batch["rnn.cells.0.linear_ih"].post.shape == (2, 10 * GATES[kind])
    for name in ("ih", "hh"):
        assert torch.allclose(
            batch[f"rnn.cells.0.linear_{name}"].post, torch.cat([own] * GATES[kind], 1), atol=1e-12
        )
    assert torch.allclose(batch["rnn.cells.0.linear_hh"].pre, before, atol=1e-12)


# --- what is counted


@every_kind
def test_operations_are_those_of_the_spikes(kind: str) -> None:
    net = Loops(getattr(rnn, f"Spiking{kind}")(6, 10, 1))
    x, rows = torch.poisson(torch.full((3, 2, 6), 0.7)), 10 * GATES[kind]
    spikes = net.rnn(x)[0].detach()
    with SpikeCounter(net, discover(net, x)) as counter:
        net(x)
    layers = counter.operations(2).layers
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    assert layers["rnn.cells.0.linear_hh"].synops == float(spikes[:-1].sum()) * rows / 2
    assert layers["out"].synops == float(spikes.sum()) * 4 / 2
    assert layers["rnn.cells.0.linear_ih"].synops_by_events == float(x.sum()) * rows / 2


def test_a_cell_with_smooth_gates_costs_products() -> None:
    net = Loops(rnn.SpikingGRU(6, 10, 1, surrogate_function1=surrogate.Erf(spiking=False)))
    x = torch.rand(3, 2, 6)
    with SpikeCounter(net, discover(net, x)) as counter:
        net(x)
    layer = counter.operations(2).layers["rnn.cells.0.linear_hh"]
    assert (layer.synops, layer.macs) == (0.0, 3 * 30 * 10)


# --- on paper


def test_a_dead_unit_fires_and_is_not_heard() -> None:
    """Two units that hear nobody: without input a step function answers 1, also that of a dead unit."""
    net = Loops(rnn.SpikingVanillaRNN(6, 10, 1, surrogate_function=surrogate.ATan()))
    topology = discover(net, torch.rand(2, 1, 6))
    masks = Masks(net, topology)
    alive = torch.arange(10) < 9
    masks.keep_units(topology.free()[0], alive)
    masks.refresh()
    masks.apply()
    assert net.rnn(torch.rand(2, 1, 6))[0][..., 9].tolist() == [[1.0], [1.0]]
    assert not net.out.weight[:, 9].any()
    with torch.no_grad():
        net.out.weight[:, 9] = 1  # somebody reads it again
    with pytest.raises(snnprune.CompactionError, match="not silent"):
        snnprune.pruning.compaction.silence.prove_silent(net, topology, topology.free()[0], ~alive)
