"""Layers in place of torch's `nn.RNN` and `nn.RNNCell`: they answer the same, and their units are free."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import snnprune
from snnprune.common.errors import UserError
from snnprune.export import connections
from snnprune.export.step import Step
from snnprune.network import discover
from snnprune.nn import RNN, RNNCell
from snnprune.pruning import TraceRecorder
from support.families import Family, half_dead
from support.loops import (
    Loop,
    assert_a_resumed_run_is_the_same,
    assert_the_dead_are_zero,
    difference,
    equal,
    sgd,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Words(nn.Module):
    """A recurrent network and a readout, of all time steps or of the last states."""

    def __init__(self, rnn: Any, width: int = 10, *, last: bool = False) -> None:
        super().__init__()
        self.rnn, self.out, self.last = rnn, nn.Linear(width, 4), last

    def forward(self, x: Tensor) -> Tensor:
        y, h = self.rnn(x)
        scores: Tensor = self.out(h[-1] if self.last else y)
        return scores


class ByHand(nn.Module):
    """A cell that is called at each time step, and hands itself what it said."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.out = cell, nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        h, scores = None, []
        for step in x:
            h = self.cell(step, h)
            scores.append(self.out(h))
        return torch.stack(scores)


class Behind(nn.Module):
    """Two networks of one layer, one behind the other."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = RNN(6, 10, 1, "relu"), RNN(10, 8, 1, "relu"), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.b(self.a(x)[0])[0])
        return scores


class Fed(nn.Module):
    """A layer in front of a network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.fc, self.act, self.net = nn.Linear(3, 6), nn.ReLU(), net

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(self.act(self.fc(x)))
        return scores


def _family(name: str, build: Callable[[], nn.Module], free: int = 1) -> tuple[str, Family]:
    return name, Family(name, build, (6,), free, "m")


FAMILIES = dict(
    (
        _family("one layer", lambda: Words(RNN(6, 10, 1, "relu"))),
        _family("last states, no bias", lambda: Words(RNN(6, 10, 1, "relu", False), last=True)),
        _family("two layers", lambda: Words(RNN(6, 10, 2, "relu", dropout=0.2))),
        _family("both directions", lambda: Words(RNN(6, 10, 2, "relu", bidirectional=True), 20)),
        _family("batch first", lambda: Words(RNN(6, 10, 1, "relu", batch_first=True))),
        _family("cell", lambda: ByHand(RNNCell(6, 10, nonlinearity="relu"))),
        _family("one behind the other", Behind, 2),
        _family("tanh", lambda: Words(RNN(6, 10))),
    )
)
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())


# --- the same as torch's


@pytest.mark.parametrize("kind", ["relu", "tanh"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_answers_are_those_of_torch_bit_for_bit(kind: Any, layers: int, bias: bool) -> None:
    for first, ways, given in itertools.product((True, False), (1, 2), (True, False)):
        arguments = 6, 10, layers, kind, bias, first, 0.4 * (layers > 1), ways == 2
        torch.manual_seed(1)
        theirs = nn.RNN(*arguments)
        torch.manual_seed(1)
        networks = theirs, RNN(*arguments), RNN.of(theirs), RNN.of(theirs).to_torch()
        x, h = torch.randn(5, 4, 6), torch.rand(layers * ways, 5 if first else 4, 10)
        answers = []
        for net in networks:
            torch.manual_seed(2)  # of dropout
            answers.append(net(x, h if given else None))
        for y, last in answers[1:]:
            assert torch.equal(y, answers[0][0])
            assert torch.equal(last, answers[0][1])


def test_gradients_are_those_of_torch() -> None:
    torch.manual_seed(0)
    theirs = nn.RNN(6, 10, 2, "relu").double()
    ours, x = RNN.of(theirs), torch.randn(5, 4, 6, dtype=torch.float64)
    for net in (theirs, ours):
        net(x)[0].square().sum().backward()
    names = {
        "weight_ih_l1": "cells.1.ih.weight",
        "weight_hh_l0": "cells.0.hh.weight",
        "bias_hh_l0": "cells.0.hh.bias",
    }
    for name, own in names.items():
        expected, came = theirs.get_parameter(name).grad, ours.get_parameter(own).grad
        assert expected is not None
        assert came is not None
        assert torch.allclose(expected, came, rtol=0, atol=1e-12)


def test_a_cell_and_a_sample_alone_answer_as_those_of_torch() -> None:
    cell, rnn = nn.RNNCell(6, 10, nonlinearity="relu"), nn.RNN(6, 10, 2, "relu", batch_first=True)
    x, h = torch.randn(4, 6), torch.rand(4, 10)
    ours = RNNCell.of(cell)
    assert torch.equal(ours(x, h), cell(x, h))
    assert torch.equal(ours(x[0]), cell(x[0]))
    assert all(map(torch.equal, RNN.of(rnn)(x), rnn(x)))
    assert all(map(torch.equal, RNN.of(rnn)(x, h[:2]), rnn(x, h[:2])))


def test_weights_are_copies_and_what_does_not_learn_does_not() -> None:
    theirs = nn.RNN(6, 10, dtype=torch.float64).eval()
    theirs.weight_ih_l0.requires_grad_(False)
    ours = RNN.of(theirs)
    assert not ours.training
    assert [p.requires_grad for p in ours.parameters()] == [False, True, True, True]
    assert {p.dtype for p in ours.parameters()} == {torch.float64}
    with torch.no_grad():
        ours.get_parameter("cells.0.hh.weight").zero_()
    assert theirs.weight_hh_l0.any()


class Own(nn.RNN):
    """Somebody's own."""


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: RNN.of(nn.LSTM(6, 10)), r"takes over torch's own nn\.RNN, and was given the class LSTM"),
        (lambda: RNN.of(Own(6, 10)), "given the class Own"),
        (
            lambda: RNNCell.of(nn.GRUCell(6, 10)),
            r"takes over torch's own nn\.RNNCell, and was given the class GRUCell",
        ),
        (lambda: RNN(6, 10)(pack_sequence([torch.rand(3, 6)])), "takes a tensor, and got a PackedSequence"),
        (lambda: RNN(6, 10)(torch.rand(3, 2, 5)), r"expects \[T, B, 6\] or \[T, 6\], and got \[3, 2, 5\]"),
        (lambda: RNN(6, 10)(torch.rand(0, 2, 6)), r"got \[0, 2, 6\]"),
        (
            lambda: RNN(6, 10)(torch.rand(3, 2, 6), torch.rand(1, 3, 10)),
            r"are \[1, 2, 10\], and came as \[1, 3",
        ),
    ],
)
def test_what_is_not_the_same_is_refused(call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        call()


# --- what is found


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        (nn.RNN(6, 10, 1, "relu"), "recurrent layer net.rnn: snnprune.nn.RNN.of(net.rnn) answers the same"),
        (nn.RNN(6, 10), "snnprune.nn.RNN.of(net.rnn)"),
        (nn.LSTM(6, 10), "layer net.rnn, and what LSTM hands out does not say how active its units are"),
        (nn.GRU(6, 10), "what GRU hands out does not say how active its units are"),
        (Own(6, 10), "what Own hands out does not say how active its units are"),
    ],
)  # fmt: skip
def test_torchs_own_are_kept_whole_and_the_sentence_names_what_is_free(
    kept: nn.Module, sentence: str
) -> None:
    topology = discover(Fed(Words(kept)), torch.rand(3, 2, 3))
    assert topology.free() == []
    assert sentence in str(topology.populations["fc"].frozen)


def test_a_cell_of_torch_names_what_is_free() -> None:
    topology = discover(Fed(ByHand(nn.RNNCell(6, 10))), torch.rand(3, 2, 3))
    assert "snnprune.nn.RNNCell.of(net.cell) answers the same" in str(topology.populations["fc"].frozen)


@every_family
def test_units_are_free(family: Family) -> None:
    topology = discover(family.network("m"), family.example("m"))
    assert len(topology.free()) == family.free
    assert [p.name for p in topology.populations.values() if p.frozen] == ["out"]
    assert all(p.uncut is None and not p.whole for p in topology.free())


def test_a_unit_owns_its_rows_its_column_and_those_of_what_reads_it() -> None:
    topology = discover(FAMILIES["two layers"].network("m"), torch.rand(3, 2, 6))
    [population] = topology.free()
    cells = ("rnn.cells.0", "rnn.cells.1")
    assert {(s.key, s.axis, s.role) for s in population.slots} == {
        *(
            (f"{c}.{i}.{tensor}", 0, "out")
            for c in cells
            for i in ("ih", "hh")
            for tensor in ("weight", "bias")
        ),
        *((f"{c}.hh.weight", 1, "in") for c in cells),
        ("rnn.cells.1.ih.weight", 1, "in"),
        ("out.weight", 1, "in"),
    }
    for name in ("rnn.cells.0.ih", "rnn.cells.0.hh"):
        assert topology.projections[name].neuron == "rnn.cells.0.act"


def test_a_first_state_of_zeros_is_none_and_one_that_learns_keeps_it_whole() -> None:
    class Begins(Words):
        def __init__(self, rnn: RNN) -> None:
            super().__init__(rnn)
            self.register_parameter("first", None)

        def forward(self, x: Tensor) -> Tensor:
            h = x.new_zeros(1, x.shape[1], self.rnn.hidden_size) if self.first is None else self.first
            scores: Tensor = self.out(self.rnn(x, h.expand(1, x.shape[1], -1))[0])
            return scores

    net = Begins(RNN(6, 10, nonlinearity="relu"))
    x = torch.rand(3, 2, 6)
    assert [p.name for p in discover(net, x).free()] == ["rnn.cells.0.ih"]
    net.first = nn.Parameter(torch.rand(1, 1, 10))
    assert discover(net, x).free() == []


# --- masked, compacted, cut while it trains


@every_family
def test_masked_and_compacted_say_the_same_and_sizes_follow(family: Family) -> None:
    net = family.network("m").double().eval()
    x = family.example("m", steps=5, batch=4).double()
    masks = half_dead(net, discover(net, family.example("m").double()))
    small = snnprune.compact(net, masks)
    agreement = snnprune.verify(net, small, x)
    assert agreement.difference < 1e-9
    assert all(layer.difference < 1e-9 for layer in agreement.layers.values())
    assert not torch.allclose(net(x), net(x.flip(0)))  # what units hold says something
    for whole, cut in zip(net.modules(), small.modules(), strict=True):
        if isinstance(whole, RNN) and isinstance(cut, RNN):
            assert cut.hidden_size == whole.hidden_size // 2
            assert torch.equal(cut.to_torch()(y := torch.rand(3, 2, cut.input_size).double())[0], cut(y)[0])


def test_a_state_that_the_network_holds_between_calls_is_that_of_the_units_left() -> None:
    class Holds(Words):
        h: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            y, last = self.rnn(x, self.h)
            self.h = last.detach()
            scores: Tensor = self.out(y)
            return scores

    torch.manual_seed(0)
    net, x = Holds(RNN(6, 10, nonlinearity="relu")).double(), torch.rand(3, 2, 6, dtype=torch.float64)
    small = snnprune.compact(net, half_dead(net, discover(net, x)))
    first, second = ([one(x) for _ in range(2)] for one in (net, small))
    assert all((a - b).abs().max() < 1e-9 for a, b in zip(first, second, strict=True))
    assert not torch.allclose(first[0], first[1])  # the state says something


@pytest.mark.parametrize(
    ("name", "method", "optimiser"),
    [("two layers", "dpap", None), ("both directions", "bdnn-sp", sgd), ("cell", "magnitude", None)],
)
def test_live_compaction_is_masking(name: str, method: str, optimiser: Any) -> None:
    own: dict[str, Any] = {} if optimiser is None else {"optimiser": optimiser}
    if method == "magnitude":
        own |= {"unit": "both"}
    masked, live = (
        Loop(FAMILIES[name], "m", method, epochs=7, **own, **options).epochs(0, 5, 2)
        for options in ({}, {"compact_every": 2})
    )
    assert all(map(equal, masked.masks, live.masks))
    assert difference(masked, live) < 1e-9
    assert any(after < before for before, after in itertools.pairwise(live.sizes))


@pytest.mark.parametrize("optimiser", [None, sgd])
def test_the_dead_stay_zero(optimiser: Any) -> None:
    own: dict[str, Any] = {} if optimiser is None else {"optimiser": optimiser}
    run = Loop(FAMILIES["two layers"], "m", "bdnn-sp", epochs=7, **own).epochs(0, 3, 2)
    for batch in range(5):
        run.step(3, batch)
    assert_the_dead_are_zero(run)


def test_a_resumed_run_is_the_same_run() -> None:
    assert_a_resumed_run_is_the_same(FAMILIES["two layers"])


@pytest.mark.parametrize("name", ["both directions", "cell"])
def test_a_saved_network_comes_back(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    net = family.network("m").double()
    small = snnprune.compact(net, half_dead(net, discover(net, family.example("m").double()))).eval()
    snnprune.save(small, tmp_path / "net")
    back = snnprune.load(tmp_path / "net", lambda: family.newborn("m").double())
    x = family.example("m").double()
    assert torch.equal(back.eval()(x), small(x))


def test_exports_refuse_it(tmp_path: Path) -> None:
    net = FAMILIES["one layer"].network("m")
    with pytest.raises(UserError, match=r"one time step .* 'rnn' \(RNN\)"):  # ONNX
        Step(net)
    with pytest.raises(UserError, match="forward of Words cannot be followed"):
        connections.write(net, tmp_path / "net")
    assert not list(tmp_path.iterdir())


# --- traces


def test_what_arrives_through_the_feedback_is_what_was_said_one_step_before() -> None:
    net = Words(RNN(6, 10, 1, "relu")).double()
    x = torch.rand(3, 2, 6, dtype=torch.float64)
    recorder = TraceRecorder(net, discover(net, x), tau=0.5)
    net(x).sum().backward()
    batch = recorder.batch()
    recorder.close()
    h = net.rnn(x)[0].detach()
    own, before, given = (
        sum(0.5 ** (2 - t) * s[t] for t in range(3)) for s in (h, torch.cat([h[:1] * 0, h]), x)
    )
    for name, pre in (("ih", given), ("hh", before)):
        assert torch.allclose(batch[f"rnn.cells.0.{name}"].post, own, atol=1e-12)
        assert torch.allclose(batch[f"rnn.cells.0.{name}"].pre, pre, atol=1e-12)
