"""What discovery finds of populations that feed back, however the loop over time is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

import snnprune
from snnprune.network import discover
from snnprune.network.topology import OUTPUT
from snnprune.nn.recurrent import Recurrent
from snnprune.pruning import TraceRecorder
from snnprune.pruning.compaction.permission import masked_only
from support.families import half_dead

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnprune.network import Projection, Topology

UNITS, INPUTS = 6, 4


class Cell(nn.Module):
    """Neurons that hear themselves; subclasses say how, in `course`, which returns all spikes."""

    def __init__(self, steps: int | None = None) -> None:
        super().__init__()
        self.fc, self.rec, self.lif = nn.Linear(INPUTS, UNITS), nn.Linear(UNITS, UNITS), neuron.LIFNode()
        self.out = nn.Linear(UNITS, 2)
        self.learned = nn.Parameter(torch.zeros(UNITS))
        self.steps = steps

    def first(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[1], self.rec.in_features)

    def course(self, x: Tensor) -> list[Tensor]:
        spikes, told = self.first(x), []
        for step in x:
            spikes = self.lif(self.fc(step) + self.rec(spikes))
            told.append(spikes)
        return told

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.steps is None else x.expand(self.steps, *x.shape)
        return torch.stack([self.out(spikes) for spikes in self.course(x)])


class Zeros(Cell):
    def first(self, x: Tensor) -> Tensor:
        return torch.zeros(x.shape[1], self.rec.weight.shape[1]).to(x)


class Expanded(Cell):
    def first(self, x: Tensor) -> Tensor:
        return torch.zeros(self.rec.in_features).expand(x.shape[1], -1)


class Learned(Cell):
    def first(self, x: Tensor) -> Tensor:
        return self.learned.repeat(x.shape[1], 1)


class Ones(Cell):
    def first(self, x: Tensor) -> Tensor:
        return x.new_ones(x.shape[1], UNITS)


class Literal(Cell):
    def first(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[1], UNITS)


class LeftOut(Cell):
    """The recurrent layer is not called before there are spikes."""

    def course(self, x: Tensor) -> list[Tensor]:
        told: list[Tensor] = []
        for step in x:
            current = self.fc(step)
            told.append(self.lif(current + self.rec(told[-1]) if told else current))
        return told


class AtTheEnd(Cell):
    """What comes back is computed at the end of each step, for the next one."""

    def course(self, x: Tensor) -> list[Tensor]:
        told: list[Tensor] = []
        back: Tensor | None = None
        for step in x:
            current = self.fc(step)
            told.append(self.lif(current if back is None else current + back))
            back = self.rec(told[-1])
        return told


class Delayed(Cell):
    """Spikes come back three steps later, from a list that begins with zeros."""

    def course(self, x: Tensor) -> list[Tensor]:
        told = [self.first(x)] * 3
        for step in x:
            told.append(self.lif(self.fc(step) + self.rec(told[-3])))
        return told[3:]


class Ring(Cell):
    """Spikes of two steps ago, from a buffer that is written into."""

    def course(self, x: Tensor) -> list[Tensor]:
        ring, told = x.new_zeros(2, x.shape[1], self.rec.in_features), []
        for number, step in enumerate(x):
            spikes = self.lif(self.fc(step) + self.rec(ring[number % 2]))
            ring[number % 2] = spikes
            told.append(spikes)
        return told


class Filtered(Cell):
    """A decaying sum of spikes comes back."""

    def course(self, x: Tensor) -> list[Tensor]:
        trace, told = self.first(x), []
        for step in x:
            told.append(self.lif(self.fc(step) + self.rec(trace)))
            trace = 0.5 * trace + told[-1]
        return told


class Shifted(Cell):
    """Spikes of a whole series one step later, zeros in front, feed a second layer."""

    def course(self, x: Tensor) -> list[Tensor]:
        first = torch.stack([self.lif(self.fc(step)) for step in x])
        later = torch.cat([self.first(x)[None], first[:-1]])
        return [self.rec(step) for step in later]


def of(topology: Topology, name: str = "rec") -> Projection:
    return topology.projections[name]


@pytest.mark.parametrize(
    ("cell", "calls", "starts", "lag"),
    [
        (Cell, 4, 0, 0), (Zeros, 4, 0, 0), (Expanded, 4, 0, 0), (LeftOut, 3, 1, 0), (AtTheEnd, 4, 0, 1),
        (Delayed, 4, 0, 0), (Filtered, 4, 0, 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("steps", [None, 4], ids=["series", "one picture, shown again"])
def test_a_loop_by_hand_is_understood(
    cell: Callable[..., Cell], calls: int, starts: int, lag: int, steps: int | None
) -> None:
    topology = discover(cell(steps), torch.rand(*((4,) if steps is None else ()), 2, INPUTS) * 3)
    assert [p.name for p in topology.free()] == ["fc"]
    rec, fc = of(topology), of(topology, "fc")
    assert (rec.calls, rec.loops, rec.starts, rec.lag) == (calls, calls, starts, lag)
    assert [(i.population, i.size) for i in rec.inflow] == [("fc", UNITS)]
    assert rec.site is not None
    assert rec.site == fc.site
    assert (rec.site.call, rec.site.calls, rec.site.steps) == (0, 1, 4)
    assert rec.positions == calls


@pytest.mark.parametrize("cell", [Cell, Zeros, LeftOut, AtTheEnd, Delayed, Filtered, Shifted])
def test_half_of_the_units_go_exactly(cell: Callable[..., Cell]) -> None:
    torch.manual_seed(0)
    net, x = cell().double(), torch.rand(5, 3, INPUTS, dtype=torch.float64) * 4
    with torch.no_grad():
        net.rec.weight.mul_(3.0)
    masks = half_dead(net, discover(net, x))
    small = snnprune.compact(net, masks)
    agreement = snnprune.verify(net, small, x)
    assert agreement.flipped == 0
    assert agreement.difference < 1e-9
    assert small.rec.in_features == small.fc.out_features == UNITS // 2


@pytest.mark.parametrize("cell", [Cell, LeftOut, AtTheEnd, Filtered])
def test_an_example_of_one_time_step_is_made_longer(cell: Callable[..., Cell]) -> None:
    topology = discover(cell(), torch.rand(1, 2, INPUTS) * 3)
    assert [p.name for p in topology.free()] == ["fc"]
    assert [i.population for i in of(topology).inflow] == ["fc"]
    assert topology.unreached == ()


def test_one_time_step_that_cannot_be_made_longer_freezes_by_name() -> None:
    class Once(Cell):
        def course(self, x: Tensor) -> list[Tensor]:
            assert len(x) == 1
            return super().course(x)

    frozen = discover(Once(), torch.rand(1, 2, INPUTS) * 3).populations["fc"].frozen
    assert "rec reads zeros in this forward" in str(frozen)
    assert "stand for these units before their first time step" in str(frozen)
    assert "at least two time steps" in str(frozen)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (Learned, "its first state is held, or is not zero"),
        (Ones, "or is not zero"),
        (Ring, "written into a part"),
    ],
)
def test_what_is_not_understood_is_frozen_by_name(cell: Callable[..., Cell], words: str) -> None:
    topology = discover(cell(), torch.rand(4, 2, INPUTS) * 3)
    assert topology.free() == []
    assert words in str(topology.populations["fc"].frozen)


def test_a_size_that_is_written_as_a_number_is_said_at_the_start() -> None:
    net = Literal()
    (said,) = masked_only(net, discover(net, torch.rand(4, 2, INPUTS) * 3))
    assert "can be masked but not compacted" in said
    assert "take sizes from what has these units" in said
    assert "self.rec.in_features" in said


def test_a_series_that_is_shifted_by_zeros_is_understood() -> None:
    topology = discover(Shifted(), torch.rand(4, 2, INPUTS) * 3)
    assert [p.name for p in topology.free()] == ["fc"]
    assert [i.population for i in of(topology).inflow] == ["fc"]


def test_zeros_beside_units_belong_to_no_population() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.act, self.out = nn.Linear(3, 5), nn.ReLU(), nn.Linear(9, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.act(self.fc(x))
            return self.out(torch.cat([x, hidden, x.new_zeros(len(x), 1)], 1))

    topology = discover(Padded(), torch.rand(2, 3))
    assert [p.name for p in topology.free()] == ["fc"]
    assert [(i.population, i.offset, i.size) for i in topology.projections["out"].inflow] == [("fc", 3, 5)]


class Potential(Cell):
    """The potential comes back in place of the spikes."""

    def course(self, x: Tensor) -> list[Tensor]:
        back, told = self.first(x), []
        for step in x:
            told.append(self.lif(self.fc(step) + self.rec(back)))
            back = self.lif.v.detach()
        return told


def test_a_potential_that_comes_back_is_named() -> None:
    reason = discover(Potential(), torch.rand(4, 2, INPUTS) * 3).populations["fc"].frozen
    assert reason == "rec reads the state of neuron lif: let it read the activity"


def test_other_populations_are_cut_where_a_first_state_has_a_size_of_its_own() -> None:
    class Behind(Literal):
        def __init__(self) -> None:
            super().__init__()
            self.out, self.act, self.last = nn.Linear(UNITS, 5), nn.ReLU(), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.act(super().forward(x)))

    torch.manual_seed(0)
    net, x = Behind().double(), torch.rand(4, 2, INPUTS).double() * 3
    topology = discover(net, x)
    assert [p.name for p in topology.free() if p.uncut] == ["fc"]
    with pytest.warns(UserWarning, match=r"fc stays whole.*self\.rec\.in_features"):
        small = snnprune.compact(net, half_dead(net, topology))
    assert (small.fc.out_features, small.out.out_features) == (UNITS, 3)


def container(inside: nn.Module, width: int, *, steps: str = "m", units: int = UNITS) -> nn.Module:
    return nn.Sequential(
        layer.LinearRecurrentContainer(inside, width, units, step_mode=steps),
        layer.Linear(units, 2, step_mode=steps),
    )


def test_a_container_behind_the_input_keeps_the_columns_of_the_input() -> None:
    inside = nn.Sequential(nn.Linear(INPUTS, UNITS), neuron.IFNode())
    topology = discover(container(inside, INPUTS), torch.rand(3, 2, INPUTS))
    assert [p.name for p in topology.free()] == ["0.sub_module.0"]
    assert [(i.population, i.offset, i.size) for i in of(topology, "0.rc").inflow] == [
        ("0.sub_module.0", INPUTS, UNITS)
    ]
    assert "no neuron module reads" in str(topology.populations["0.rc"].frozen)


def test_a_container_behind_a_layer_without_a_neuron_is_named() -> None:
    net = nn.Sequential(
        layer.Linear(INPUTS, UNITS, step_mode="m"), *container(neuron.IFNode(), UNITS).children()
    )
    reason = str(discover(net, torch.rand(3, 2, INPUTS)).populations["0"].frozen)
    assert reason == (
        "no neuron module reads 0 before 1.rc does, which feeds back: put a neuron between them"
    )


@pytest.mark.parametrize(("steps", "shape"), [("m", (3, 2)), ("m", (1, 2)), ("s", (2,))])
def test_a_container_around_neurons_is_one_population(steps: str, shape: tuple[int, ...]) -> None:
    net = container(neuron.IFNode(), UNITS, steps=steps)
    topology = discover(net, torch.rand(*shape, UNITS))
    assert [p.name for p in topology.free()] == ["0.rc"]
    assert [(i.population, i.offset) for i in of(topology, "0.rc").inflow] == [("0.rc", UNITS)]


def test_each_step_mode_of_a_recurrent_layer_is_the_same() -> None:
    for mode, shape in (("m", (3, 2)), ("s", (2,))):
        net = nn.Sequential(
            layer.Linear(INPUTS, UNITS, step_mode=mode), Recurrent(neuron.LIFNode(), UNITS, step_mode=mode),
            layer.Linear(UNITS, 2, step_mode=mode),
        )  # fmt: skip
        topology = discover(net, torch.rand(*shape, INPUTS))
        assert [p.name for p in topology.free()] == ["0"]
        assert topology.populations["0"].producers == ["0", "1.feedback"]


def test_layers_that_are_added_up_one_behind_another_are_no_time_steps() -> None:
    class Preactivated(nn.Module):
        """Residual layers behind one shared ReLU: each call has one layer more than the one before."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.out = (
                nn.Linear(3, 5),
                nn.Linear(5, 5),
                nn.Linear(5, 5),
                nn.Linear(5, 2),
            )
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            x = x + self.b(self.act(x))
            x = x + self.c(self.act(x))
            return self.out(self.act(x))

    topology = discover(Preactivated(), torch.rand(2, 3))
    sites = [topology.projections[name].site for name in "abc"]
    assert [(s.call, s.calls, s.steps) for s in sites if s] == [(0, 3, 1), (1, 3, 1), (2, 3, 1)]


class Pictures(nn.Module):
    """A convolution whose channels come back through another one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rec = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.bn, self.lif, self.out = nn.BatchNorm2d(6), neuron.LIFNode(v_threshold=0.3), nn.Linear(96, 3)

    def forward(self, x: Tensor) -> Tensor:
        spikes = x.new_zeros(x.shape[1], self.rec.in_channels, *x.shape[3:])
        outputs = []
        for step in x:
            spikes = self.lif(self.bn(self.conv(step)) + self.rec(spikes))
            outputs.append(self.out(spikes.flatten(1)))
        return torch.stack(outputs)


def test_channels_that_come_back_are_one_population() -> None:
    torch.manual_seed(0)
    net, x = Pictures().double(), torch.rand(4, 2, 2, 4, 4, dtype=torch.float64) * 3
    topology = discover(net, x)
    assert [p.name for p in topology.free()] == ["conv"]
    assert topology.populations["conv"].producers == ["conv", "rec"]
    seen: list[Tensor] = []
    handle = net.lif.register_forward_hook(lambda _m, _i, y: seen.append(y.detach().flatten(2).sum(2)))
    recorder = TraceRecorder(net.train(), topology, keep="series")
    net(x).sum().backward()
    handle.remove()
    found = recorder.batch()["rec"]
    recorder.close()
    functional.reset_net(net)
    assert torch.equal(found.pre, torch.stack([torch.zeros_like(seen[0]), *seen[:-1]]))
    assert bool(found.pre.any())
    masks = half_dead(net, topology)
    small = snnprune.compact(net, masks)
    agreement = snnprune.verify(net, small, x)
    assert agreement.flipped == 0
    assert agreement.difference < 1e-9
    assert small.rec.weight.shape[:2] == (3, 3)


def test_an_output_that_hears_itself_is_the_output() -> None:
    net = nn.Sequential(
        layer.Linear(INPUTS, UNITS, step_mode="m"), neuron.LIFNode(step_mode="m"),
        layer.Linear(UNITS, 3, step_mode="m"), Recurrent(neuron.LIFNode(), 3),
    )  # fmt: skip
    topology = discover(net, torch.rand(3, 2, INPUTS))
    assert [p.name for p in topology.free()] == ["0"]
    assert topology.populations["2"].frozen == OUTPUT
    assert [topology.projections[name].output for name in ("0", "2", "3.feedback")] == [False, True, True]


class Skips(nn.Module):
    """A loop that leaves its feedback out at the first step."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.rec = nn.Linear(20, 24, bias=False), nn.Linear(24, 24, bias=False)
        self.lif, self.out = neuron.LIFNode(), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        told, answers = None, []
        for step in x:
            told = self.lif(self.fc(step) if told is None else self.fc(step) + self.rec(told))
            answers.append(self.out(told))
        return torch.stack(answers)


@pytest.mark.parametrize(("steps", "calls"), [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("samples", [1, 2])
def test_feedback_that_one_step_does_not_show_has_macs(steps: int, calls: int, samples: int) -> None:
    topology = discover(Skips(), torch.rand(steps, samples, 20))
    macs = {name: p.positions * p.shape[0] * p.shape[1] for name, p in topology.projections.items()}
    assert macs == {"fc": steps * 480, "out": steps * 120, "rec": calls * 576}
