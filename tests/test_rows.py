"""Samples and time in one axis of rows: found out, and recorded as if each had its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_any_loop import SPIKE, Own, OwnBatchFirst, Recorded, lif, traced
from test_neurons_asked import STEPS, mlp, small
from torch import Tensor, nn

from snnprune.pruning import Pruner


class Rows(nn.Module):
    """Takes samples and time in one axis: its steps or its samples are fixed, the other follows."""

    def __init__(self, *, steps: int = -1, samples: int = -1, by_sample: bool = True) -> None:
        super().__init__()
        self.shape = (samples, steps) if by_sample else (steps, samples)
        self.by_sample = by_sample

    def forward(self, x: Tensor) -> Tensor:
        series = x.unflatten(0, self.shape)
        series = series.transpose(0, 1) if self.by_sample else series
        v, out = torch.zeros_like(series[0]), []
        for step in series:
            v = v + (step - v) / 2
            out.append(SPIKE(v - 0.3))
            v = v * (1 - out[-1])
        spikes = torch.stack(out)
        return (spikes.transpose(0, 1) if self.by_sample else spikes).flatten(0, 1)


@pytest.mark.parametrize("example", [1, 3])
@pytest.mark.parametrize("by_sample", [True, False])
@pytest.mark.parametrize("fixed", ["steps", "samples"])
def test_rows_divide_into_samples_and_steps(fixed: str, example: int, by_sample: bool) -> None:
    samples = 6 if fixed == "steps" else example  # another number than in the example, where it may be
    rows: dict[str, Any] = {"steps": {"steps": STEPS}, "samples": {"samples": example}}[fixed]
    net = mlp(Rows(**rows, by_sample=by_sample), Rows(**rows, by_sample=by_sample))
    method = Recorded("trace")
    pruner = Pruner(net, torch.rand(STEPS * example, 20) * 3, method, epochs=2, neurons=(Rows,))
    assert [p.positions for p in pruner.topology.projections.values()] == [STEPS] * 3
    seen: list[Tensor] = []
    net[1].register_forward_hook(lambda m, a, y: seen.append(y.detach()))
    series = torch.rand(STEPS, samples, 20, generator=torch.Generator().manual_seed(1)) * 3
    order = [1, 0] if by_sample else [0, 1]
    net(series.permute(*order, 2).flatten(0, 1)).square().mean().backward()
    pruner.step()
    spikes = seen[0].unflatten(0, (samples, STEPS) if by_sample else (STEPS, samples)).permute(*order, 2)
    torch.testing.assert_close(method.batches[0]["0"].pre, traced(series))
    torch.testing.assert_close(method.batches[0]["0"].post, traced(spikes))
    torch.testing.assert_close(method.batches[0]["2"].pre, traced(spikes))


def test_a_network_that_folds_its_rows_is_cut() -> None:
    agreement = small(mlp(Rows(steps=STEPS), Rows(steps=STEPS)), torch.rand(3 * STEPS, 20) * 3, (Rows,))
    assert agreement.flipped == 0
    assert agreement.difference < 1e-5


class Apart(nn.Module):
    """Gives rows two axes."""

    def __init__(self, shape: tuple[int, int], *, turned: bool) -> None:
        super().__init__()
        self.shape, self.turned = shape, turned

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(0, self.shape)
        return x.transpose(0, 1) if self.turned else x


class Together(nn.Module):
    def __init__(self, *, turned: bool) -> None:
        super().__init__()
        self.turned = turned

    def forward(self, x: Tensor) -> Tensor:
        return (x.transpose(0, 1) if self.turned else x).flatten(0, 1)


@pytest.mark.parametrize("by_sample", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_rows_that_the_network_itself_divides(by_sample: bool, batch_first: bool) -> None:
    samples, turned = 3, by_sample != batch_first
    shape = (samples, STEPS) if by_sample else (STEPS, samples)
    kind = OwnBatchFirst if batch_first else Own
    net = nn.Sequential(
        nn.Linear(20, 16), Apart(shape, turned=turned), kind(), Together(turned=turned), nn.Linear(16, 4)
    )
    method = Recorded("trace")
    series = torch.rand(STEPS, samples, 20, generator=torch.Generator().manual_seed(1)) * 3
    x = (series.transpose(0, 1) if by_sample else series).flatten(0, 1)
    pruner = Pruner(net, x, method, epochs=2, neurons=(kind,))
    net(x).square().mean().backward()
    pruner.step()
    torch.testing.assert_close(method.batches[0]["0"].pre, traced(series))


class Stepwise(nn.Module):
    """Applies a layer to one time step after the other."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.inner(step) for step in x])


@pytest.mark.parametrize("example", [1, STEPS])
def test_a_layer_that_is_called_step_by_step_before_a_neuron_of_whole_series(example: int) -> None:
    net = nn.Sequential(Stepwise(nn.Linear(20, 16)), lif("m"), Stepwise(nn.Linear(16, 4)))
    method = Recorded("trace")
    x = torch.rand(STEPS, 3, 20, generator=torch.Generator().manual_seed(1)) * 3
    pruner = Pruner(net, x[:example], method, epochs=2)
    net(x).square().mean().backward()
    pruner.step()
    torch.testing.assert_close(method.batches[0]["0.inner"].pre, traced(x))
