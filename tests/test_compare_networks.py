"""`snnprune.compare`: pruned networks beside their unpruned twins, in anybody's loop."""

import copy
import random

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import snnprune

LABELS = torch.arange(40) % 4


def one_hot(hits: int) -> nn.Linear:
    """Return a layer of 4 x 4 weights that answers ``hits`` of the four classes rightly."""
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4))
        layer.weight[hits:] = 0.0
        layer.weight[0, hits:] = 1.0
    return layer


def batches(size: int = 10) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(torch.eye(4)[LABELS].split(size), LABELS.split(size), strict=True))


def test_arithmetic_on_paper() -> None:
    """Three of four classes are right in the one, all in the other: 25 points less, on 40 samples."""
    found = snnprune.compare(one_hot(3), batches(), twin=one_hot(4))
    accuracy, weights = found.measures["accuracy"], found.measures["weights"]
    assert (accuracy.values, accuracy.twins, accuracy.difference.mean) == ((75.0,), (100.0,), -25.0)
    assert (weights.values, weights.twins) == ((4.0,), (4.0,))
    assert (found.samples, found.differ) == (40, 0.25)
    assert found.bootstrap.mean == -25.0
    assert -40 <= found.bootstrap.low < -25 < found.bootstrap.high < -10
    assert accuracy.verdict == "no difference shown"  # one seed says nothing about other seeds


def test_several_seeds_give_an_interval_and_a_verdict() -> None:
    models = [nn.Sequential(one_hot(hits)) for hits in (1, 2, 1, 2)]
    found = snnprune.compare(models, batches(), twin=[one_hot(4) for _ in models])
    accuracy = found.measures["accuracy"]
    assert accuracy.values == (25.0, 50.0, 25.0, 50.0)
    assert accuracy.difference.mean == -62.5
    assert accuracy.difference.high < 0
    assert accuracy.verdict == "worse"
    assert "4 seeds" in str(found)


def test_a_loader_that_shuffles_gives_the_same_samples_to_all() -> None:
    class Shuffled:
        def __iter__(self):
            order = batches(7)
            random.shuffle(order)
            return iter(order)

    found = snnprune.compare(one_hot(4), Shuffled(), twin=copy.deepcopy(one_hot(4)))
    assert found.differ == 0.0


def spiking(width: int) -> nn.Sequential:
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Linear(6, width), neuron.LIFNode(step_mode="m", v_threshold=0.1), nn.Linear(width, 4)
    )


@pytest.mark.parametrize("time_first", [True, False])
def test_spiking_networks_with_time_on_either_side(*, time_first: bool) -> None:
    class Turned(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.network(x)
            return out if time_first else out.transpose(0, 1)

    torch.manual_seed(0)
    loader = [(torch.rand(5, 8, 6), torch.randint(4, (8,))) for _ in range(3)]
    small, dense = Turned(spiking(10)), Turned(spiking(20))
    found = snnprune.compare(small, loader, twin=dense)
    by_hand = snnprune.compare(
        small.network,
        loader,
        twin=dense.network,
        forward=lambda network, x: (functional.reset_net(network), network(x).mean(0))[1],
    )
    assert found == by_hand
    assert found.measures["macs"].values == (5.0 * (6 * 10 + 10 * 4),)
    assert found.measures["macs"].twins == (5.0 * (6 * 20 + 20 * 4),)
    assert 0 < found.measures["synops"].values[0] < 5.0 * 10 * 4


def test_events_have_a_row_where_a_cell_has_several() -> None:
    torch.manual_seed(0)
    frames = torch.poisson(torch.full((5, 8, 6), 0.9))
    found = snnprune.compare(spiking(10), [(frames, torch.arange(8) % 4)], twin=spiking(20))
    several = (frames.sum() - (frames != 0).sum()) / 8
    by_events, by_cells = (found.measures[name].values[0] for name in ("synops_by_events", "synops"))
    assert by_events - by_cells == pytest.approx(10 * several)
    assert "SynOps by events, a sample" in str(found)
    found = snnprune.compare(spiking(10), [((frames > 0).float(), torch.arange(8) % 4)], twin=spiking(20))
    assert "by events" not in str(found)


def test_networks_are_as_they_were() -> None:
    model = nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 4)
    ).train()
    before = copy.deepcopy(model.state_dict())
    twin, state = one_hot(4), torch.random.get_rng_state()
    snnprune.compare(model, batches(), twin=twin)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("model", "loader", "options", "said"),
    [
        (one_hot(4), [], {}, "yields no batch"),
        (one_hot(4), [torch.eye(4)], {}, "batch 0 of the loader is a tensor"),
        (one_hot(4), [(torch.eye(4), torch.eye(4))], {}, "whole numbers"),
        ([one_hot(4)] * 2, batches(), {}, "as many networks as twins"),
        ("model", batches(), {}, "expected networks"),
        (one_hot(4), batches(), {"forward": lambda m, x: m(x).expand(10, 10, 4)}, "forward="),
    ],
)
def test_refusals(model: object, loader: list[object], options: dict[str, object], said: str) -> None:
    with pytest.raises(snnprune.UserError, match=said):
        snnprune.compare(model, loader, twin=one_hot(4), **options)


def test_an_input_may_be_a_tuple_and_a_refusal_leaves_no_hooks() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = one_hot(4)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.layer(x + y)  # type: ignore[no-any-return]

    model, zeros = Two(), torch.zeros(10, 4)
    found = snnprune.compare(model, [((x, zeros), labels) for x, labels in batches()], twin=Two())
    assert found.measures["accuracy"].values == (100.0,)
    broken = [*batches(), (torch.eye(4), torch.eye(4))]
    with pytest.raises(snnprune.UserError, match="batch 4 of the loader"):
        snnprune.compare(model.layer, broken, twin=one_hot(4))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
