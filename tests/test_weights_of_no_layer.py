"""Weights that no projection holds are counted, and stay: inside neurons, in recurrent layers, used alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_any_loop import SPIKE, Recorded
from torch import Tensor, nn

import snnprune
from snnprune.export.measure import alive
from snnprune.network import discover
from snnprune.network.cost import rates
from snnprune.network.synops import SpikeCounter
from snnprune.pruning import Pruner
from support.families import half_dead


class Recurrent(nn.Module):
    """One time step; what it fired comes back to it through a layer of its own."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.feedback = nn.Linear(units, units)

    def forward(self, x: Tensor, spikes: Tensor | None = None) -> Tensor:
        given = x if spikes is None else x + self.feedback(spikes)
        return SPIKE(given - 0.3)


class Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 12)
        self.neuron, self.out = Recurrent(12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        spikes, outputs = None, []
        for step in x:
            spikes = self.neuron(self.fc2(self.act(self.fc1(step))), spikes)
            outputs.append(self.out(spikes))
        return torch.stack(outputs)


class Between(nn.Module):
    """Something between two layers that are understood: 20-16 before it, 16-3 behind it."""

    def __init__(self, middle: Any, call: Any) -> None:
        super().__init__()
        self.fc, self.act, self.middle, self.call = nn.Linear(20, 16), nn.ReLU(), middle, call
        self.out = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.call(self.middle, self.act(self.fc(x))))
        return out


class Matrix(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.rand(16, 16))


def test_a_layer_inside_a_neuron_is_counted_and_reached() -> None:
    found = discover(Loop(), torch.rand(4, 2, 20), neurons=(Recurrent,))
    (own,) = found.others
    assert (own.key, own.size) == ("neuron.feedback.weight", 144)
    assert own.macs == 3 * 144  # of four steps the first has nothing to come back
    assert found.unreached == ()
    assert found.populations["fc2"].frozen == "neuron neuron holds a layer of its own (feedback)"
    assert rates(found).weights_dense == 20 * 16 + 16 * 12 + 144 + 12 * 3
    assert rates(found).macs_dense == 4 * (20 * 16 + 16 * 12 + 12 * 3) + 3 * 144
    assert "neuron.feedback.weight (144)" in str(found)


@pytest.mark.parametrize(
    ("middle", "call", "size", "macs"),
    [
        (lambda: nn.GRU(16, 16, batch_first=True), lambda m, x: m(x)[0], 2 * 3 * 256, 5 * 2 * 3 * 256),
        (
            lambda: nn.MultiheadAttention(16, 2, batch_first=True), lambda m, x: m(x, x, x)[0],
            4 * 256, 5 * 4 * 256,
        ),
        (Matrix, lambda m, x: F.linear(x, m.w), 256, 5 * 256),
        (Matrix, lambda m, x: torch.einsum("bti,oi->bto", x, m.w), 256, 5 * 256),
        (lambda: nn.Bilinear(16, 16, 16), lambda m, x: m(x, x), 16 * 256, 5 * 16 * 256),
    ],
)  # fmt: skip
def test_what_activity_is_multiplied_with_counts(middle: Any, call: Any, size: int, macs: int) -> None:
    found = discover(Between(middle(), call), torch.rand(2, 5, 20))
    assert sum(w.size for w in found.others) == size
    assert sum(w.macs for w in found.others) == macs
    assert found.unreached == ()


def test_a_target_is_a_share_of_all_weights() -> None:
    net, x = Loop(), torch.rand(4, 2, 20)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with Pruner(net, x, "magnitude", epochs=4, target=0.3, neurons=(Recurrent,)) as pruner:
        for _ in range(4):
            net(x).square().mean().backward()
            optimizer.step()
            pruner.step(optimizer)
            pruner.end_epoch()
    assert pruner.rates().synapses == pytest.approx(0.3, abs=0.01)


def test_what_stays_is_named_where_a_target_is_out_of_reach() -> None:
    middle = nn.GRU(16, 16, batch_first=True)  # 1,536 of 1,904 weights
    with pytest.raises(
        snnprune.UserError, match=r"weights of no layer \(80\.7% of the weights\) are kept whole"
    ):
        Pruner(Between(middle, lambda m, x: m(x)[0]), torch.rand(2, 5, 20), "magnitude", epochs=2, target=0.9)


def test_a_forward_that_is_looked_at_twice_is_counted_once() -> None:
    class Delayed(Recurrent):
        """Its layer is never called."""

        def forward(self, x: Tensor, spikes: Tensor | None = None) -> Tensor:
            return SPIKE(x - 0.3)

    net, x = Loop(), torch.rand(4, 2, 20) * 3
    net.neuron = Delayed(12)
    method = Recorded("trace")
    pruner = Pruner(net, x, method, epochs=2, neurons=(Delayed,))
    site = pruner.topology.projections["fc1"].site
    assert site is not None
    assert site.steps == 4


# --- transposed convolutions


def decoder() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, stride=2), nn.ReLU(),
        nn.Conv2d(6, 5, 3), nn.ReLU(), nn.ConvTranspose2d(5, 3, 2, stride=2),
    )  # fmt: skip


def test_what_a_transposed_convolution_reads_is_pruned() -> None:
    net, x = decoder(), torch.rand(2, 2, 6, 6)
    found = discover(net, x)
    assert [p.name for p in found.free()] == ["0", "4"]
    assert found.projections["2"].shape == (6, 8, 2, 2)
    assert found.projections["2"].inflow[0].population == "0"
    masks = half_dead(net, found)
    assert int(masks.alive(found.projections["2"]).sum()) == 6 * 4 * 4
    small = snnprune.compact(net, masks)
    assert (small[2].in_channels, small[2].out_channels) == (4, 6)
    assert tuple(small[2].weight.shape) == (4, 6, 2, 2)
    assert snnprune.verify(net, small, x).difference < 1e-5
    again = discover(small, x)
    assert again.projections["2"].shape == (6, 4, 2, 2)


def test_masks_and_counts_of_a_transposed_convolution_have_its_axes() -> None:
    net, x = decoder(), torch.rand(2, 2, 6, 6)
    with Pruner(net, x, "magnitude", epochs=2, target=0.2) as pruner:
        pruner.masks.keep_units(pruner.topology.populations["0"], torch.arange(8) < 5)
        pruner.masks.refresh()
        pruner.masks.apply()
        pruner.compact()
        mask = pruner.dense_masks()["synapses"]["2"]
        assert mask.shape == (6, 8, 2, 2)
        assert mask[:, :5].all()
        assert not mask[:, 5:].any()
        with SpikeCounter(net, pruner.topology) as counter, torch.no_grad():
            net.eval()(x)
        assert counter.operations(2, alive(pruner)).layers["2"].macs == 36 * 5 * 6 * 4


# --- how layers are called, and in which numbers


class Keywords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.act, self.out = nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(input=self.act(input=self.fc(input=x)))
        return out


def test_layers_that_are_called_by_keyword_are_recorded() -> None:
    net, x, method = Keywords(), torch.rand(4, 20), Recorded("trace")
    pruner = Pruner(net, x, method, epochs=2)
    net(x).sum().backward()
    pruner.step()
    torch.testing.assert_close(method.batches[0]["fc"].pre, x)
    with SpikeCounter(net, pruner.topology) as counter, torch.no_grad():
        net.eval()(x)
    assert counter.operations(4).layers["fc"].macs == 320


class Doubling(nn.Module):
    """Fires in single precision, whatever it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return SPIKE(x - 0.1).float()


@pytest.mark.parametrize("method", ["dpap", "hebb"])
def test_both_sides_of_a_projection_are_numbers_of_one_kind(method: str) -> None:
    class Mixed(Keywords):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.out(self.act(self.fc(x)).double())
            return out

    net = Mixed().double()
    net.act = Doubling()
    x = torch.rand(4, 20, dtype=torch.float64)
    pruner = Pruner(net, x, method, epochs=2, target=0.2, neurons=(Doubling,))
    net(x).sum().backward()
    pruner.step()
    pruner.end_epoch()
