"""Fused neurons that are wired to themselves: the spikes and traces of the plain loop, bit for bit."""

from __future__ import annotations

import copy
import io
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import snnprune
from snnprune.common.errors import UserError
from snnprune.nn.fused import recurrence
from snnprune.nn.fused import recurrent as fused
from snnprune.nn.models.adaptive import AdaptiveLIFNode
from snnprune.nn.models.heterogeneous import HeterogeneousLIFNode
from snnprune.nn.models.integrator import LeakyIntegrator
from snnprune.nn.recurrent import Recurrent
from snnprune.pruning import TraceRecorder
from snnprune.pruning.traces import spiking_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 6
NEURONS: dict[str, Callable[[], nn.Module]] = {
    "rectangle": lambda: neuron.LIFNode(v_threshold=0.6, surrogate_function=surrogate.Rect()),
    "soft reset": lambda: neuron.LIFNode(v_threshold=0.6, v_reset=None),
    "reset detached": lambda: neuron.LIFNode(tau=3.3, decay_input=False, detach_reset=True, v_reset=-0.1),
    "arctangent": lambda: neuron.LIFNode(v_threshold=0.4, surrogate_function=surrogate.ATan()),
    "own decays": lambda: HeterogeneousLIFNode(SIZE),
    "own decays, detached": lambda: HeterogeneousLIFNode(SIZE, detach_reset=True),
    "adaptive": AdaptiveLIFNode,
    "adaptive, own decays": lambda: AdaptiveLIFNode(SIZE, detach_reset=True),
}


@pytest.fixture(autouse=True)
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Note the steps of each fused forward."""
    seen: list[int] = []
    plain = recurrence.run

    def run(x: Tensor, *args: Any) -> Tensor:
        seen.append(len(x))
        return plain(x, *args)

    monkeypatch.setattr(recurrence, "run", run)
    return seen


def wired(neurons: nn.Module, size: int = SIZE, dtype: torch.dtype = torch.float64) -> Recurrent:
    made = Recurrent(neurons, size).to(dtype)
    nn.init.normal_(made.feedback.weight, std=0.5, generator=torch.Generator().manual_seed(2))
    return made


def current(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


def both(made: nn.Module) -> tuple[nn.Module, nn.Module]:
    return made, snnprune.accelerate(copy.deepcopy(made))


def states(net: nn.Module) -> list[Tensor]:
    return [m for m in functional_memories(net) if isinstance(m, Tensor)]


def functional_memories(net: nn.Module) -> Iterator[Any]:
    for module in net.modules():
        yield from getattr(module, "_memories", {}).values()


def answers(net: nn.Module, x: Tensor, *parts: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return spikes and last states, and gradients of a weighted sum of all; calls take ``parts`` steps."""
    x = x.detach().clone().requires_grad_()
    s = torch.cat([net(part) for part in x.split(list(parts) or [len(x)])])
    found = [s, *states(net)]
    loss = sum((one * current(*one.shape, dtype=one.dtype, seed=7 + n)).sum() for n, one in enumerate(found))
    net.zero_grad()
    loss.backward()  # type: ignore[union-attr]
    gradients = [x.grad, *(p.grad for p in net.parameters())]
    return [one.detach() for one in found], [g for g in gradients if g is not None]


def assert_same(one: Any, other: Any, within: float = 1e-12) -> None:
    assert 0 < one[0][0].mean() < 1
    for a, b in zip(one[0], other[0], strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    for a, b in zip(one[1], other[1], strict=True):
        assert (a - b).abs().max() <= within * a.abs().max()


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_same_as_step_by_step(name: str, dtype: torch.dtype, within: float, runs: list[int]) -> None:
    torch.manual_seed(0)
    plain, fast = both(wired(NEURONS[name](), dtype=dtype))
    x = current(8, 3, SIZE, dtype=dtype) * (0.1 if "adaptive" in name else 1)
    assert_same(answers(plain, x), answers(fast, x), within)
    assert runs == [8]


@pytest.mark.parametrize("name", ["rectangle", "own decays", "adaptive, own decays"])
def test_states_are_handed_over_with_their_gradients(name: str, runs: list[int]) -> None:
    torch.manual_seed(0)
    plain, fast = both(wired(NEURONS[name]()))
    x = current(8, 3, SIZE) * (0.1 if "adaptive" in name else 1)
    assert_same(answers(plain, x), answers(fast, x, 4, 1, 3))
    assert runs == [4, 1, 3]


def test_truncated() -> None:
    """A state that is detached carries spikes and no gradient."""
    found = []
    for net in both(wired(NEURONS["rectangle"]())):
        first, second = current(4, 3, SIZE).requires_grad_(), current(4, 3, SIZE, seed=1).requires_grad_()
        net(first)
        functional.detach_net(net)
        net(second).sum().backward()
        assert first.grad is None
        found.append((second.grad, net.feedback.weight.grad))
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() <= 1e-12 * a.abs().max()


def test_single_step(runs: list[int]) -> None:
    plain, fast = both(wired(NEURONS["soft reset"]()))
    x = current(5, 2, SIZE)
    fast.step_mode = "s"
    assert torch.equal(plain(x), torch.stack([fast(step) for step in x]))
    assert runs == [1] * 5


def test_on_paper() -> None:
    """Three units in a ring of weights 2, tau 2: a spike of unit 0 goes around, one unit a step."""
    ring = Recurrent(neuron.LIFNode(), 3)
    with torch.no_grad():
        ring.feedback.weight.copy_(2 * torch.eye(3).roll(1, 0))
    x = torch.zeros(3, 1, 3)
    x[0, 0, 0] = 2
    assert torch.equal(snnprune.accelerate(ring)(x).squeeze(1), torch.eye(3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_as_the_fused_neuron_has_them(dtype: torch.dtype, runs: list[int]) -> None:
    fast = snnprune.accelerate(wired(NEURONS["rectangle"](), dtype=dtype))
    slow = copy.deepcopy(fast)
    slow.__class__ = Recurrent
    x = current(6, 3, SIZE, dtype=dtype)
    theirs, ours = answers(slow, x), answers(fast, x)
    assert runs == [6]
    assert all(torch.equal(a, b) for a, b in zip(theirs[0], ours[0], strict=True))
    for a, b in zip(theirs[1], ours[1], strict=True):
        assert (a - b).abs().max() <= 16 * torch.finfo(dtype).eps * a.abs().max()


def test_under_autocast(runs: list[int]) -> None:
    fast = snnprune.accelerate(wired(NEURONS["rectangle"](), dtype=torch.float32))
    slow = copy.deepcopy(fast)
    slow.__class__ = Recurrent
    for dtype in (torch.bfloat16, torch.float32):
        x = current(6, 3, SIZE, dtype=dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            theirs, ours = answers(slow, x), answers(fast, x)
        assert all(torch.equal(a, b) for a, b in zip(theirs[0], ours[0], strict=True))
        assert theirs[1][1].dtype == ours[1][1].dtype == torch.float32
        functional.reset_net(slow)
        functional.reset_net(fast)
    assert runs == [6, 6]


@settings(max_examples=12, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9)),
    places=st.lists(st.integers(1, 3), max_size=2),
    kind=st.sampled_from(["rectangle", "soft reset", "adaptive"]),
    seed=st.integers(0, 99),
)
@example(
    shape=(2, 3, 9), places=[], kind="rectangle", seed=0
)  # 27 numbers of a step: the next begins anywhere
def test_any_shape(shape: tuple[int, int, int], places: list[int], kind: str, seed: int) -> None:
    steps, batch, size = shape
    plain, fast = both(wired(NEURONS[kind](), size))
    x = current(steps, batch, *places, size, seed=seed)
    theirs, ours = answers(plain, x), answers(fast, x)
    assert all(torch.equal(a, b) for a, b in zip(theirs[0], ours[0], strict=True))
    for a, b in zip(theirs[1], ours[1], strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


def test_several_threads_make_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snnprune.common.threads.WORTH", 8)
    threads = torch.get_num_threads()
    for name in ("arctangent", "own decays", "adaptive, own decays"):
        net = snnprune.accelerate(wired(NEURONS[name](), dtype=torch.float32))
        found = []
        for number in (1, 3):
            torch.set_num_threads(number)
            functional.reset_net(net)
            found.append(answers(net, current(4, 5, SIZE, dtype=torch.float32)))
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(*([*one, *two] for one, two in found), strict=True))


def test_a_view_that_is_not_dense_and_one_that_is_expanded() -> None:
    plain, fast = both(wired(NEURONS["rectangle"]()))
    series = current(5, 3, 2 * SIZE)[..., ::2]
    still = current(3, SIZE).expand(5, 3, SIZE)
    for x in (series, still, series.transpose(0, 1)):
        assert torch.equal(plain(x), fast(x))
        functional.reset_net(plain)
        functional.reset_net(fast)


def test_what_is_kept_for_the_backward_is_one_number_a_neuron_and_step() -> None:
    net = snnprune.accelerate(wired(neuron.LIFNode(), 32, torch.float32))
    kept: list[int] = []
    x = current(20, 4, 32, dtype=torch.float32).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.nbytes), t)[1], lambda t: t):
        net(x)
    assert sum(kept) == 4 * (20 * 4 * 32 + 32 * 32)  # and the weight


def test_nothing_is_kept_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    net = snnprune.accelerate(wired(neuron.LIFNode(), dtype=torch.float32))
    x = current(9, 2, SIZE, dtype=torch.float32)
    trained = net(x).detach()
    functional.reset_net(net)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            assert torch.equal(net(x), trained)
        functional.reset_net(net)


def test_spikes_may_be_written_over() -> None:
    """As in the plain loop, whose spikes are a copy."""
    found = []
    for net in both(wired(NEURONS["rectangle"]())):
        x = current(6, 2, SIZE).requires_grad_()
        s = net(x)
        s += 1
        s.square().sum().backward()
        found.append(x.grad)
    assert (found[0] - found[1]).abs().max() <= 1e-12 * found[0].abs().max()


def test_backward_twice_and_no_second_derivative() -> None:
    net = snnprune.accelerate(wired(NEURONS["rectangle"]()))
    x = current(4, 2, SIZE).requires_grad_()
    loss = net(x).sum()
    (once,) = torch.autograd.grad(loss, x, retain_graph=True)
    (twice,) = torch.autograd.grad(loss, x, retain_graph=True)
    assert torch.equal(once, twice)
    with pytest.raises(UserError, match="first derivative only"):
        torch.autograd.grad(loss, x, create_graph=True)


def test_a_weight_that_is_changed_before_the_backward_is_noticed() -> None:
    net = snnprune.accelerate(wired(NEURONS["rectangle"]()))
    loss = net(current(4, 2, SIZE)).sum()
    with torch.no_grad():
        net.feedback.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# --- where the plain loop runs


def test_hooks_see_every_step(runs: list[int]) -> None:
    net = snnprune.accelerate(wired(NEURONS["rectangle"]()))
    x, seen = current(5, 2, SIZE), []
    fast = net(x)
    functional.reset_net(net)
    handles = [
        net.feedback.register_forward_pre_hook(lambda _, args: seen.append(args[0])),
        net.neuron.register_forward_hook(lambda _, args, y: seen.append(y)),
    ]
    assert torch.equal(net(x), fast)
    assert torch.equal(torch.stack(seen[1::2]), fast)
    assert torch.equal(torch.stack(seen[2::2]), fast[:-1])  # what comes back is one step older
    for handle in handles:
        handle.remove()
    net(x)
    assert runs == [5, 5]


class Watching(TorchDispatchMode):
    """Counts products of matrices."""

    products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Watching.products += "mm" in func.__name__
        return func(*args, **(kwargs or {}))


def test_whoever_looks_at_single_operations_sees_them(runs: list[int]) -> None:
    net = snnprune.accelerate(wired(NEURONS["rectangle"]()))
    with Watching():
        net(current(5, 2, SIZE))
    assert Watching.products == 5
    assert runs == []


class Own(surrogate.ATan):
    """A surrogate that the kernels do not know."""


@pytest.mark.filterwarnings("ignore:LIF neurons run with")
@pytest.mark.parametrize(
    "made",
    [
        neuron.IFNode,
        lambda: neuron.LIFNode(surrogate_function=Own()),
        lambda: neuron.LIFNode(store_v_seq=True),
        neuron.ParametricLIFNode,
    ],
)
def test_other_neurons_run_step_by_step(made: Callable[[], nn.Module], runs: list[int]) -> None:
    plain, fast = both(wired(made()))
    x = current(5, 2, SIZE)
    found = []
    for net in (plain, fast):
        torch.manual_seed(0)
        found.append(net(x))
    assert torch.equal(*found)
    assert runs == []


def test_a_feedback_of_another_kind_runs_step_by_step(runs: list[int]) -> None:
    net = snnprune.accelerate(wired(NEURONS["rectangle"]()))
    torch.nn.utils.parametrizations.weight_norm(net.feedback)
    net(current(5, 2, SIZE))
    assert runs == []


def test_spikes_of_another_batch_are_refused_as_before() -> None:
    for net in both(wired(NEURONS["rectangle"]())):
        net(current(3, 4, SIZE))
        with pytest.raises(RuntimeError, match="must match"):
            net(current(3, 2, SIZE))


# --- conversion


def test_there_and_back(runs: list[int]) -> None:
    net = nn.Sequential(layer.Linear(4, SIZE, step_mode="m"), wired(neuron.LIFNode(), dtype=torch.float32),
                        LeakyIntegrator(0.5))  # fmt: skip
    kinds, keys = [type(m) for m in net.modules()], list(net.state_dict())
    x = current(4, 2, 4, dtype=torch.float32)
    plain = net(x)
    functional.reset_net(net)
    assert type(snnprune.accelerate(net)[1]) is fused.Recurrent
    functional.set_step_mode(net, "m")  # which reaches the neurons inside, too
    assert torch.equal(net(x), plain)
    assert net[1].neuron.step_mode == "s"
    assert list(net.state_dict()) == keys
    functional.reset_net(net)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    for twin in (copy.deepcopy(net), torch.load(file, weights_only=False)):
        assert torch.equal(twin(x), plain)
    assert runs == [4] * 3
    assert [type(m) for m in snnprune.restore(net).modules()] == kinds


def test_nan_is_said_once() -> None:
    net = snnprune.accelerate(wired(NEURONS["rectangle"]()))
    with pytest.warns(RuntimeWarning, match="NaN reached"):
        net(torch.full((3, 2, SIZE), math.nan, dtype=torch.float64))


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_leaky_integrator(dtype: torch.dtype, within: float) -> None:
    plain, fast = both(LeakyIntegrator(0.8))
    x = current(7, 3, 4, dtype=dtype)
    theirs, ours = answers(plain, x), answers(fast, x, 4, 3)
    assert all(torch.equal(a, b) for a, b in zip(theirs[0], ours[0], strict=True))
    assert (theirs[1][0] - ours[1][0]).abs().max() <= within * theirs[1][0].abs().max()


def test_leaky_integrator_of_which_only_the_end_or_the_mean_counts() -> None:
    for of in (
        lambda net, x: net(x)[-1].sum(),
        lambda net, x: net(x).mean(0).sum(),
        lambda net, x: (net(x), net.v)[1].sum(),
    ):
        found = []
        for net in both(LeakyIntegrator(0.8)):
            x = current(7, 3, 4).requires_grad_()
            of(net, x).backward()
            found.append(x.grad)
        assert torch.allclose(*found, rtol=1e-12)


# --- what the pruner sees


def speech() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        layer.Linear(5, 4, step_mode="m"), Recurrent(neuron.LIFNode(v_threshold=0.3), 4),
        layer.Linear(4, SIZE, step_mode="m"), Recurrent(AdaptiveLIFNode(), SIZE),
        layer.Linear(SIZE, 3, step_mode="m"), LeakyIntegrator(0.5),
    )  # fmt: skip


@pytest.mark.parametrize("keep", ["trace", "series"])
def test_traces_of_all_steps_at_once_are_those_of_calls(keep: Any, runs: list[int]) -> None:
    """Also of two forwards before a step, of any door, and of steps that go on with the last ones."""
    x = current(6, 2, 5, dtype=torch.float32).abs()
    found = []
    for net in both(speech()):
        recorder = TraceRecorder(net, snnprune.discover(net, x), keep=keep)
        recorder.carries_over = True
        batches = []
        for door in (net, net.forward):
            for frames in (x, x + 1):
                functional.reset_net(net)
                door(frames).sum().backward()
            batches.append(recorder.batch())
            net.zero_grad()
        functional.reset_net(net)
        (net(x[:3]).sum() + net(x[3:]).sum()).backward()
        batches.append(recorder.batch())
        recorder.close()
        found.append(batches)
    assert runs == [6, 6] * 4 + [3, 3] * 2
    for theirs, ours in zip(*found, strict=True):
        assert {"0", "1.feedback", "2", "3.feedback"} <= set(theirs) == set(ours)
        for name, one in theirs.items():
            assert one.pre.any()
            assert torch.equal(one.pre, ours[name].pre)
            assert torch.equal(one.post, ours[name].post)


@pytest.mark.parametrize("parts", [[7], [3, 1, 3], [1, 6], [1] * 7])
@pytest.mark.parametrize("keep", ["trace", "series"])
def test_a_trace_goes_on_where_steps_come_in_parts(keep: Any, parts: list[int]) -> None:
    net, series = speech(), current(7, 2, 4)
    recorder = TraceRecorder(net, snnprune.discover(net, torch.rand(7, 2, 5)), keep=keep)
    place = recorder._pre["1.feedback"]
    for part in series.split(parts):
        recorder._keep_steps(place, part)
    found = recorder._reduce(place)
    recorder.close()
    assert torch.allclose(found, series if keep == "series" else spiking_trace(series), rtol=1e-12)


def test_a_pruner_scores_the_same(runs: list[int]) -> None:
    x = current(6, 4, 5, dtype=torch.float32).abs()
    found = []
    for net in both(speech()):
        with snnprune.Pruner(net, x, "dpap", epochs=6) as pruner:
            optimizer = torch.optim.SGD(net.parameters(), 1e-3)
            for _ in range(2):
                optimizer.zero_grad()
                net(x).square().sum().backward()
                optimizer.step()
                pruner.step(optimizer)
                functional.reset_net(net)
            found.append(pruner.importance())
    assert len(runs) >= 4  # two layers, two steps
    assert set(found[0]) == set(found[1])
    for name, scores in found[0].items():
        assert scores.any()
        assert torch.allclose(scores, found[1][name], rtol=1e-4)


@pytest.mark.parametrize("fast", [False, True])
def test_a_step_mode_set_from_outside_does_not_reach_the_neurons(fast: bool) -> None:
    net = both(speech())[fast]
    functional.set_step_mode(net, "m")
    x = torch.rand(6, 2, 5)
    recorder = TraceRecorder(net, snnprune.discover(net, x))
    functional.set_step_mode(net, "m")
    net(x).sum().backward()
    assert recorder.batch()["1.feedback"].post.shape == (2, 4)
    recorder.close()
