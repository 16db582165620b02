"""Traces: arithmetic that fits on paper, and the recorder in every way that a network can be run."""

from __future__ import annotations

import copy
import gc
import warnings

import pytest
import torch
from spikingjelly.activation_based import functional, layer
from torch import nn
from torch.utils.checkpoint import checkpoint

from snnprune.network import discover
from snnprune.network.places import Layout
from snnprune.nn.fused import accelerate
from snnprune.pruning import Activity, TraceRecorder, spiking_trace
from snnprune.pruning.traces import sum_over_space
from support.hooks import hooks
from support.networks import conv_ann, conv_snn, lif


def test_trace_of_three_steps() -> None:
    spikes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    # 0.25 * 1 + 0.5 * 0 + 1;  0.5 * 1 + 1
    assert spiking_trace(spikes).tolist() == [1.25, 1.5]
    assert spiking_trace(spikes.to(torch.uint8)).tolist() == [1.25, 1.5]


def test_trace_of_one_step_is_the_activity() -> None:
    relu = torch.rand(1, 3, 4)
    assert torch.equal(spiking_trace(relu), relu[0])


def test_a_channel_sums_over_its_space() -> None:
    assert (
        sum_over_space(torch.ones(3, 2, 5, 4, 4), -3, Layout(1, 0)).tolist()
        == torch.full((3, 2, 5), 16.0).tolist()
    )
    assert sum_over_space(torch.ones(2, 7, 5), -1, Layout()).tolist() == torch.full((2, 5), 7.0).tolist()


def recorded(model: nn.Module, x: torch.Tensor, run: object = None) -> dict[str, Activity]:
    with TraceRecorderOf(model, x) as recorder:
        (run or model)(x)  # type: ignore[operator]
        return recorder.batch()


class TraceRecorderOf:
    def __init__(self, model: nn.Module, x: torch.Tensor, **keywords: object) -> None:
        self.recorder = TraceRecorder(model, discover(model, x), **keywords)  # type: ignore[arg-type]

    def __enter__(self) -> TraceRecorder:
        return self.recorder

    def __exit__(self, *_: object) -> None:
        self.recorder.close()


class Foreign(nn.Module):
    """A neuron of no library that is known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)


@pytest.fixture
def frames() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.poisson(torch.full((5, 3, 2, 12, 12), 0.4))


def test_multi_step_traces_are_the_equations(frames: torch.Tensor) -> None:
    torch.manual_seed(1)
    model = conv_snn()
    spikes = {}
    handles = [m.register_forward_hook(lambda m, i, o: spikes.__setitem__(m, (i[0], o))) for m in model]
    batch = recorded(model, frames)
    for handle in handles:
        handle.remove()
    assert set(batch) == {"0", "4", "9"}  # the output layer is frozen
    conv2, fc = batch["4"], batch["9"]
    assert torch.allclose(conv2.pre, spiking_trace(spikes[model[4]][0].sum((-1, -2))))
    assert torch.allclose(conv2.post, spiking_trace(spikes[model[6]][1].sum((-1, -2))))
    assert fc.pre.shape == (3, 54)
    assert torch.allclose(fc.pre, spiking_trace(spikes[model[9]][0]))
    assert torch.allclose(fc.post, spiking_trace(spikes[model[10]][1]))
    assert fc.post.sum() > 0


def test_single_step_and_folded_runs_give_the_same_traces(frames: torch.Tensor) -> None:
    torch.manual_seed(1)
    multi = conv_snn()
    single = conv_snn("s")
    single.load_state_dict(multi.state_dict())
    inner = conv_snn("m")
    inner.load_state_dict(multi.state_dict())
    folded = nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(2, 5, 3, padding=1)), inner[2],
        layer.SeqToANNContainer(nn.AvgPool2d(2), nn.Conv2d(5, 6, 3, padding=1)), inner[6],
        layer.SeqToANNContainer(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(54, 20)), inner[10],
        layer.SeqToANNContainer(nn.Linear(20, 4)), inner[12],
    )  # fmt: skip
    folded.load_state_dict(dict(zip(folded.state_dict(), multi.state_dict().values(), strict=True)))
    reference = recorded(multi, frames)
    with TraceRecorderOf(single, frames[0]) as recorder:
        for step in frames:
            single(step)
        by_steps = recorder.batch()
    by_folding = recorded(folded, frames)
    for theirs in (by_steps, by_folding):
        for ours, other in zip(reference.values(), theirs.values(), strict=True):
            assert torch.allclose(ours.pre, other.pre)
            assert torch.allclose(ours.post, other.post)


def test_a_loop_over_time_inside_the_model(frames: torch.Tensor) -> None:
    class Loop(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.net(step) for step in x]).mean(0)

    torch.manual_seed(1)
    multi = conv_snn()
    loop = Loop(conv_snn("s"))
    loop.net.load_state_dict(multi.state_dict())
    reference, ours = recorded(multi, frames), recorded(loop, frames)
    for one, other in zip(reference.values(), ours.values(), strict=True):
        assert torch.allclose(one.pre, other.pre)
        assert torch.allclose(one.post, other.post)


def test_ann_traces_are_the_relu_outputs() -> None:
    torch.manual_seed(0)
    model, x = conv_ann(), torch.rand(3, 2, 12, 12)
    batch = recorded(model, x)
    assert torch.allclose(batch["0"].post, model[2](model[1](model[0](x))).sum((-1, -2)), atol=1e-4)
    assert torch.allclose(batch["0"].pre, x.sum((-1, -2)))
    assert batch["8"].pre.shape == (3, 54)


def test_the_series_is_kept_where_asked(frames: torch.Tensor) -> None:
    torch.manual_seed(1)
    model = conv_snn()
    with TraceRecorderOf(model, frames, keep="series") as recorder:
        model(frames)
        series = recorder.batch()
    functional.reset_net(model)
    for name, activity in recorded(model, frames).items():
        assert series[name].pre.shape[:2] == (5, 3)
        assert torch.allclose(spiking_trace(series[name].post), activity.post)


def test_micro_batches_are_one_batch(frames: torch.Tensor) -> None:
    torch.manual_seed(1)
    model = conv_snn()
    whole = recorded(model, frames)
    functional.reset_net(model)
    with TraceRecorderOf(model, frames) as recorder:
        for part in (frames[:, :1], frames[:, 1:]):
            model(part)
            functional.reset_net(model)
        parts = recorder.batch()
        assert recorder.batch() == {}
    for name, activity in whole.items():
        assert torch.allclose(activity.post, parts[name].post)


def test_only_training_with_gradients_counts(frames: torch.Tensor) -> None:
    model = conv_snn()
    with TraceRecorderOf(model, frames) as recorder:
        with torch.no_grad():
            model(frames)
        functional.reset_net(model)
        model.eval()
        model(frames)
        assert recorder.batch() == {}


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_does_not_count_twice(reentrant: bool) -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = conv_ann()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.net, x, use_reentrant=reentrant)

    torch.manual_seed(0)
    model, x = Saving(), torch.rand(3, 2, 12, 12, requires_grad=True)
    with TraceRecorderOf(model, x.detach()) as recorder:
        model(x).sum().backward()
        batch = recorder.batch()
    assert all(a.post.shape[0] == 3 for a in batch.values())
    assert set(batch) == {"net.0", "net.4", "net.8"}


def test_states_carried_over_are_said_once(frames: torch.Tensor) -> None:
    model = conv_snn()
    with TraceRecorderOf(model, frames):
        model(frames)
        with pytest.warns(UserWarning, match="reset_net"):
            model(frames)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model(frames)


def held_tensors() -> dict[int, torch.Tensor]:
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # to look at every object is to touch deprecated ones
        return {id(t): t for t in gc.get_objects() if issubclass(type(t), torch.Tensor)}  # not proxies


def test_nothing_of_the_size_of_the_activity_is_kept(frames: torch.Tensor) -> None:
    model = conv_snn()
    with TraceRecorderOf(model, frames) as recorder:
        before = held_tensors()  # what other tests left behind is not ours
        model(frames).sum().backward()
        functional.reset_net(model)
        recorder.batch()
        smallest = 5 * 3 * 5 * 6 * 6  # of the activities behind a convolution, T x B x C x H x W
        parameters = {id(p.grad) for p in model.parameters()}
        new = [t for key, t in held_tensors().items() if key not in before and key not in parameters]
        assert not [t.shape for t in new if t.numel() >= smallest]


def test_hooks_are_gone_after_close(frames: torch.Tensor) -> None:
    model = conv_snn()
    recorder = TraceRecorder(model, discover(model, frames))
    assert hooks(model)
    recorder.close()
    assert not hooks(model)


def test_time_steps_of_foreign_neurons_that_are_called_from_outside_are_said_once() -> None:
    model = nn.Sequential(nn.Linear(3, 4), Foreign(), nn.Linear(4, 2))
    x = torch.rand(2, 3)
    recorder = TraceRecorder(model, discover(model, x, neurons=(Foreign,)))
    for _ in range(2):  # micro-batches: a forward, a backward
        model(x).sum().backward()
    recorder.batch()

    def loop() -> None:
        sum(model(x) for _ in range(3)).sum().backward()
        recorder.batch()

    with pytest.warns(UserWarning, match=r"neurons of class Foreign .* loop over time inside") as told:
        loop()
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop()


def test_a_copy_of_a_hooked_network_leaves_no_trace() -> None:
    model, x = conv_ann(), torch.rand(3, 2, 12, 12)
    recorder = TraceRecorder(model, discover(model, x))
    copy.deepcopy(model)(x).sum().backward()
    assert not recorder.holds_activity
    model(x)
    assert recorder.holds_activity


def test_fused_layers_count_on_the_way() -> None:
    """With convolution, neurons and pool as one pass, 17 x 17 to 8 x 8, traces are those of the hooks."""
    found = []
    for fast in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(
            layer.Conv2d(2, 5, 3, padding=1), lif(), layer.AvgPool2d(2), layer.Conv2d(5, 4, 3), lif(),
            layer.Flatten(), layer.Linear(4 * 36, 3), lif(),
        )  # fmt: skip
        functional.set_step_mode(model, "m")
        if fast:
            accelerate(model)
        x = torch.poisson(torch.ones(4, 3, 2, 17, 17), torch.Generator().manual_seed(1))
        recorder = TraceRecorder(model, discover(model, x))
        model(x).sum().backward()
        found.append(recorder.batch())
    for name, activity in found[0].items():
        torch.testing.assert_close(activity.pre, found[1][name].pre, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(activity.post, found[1][name].post, rtol=1e-6, atol=1e-6)
    assert found[0]["0"].post.sum() > 4 * found[0]["3"].pre.sum() > 0  # the rim fires and is in no average
