"""The fused LIF neuron against SpikingJelly's: the same spikes bit for bit, the same gradients to 1e-6."""

from __future__ import annotations

import copy
import io
import itertools
import math
import os
import platform
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from snnprune.common.errors import UserError
from snnprune.nn.fused import LIFNode, lif, surrogates
from snnprune.nn.fused.layout import Layout, shown
from snnprune.nn.fused.sequential import pooling

if TYPE_CHECKING:
    from collections.abc import Iterator

SURROGATES = [
    surrogate.Rect(alpha=0.8), surrogate.Sigmoid(), surrogate.ATan(), surrogate.PiecewiseQuadratic(),
    surrogate.PiecewiseExp(), surrogate.SoftSign(), surrogate.SuperSpike(), surrogate.Erf(),
    surrogate.NonzeroSignLogAbs(), surrogate.PiecewiseLeakyReLU(), surrogate.SquarewaveFourierSeries(n=4),
    surrogate.S2NN(), surrogate.QPseudoSpike(), surrogate.LeakyKReLU(leak=0.1),
    surrogate.FakeNumericalGradient(), surrogate.LogTailedReLU(alpha=0.2), surrogate.DeterministicPass(),
]  # fmt: skip
RECT = {"surrogate_function": surrogate.Rect(), "step_mode": "m"}
SHAPE = (5, 3, 4, 6, 7)


@pytest.fixture(autouse=True)
def _unsaid() -> Iterator[None]:
    """Let each test hear what is said once in a process, and take every warning for a failure."""
    lif._said.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def both(**settings: Any) -> tuple[neuron.LIFNode, LIFNode]:
    return neuron.LIFNode(**settings), LIFNode(**settings)


def current(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def answers(node: nn.Module, x: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes, last potentials and the gradient of a weighted sum of both with regard to ``x``."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    s = node(x)
    weights = current(*s.shape, dtype=x.dtype, seed=1) if weights is None else weights
    ((s * weights).sum() + (node.v * weights[-1 if node.step_mode == "m" else ...]).sum()).backward()
    assert x.grad is not None
    return s.detach(), node.v.detach(), x.grad


def assert_same(
    one: tuple[Tensor, Tensor, Tensor], other: tuple[Tensor, Tensor, Tensor], within: float = 1e-6
) -> None:
    for a, b in zip(one[:2], other[:2], strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    assert 0 < one[0].mean() < 1
    assert (one[2] - other[2]).abs().max() <= within * one[2].abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("decay_input", [False, True])
@pytest.mark.parametrize("v_reset", [0.0, None, -0.2, 0.3])
@pytest.mark.parametrize("tau", [1.25, 2.0, 2.7])
def test_constants(
    tau: float, v_reset: float | None, decay_input: bool, detach_reset: bool, dtype: torch.dtype
) -> None:
    settings = {
        "tau": tau, "v_threshold": 0.7, "v_reset": v_reset, "decay_input": decay_input,
        "detach_reset": detach_reset,
    }  # fmt: skip
    theirs, ours = both(**RECT, **settings)
    assert_same(answers(theirs, current(*SHAPE, dtype=dtype)), answers(ours, current(*SHAPE, dtype=dtype)))


@pytest.mark.parametrize("v_reset", [0.0, None])
@pytest.mark.parametrize("function", SURROGATES, ids=lambda f: type(f).__name__)
def test_surrogates(function: nn.Module, v_reset: float | None) -> None:
    theirs, ours = both(v_threshold=0.6, v_reset=v_reset, surrogate_function=function, step_mode="m")
    assert_same(answers(theirs, current(*SHAPE)), answers(ours, current(*SHAPE)))


def test_every_surrogate_of_spikingjelly_is_known_or_has_no_slope_by_element() -> None:
    classes = {
        name
        for name, kind in vars(surrogate).items()
        if isinstance(kind, type) and issubclass(kind, surrogate.SurrogateFunctionBase)
    }
    left = {"SurrogateFunctionBase", "MultiLevelSpikeCount", "PoissonPass"}  # many levels; drawn at random
    assert classes - left == {type(function).__name__ for function in SURROGATES}
    assert all(surrogates.slope_of(function) for function in SURROGATES)


NO_PRIMITIVE = (surrogate.SuperSpike, surrogate.FakeNumericalGradient, surrogate.DeterministicPass)
"""Surrogates that have no primitive function, or whose spikes are no derivative of it."""


@pytest.mark.parametrize(
    "function", [f for f in SURROGATES if not isinstance(f, NO_PRIMITIVE)], ids=lambda f: type(f).__name__
)
def test_gradient_is_the_derivative_of_the_surrogates_own_definition(function: Any) -> None:
    x = current(1, 200, dtype=torch.float64).requires_grad_()
    node = LIFNode(tau=2.0, decay_input=False, v_threshold=0.6, surrogate_function=function, step_mode="m")
    node(x).sum().backward()
    u = (x.detach() - 0.6).requires_grad_()
    smooth = copy.deepcopy(function)
    smooth.set_spiking_mode(False)
    smooth(u).sum().backward()
    assert torch.allclose(x.grad, u.grad, rtol=1e-4, atol=1e-12)  # S2NN's own definition adds 1e-5


class Smooth(nn.Module):
    """The same equations with the surrogate's smooth function for the spike, by torch's own derivatives."""

    def __init__(self, node: neuron.LIFNode) -> None:
        super().__init__()
        self.node = node

    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        n, spikes = self.node, []
        smooth = copy.deepcopy(n.surrogate_function)
        smooth.set_spiking_mode(False)
        for step in x:
            h = v + (step - (v - (n.v_reset or 0.0))) / n.tau
            s = smooth(h - n.v_threshold)
            v = h - s * n.v_threshold if n.v_reset is None else s * n.v_reset + (1 - s) * h
            spikes.append(s)
        return torch.stack(spikes), v


def test_gradcheck_of_the_smooth_network_and_the_kernel_for_one_step() -> None:
    """One step is linear in the surrogate: there the kernel has exactly the smooth network's gradient."""
    ours = LIFNode(v_threshold=0.3, surrogate_function=surrogate.ATan(), step_mode="m")
    smooth = Smooth(ours)
    x = current(1, 12, dtype=torch.float64).requires_grad_()
    v = current(12, dtype=torch.float64, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, v: smooth(x, v)[0], (x, v))
    ours.v = v
    ours(x).sum().backward()
    gx, gv = x.grad.clone(), v.grad.clone()
    x.grad = v.grad = None
    smooth(x, v)[0].sum().backward()
    assert torch.allclose(gx, x.grad, rtol=1e-12)
    assert torch.allclose(gv, v.grad, rtol=1e-12)


@pytest.mark.parametrize("v_reset", [0.0, None])
def test_gradcheck_through_potentials_where_nothing_fires(v_reset: float | None) -> None:
    """Without spikes the neuron is a linear filter, whose gradient finite differences know."""
    node = LIFNode(
        tau=1.7, v_threshold=50.0, v_reset=v_reset, surrogate_function=surrogate.Rect(), step_mode="m"
    )

    def last(x: Tensor, v: Tensor) -> Tensor:
        node.v = v
        node(x)
        return node.v

    x, v = current(4, 6, dtype=torch.float64), current(6, dtype=torch.float64, seed=3)
    assert torch.autograd.gradcheck(last, (x.requires_grad_(), v.requires_grad_()))


def test_paper_arithmetic() -> None:
    """u' = 0.2 u (1 - o) + I, V_th = 0.5: 0.4 | 0.08 + 0.45 = 0.53 fires | 0.3 | 0.06 + 0.3 = 0.36."""
    node = LIFNode(tau=1.25, decay_input=False, v_threshold=0.5, **RECT)
    spikes = node(torch.tensor([[0.4], [0.45], [0.3], [0.3]]))
    assert spikes.flatten().tolist() == [0, 1, 0, 0]
    assert node.v.item() == pytest.approx(0.36)


@pytest.mark.parametrize("detach_reset", [False, True])
def test_single_steps_and_state_hand_over(detach_reset: bool) -> None:
    """Six steps one at a time, and two calls of three, are six at once; gradients pass through the state."""
    x = current(6, 3, 40)
    settings = {"detach_reset": detach_reset, "v_threshold": 0.4, "surrogate_function": surrogate.Rect()}
    results = []
    for kind, mode, cuts in itertools.product(
        (neuron.LIFNode, LIFNode), "sm", ([1] * 6, [3, 3], [6], [5, 1])
    ):
        if mode == "s" and cuts != [1] * 6:
            continue
        node, leaf = kind(step_mode=mode, **settings), x.clone().requires_grad_()
        parts = [p[0] if mode == "s" else p for p in leaf.split(cuts)]
        out = [node(p) for p in parts]
        s = torch.stack(out) if mode == "s" else torch.cat(out)
        ((s * current(*s.shape, seed=1)).sum() + node.v.sum()).backward()
        results.append((s.detach(), node.v.detach(), leaf.grad))
    assert len(results) == 10
    for result in results[1:]:
        assert_same(results[0], result)


def test_reset_and_states_of_other_shapes() -> None:
    theirs, ours = both(**RECT, v_reset=0.1)
    for shape in ((4, 2, 5), (4, 2, 5), (3, 7, 5)):  # the second goes on, the third begins anew
        x = current(*shape)
        assert torch.equal(theirs(x), ours(x))
        assert torch.equal(theirs.v, ours.v)
    net = nn.Sequential(ours)
    functional.reset_net(net)
    assert ours.v == 0.1
    fresh = neuron.LIFNode(**RECT, v_reset=0.1)
    assert torch.equal(ours(current(4, 2, 5)), fresh(current(4, 2, 5)))
    functional.detach_net(net)
    assert ours.v.grad_fn is None


@pytest.mark.parametrize("shape", [(1, 3, 9), (4, 0, 9), (4, 3, 0), (7, 1), (3, 2, 5000), (2, 3, 1, 1, 9000)])
def test_shapes(shape: tuple[int, ...]) -> None:
    theirs, ours = both(**RECT, v_threshold=0.5)
    one, other = answers(theirs, current(*shape)), answers(ours, current(*shape))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert one[2].shape == other[2].shape
    if one[2].numel():
        assert (one[2] - other[2]).abs().max() <= 1e-6 * one[2].abs().max()


def test_no_time_step_is_the_error_that_spikingjelly_gives() -> None:
    for node in both(**RECT):
        with pytest.raises((RuntimeError, IndexError)):
            node(torch.zeros(0, 3, 4))


LAYOUTS = {
    "usual": lambda x: x,
    "channels_last": lambda x: x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3),
    "batch innermost": lambda x: x.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3),
    "every second step": lambda x: torch.stack([x, x], 1).flatten(0, 1)[::2],
    "every second column": lambda x: torch.stack([x, x], -1).flatten(-2)[..., ::2],
    "time innermost": lambda x: x.permute(1, 2, 3, 4, 0).contiguous().permute(4, 0, 1, 2, 3),
    "flipped": lambda x: x.flip(0).contiguous().flip(0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str) -> None:
    theirs, ours = both(**RECT, v_threshold=0.5)
    x = LAYOUTS[layout](current(*SHAPE)).requires_grad_()
    weights = LAYOUTS[layout](current(*SHAPE, seed=1))
    one = answers(theirs, current(*SHAPE))
    s = ours(x)
    ((s * weights).sum() + (ours.v * weights[-1]).sum()).backward()
    assert_same(one, (s.detach(), ours.v.detach(), x.grad))


def test_a_dense_step_is_neither_copied_nor_laid_out_anew() -> None:
    x = LAYOUTS["channels_last"](current(*SHAPE))
    layout = Layout.of(x[0])
    assert layout.flat(x).data_ptr() == x.data_ptr()
    s = LIFNode(**RECT)(x)
    assert s.stride() == x.stride()
    assert layout.is_channels_last


def test_the_gradient_of_an_expanded_sum_may_have_no_stride() -> None:
    theirs, ours = both(**RECT, v_threshold=0.4)
    x = current(4, 3, 8)
    grads = []
    for node in (theirs, ours):
        leaf = x.clone().requires_grad_()
        (node(leaf).mean(0) * current(3, 8, seed=2)).sum().backward()
        grads.append(leaf.grad)
    assert (grads[0] - grads[1]).abs().max() <= 1e-6 * grads[0].abs().max()


@pytest.mark.parametrize("source", ["leaf", "computed", "other"])
def test_input_that_is_the_same_at_every_step(source: str) -> None:
    """Of an image expanded over T steps only the image is read, and its gradient has no time axis."""
    theirs, ours = both(**RECT, v_threshold=0.5)
    results = []
    for node in (theirs, ours):
        image = current(3, 8, 5, 5).requires_grad_()
        seen = {"leaf": image, "computed": image * 1.5, "other": (image * 1.5)[:, ::2]}[source]
        x = seen.expand(6, *seen.shape)
        s = node(x)
        ((s * current(*s.shape, seed=1)).sum() + node.v.sum()).backward()
        results.append((s.detach(), node.v.detach(), image.grad))
    assert_same(*results)
    if source == "leaf":
        assert shown(x) is seen
    if source == "other":  # a view of something else: its place in the graph is not certain
        assert shown(x) is None


def test_only_what_the_backward_needs_is_saved() -> None:
    x = current(6, 3, 50).requires_grad_()
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        LIFNode(**RECT)(x)
        assert [t.data_ptr() for t in saved] == [x.data_ptr()]
        saved.clear()
        with torch.no_grad():
            node = LIFNode(**RECT)
            assert node(x).grad_fn is None
            assert not saved


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_input_keeps_its_potential_in_32(dtype: torch.dtype) -> None:
    """Spikes are those of the float32 neuron on the same input, in the input's dtype."""
    x = current(*SHAPE).to(dtype).requires_grad_()
    exact = x.detach().float().requires_grad_()
    node, reference = both(**RECT, v_threshold=0.5)[1], neuron.LIFNode(**RECT, v_threshold=0.5)
    s, wanted = node(x), reference(exact)
    assert s.dtype == dtype
    assert node.v.dtype == torch.float32
    assert torch.equal(s.float(), wanted)
    (s * current(*SHAPE, dtype=dtype, seed=1)).float().sum().backward()
    (wanted * current(*SHAPE, dtype=dtype, seed=1).float()).sum().backward()
    assert x.grad.dtype == dtype
    assert torch.allclose(x.grad.float(), exact.grad, rtol=torch.finfo(dtype).eps, atol=1e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_passes_through_and_is_reported(bad: float) -> None:
    """An infinite potential becomes 0 x inf at a reset, inf - inf in the leak: not a number either."""
    theirs, ours = both(**RECT, v_threshold=0.5)
    x = current(5, 3, 8)
    x[2, 1, 3] = bad
    s = theirs(x)
    with pytest.warns(RuntimeWarning, match="NaN reached"):
        assert torch.equal(s, ours(x))
    assert torch.equal(theirs.v.isnan(), ours.v.isnan())
    assert ours.v.isnan().sum() == 1
    assert torch.equal(theirs.v.nan_to_num(), ours.v.nan_to_num())
    ours.reset()
    ours(x)  # said once for a layer


def test_second_derivatives_are_refused() -> None:
    x = current(4, 3, 8).requires_grad_()
    loss = LIFNode(**RECT)(x).sum()
    with pytest.raises(UserError, match="create_graph"):
        torch.autograd.grad(loss, x, create_graph=True)


class Own(surrogate.Rect):
    """A surrogate that a user derived from one of SpikingJelly's: it may compute anything."""


FALLBACKS = {
    "unknown surrogate": ({"surrogate_function": Own()}, torch.float32, "surrogate"),
    "not spiking": ({"surrogate_function": surrogate.ATan(spiking=False)}, torch.float32, "surrogate"),
    "all potentials": ({"store_v_seq": True}, torch.float32, "store_v_seq"),
}


@pytest.mark.parametrize("case", FALLBACKS)
def test_what_the_kernels_do_not_know_is_spikingjellys_and_said_once(case: str) -> None:
    settings, dtype, words = FALLBACKS[case]
    theirs, ours = both(**{**RECT, **settings})
    x = current(4, 3, 8, dtype=dtype)
    with pytest.warns(RuntimeWarning, match=words):
        assert torch.equal(theirs(x), ours(x))
    assert torch.equal(theirs.v, ours.v)
    ours(x)
    if settings.get("store_v_seq"):
        ours.reset()
        assert torch.equal(ours(x) * 0, x * 0)
        assert torch.equal(ours.v_seq, theirs.v_seq)


def test_torch_func_runs_spikingjellys_forward() -> None:
    ours = LIFNode(**RECT)
    x = current(4, 3, 8)
    with pytest.warns(RuntimeWarning, match=r"torch\.func"):
        jacobian = torch.func.jacrev(lambda x: ours(x).sum())(x)
    leaf = x.clone().requires_grad_()
    neuron.LIFNode(**RECT)(leaf).sum().backward()
    assert torch.allclose(jacobian, leaf.grad)


def test_what_is_no_float_is_left_to_spikingjelly() -> None:
    theirs, ours = both(**RECT)
    x = torch.arange(6).reshape(3, 2, 1)
    with pytest.warns(RuntimeWarning, match=r"no kernel for torch\.int64"):
        assert torch.equal(ours(x), theirs(x))


# --- LIF and average pool as one


def chain(kind: type[nn.Module], square: int, **settings: Any) -> nn.Sequential:
    net = nn.Sequential(kind(**RECT, **settings), layer.AvgPool2d(square, step_mode="m"))
    if kind is LIFNode:
        net.__class__ = pooling(nn.Sequential)
    return net


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", ["usual", "channels_last", "batch innermost"])
@pytest.mark.parametrize("square", [2, 3, 5])
@pytest.mark.parametrize("places", [(6, 6), (17, 17), (7, 40), (5, 9)])
def test_pooled(places: tuple[int, int], square: int, layout: str, dtype: torch.dtype) -> None:
    """Averages are equal bit for bit: the spikes of a square are whole numbers, divided once."""
    results = []
    for kind in (neuron.LIFNode, LIFNode):
        x = LAYOUTS[layout](current(4, 2, 3, *places, dtype=dtype)).requires_grad_()
        net = chain(kind, square, v_threshold=0.5)
        out = net(x)
        weights = current(*out.shape, dtype=dtype, seed=1)
        ((out * weights).sum() + net[0].v.sum()).backward()
        results.append((out.detach(), net[0].v.detach(), x.grad))
    assert_same(*results)


def test_pooled_with_more_rows_than_a_tile_holds() -> None:
    results = []
    for kind in (neuron.LIFNode, LIFNode):
        x = current(3, 2, 2, 65, 131).requires_grad_()
        out = chain(kind, 2)(x)
        (out * current(*out.shape, seed=1)).sum().backward()
        results.append((out.detach(), out.detach(), x.grad))
    assert_same(*results)


def test_pooled_keeps_no_full_size_spikes(monkeypatch: pytest.MonkeyPatch) -> None:
    net = chain(LIFNode, 2)
    x = current(4, 2, 3, 6, 6)
    monkeypatch.setattr(torch.nn.functional, "avg_pool2d", None)
    assert net(x).shape == (4, 2, 3, 3, 3)


@pytest.mark.parametrize("layout", ["usual", "channels_last"])
@pytest.mark.parametrize("square", [1, 2])
@pytest.mark.parametrize("places", [(8, 8), (17, 17)])
def test_traces(places: tuple[int, int], square: int, layout: str) -> None:
    """S = sum_t tau^(T-1-t) o[t] of spikes summed over places, and of what the pool leaves of them."""
    x = LAYOUTS[layout](current(5, 2, 3, *places))
    net = chain(LIFNode, square) if square > 1 else nn.Sequential(LIFNode(**RECT))
    net[0].recording = True
    net(x)
    spikes = neuron.LIFNode(**RECT)(x)
    decay = 0.5 ** torch.arange(4.0, -1, -1)
    post, pre = net[0].traces(0.5)
    assert torch.equal(post, torch.tensordot(decay, spikes.sum((-1, -2)), 1))
    if square == 1:
        assert pre is None
        return
    pooled = layer.AvgPool2d(2, step_mode="m")(spikes)
    assert torch.equal(pre, torch.tensordot(decay, pooled.sum((-1, -2)), 1))
    if places == (17, 17):  # the neurons of the rim fire, but no square holds them
        assert not torch.allclose(pre, post / 4)
    functional.reset_net(net)
    assert net[0].traces(0.5) is None


# --- threads


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            x = current(6, 8, 5, 41, 41).requires_grad_()
            out = chain(LIFNode, 2)(x)
            (out * current(*out.shape, seed=1)).sum().backward()
            plain = LIFNode(**RECT)(x.detach())
            results.append((out.detach(), plain, x.grad))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], result, strict=True))


def test_forwards_and_backwards_in_many_threads_at_once() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    wanted = answers(neuron.LIFNode(**RECT), current(4, 8, 6000))
    wrong: list[str] = []

    def work() -> None:
        for _ in range(5):
            got = answers(LIFNode(**RECT), current(4, 8, 6000))
            if not torch.equal(got[0], wanted[0]) or not torch.allclose(got[2], wanted[2], atol=1e-6):
                wrong.append("differs")

    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
    finally:
        torch.set_num_threads(before)
    assert wrong == []


FORKED = """
import os, torch
from snnprune.nn.fused import LIFNode
torch.set_num_threads(2)
x = torch.randn(4, 8, 9000)
run = lambda: LIFNode(step_mode="m")(x).numpy().sum()  # torch itself may not sum in threads after a fork
before = run()
child = os.fork()
if child == 0:
    torch.set_num_threads(2)
    os._exit(0 if run() == before else 3)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=120)


def test_kernels_compile_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    from snnprune.common.compiling import compiled

    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    assert compiled(lambda n: n + 1)(1) == 2


def test_numba_waits_for_the_first_step() -> None:
    code = "import sys, snnprune.nn.fused; assert 'numba' not in sys.modules and 'triton' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# --- a module like SpikingJelly's


def test_it_is_spikingjellys_node_to_everybody() -> None:
    theirs, ours = both(**RECT, tau=1.5)
    assert isinstance(ours, neuron.LIFNode)
    assert repr(theirs) == repr(ours)
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert ours.supported_step_mode() == theirs.supported_step_mode()


def test_copies() -> None:
    node = LIFNode(**RECT, v_threshold=0.5)
    with torch.no_grad():
        node(current(4, 3, 8))
    twin = copy.deepcopy(node)
    assert torch.equal(twin(current(4, 3, 8)), node(current(4, 3, 8)))
    assert twin.v is not node.v
    net, file = chain(LIFNode, 2), io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    chain(neuron.LIFNode, 2).load_state_dict(torch.load(file, weights_only=True))
    for again in (copy.deepcopy(net), _through_a_file(net)):
        assert type(again) is type(net)
        assert torch.equal(again(current(3, 2, 2, 4, 4)), net[1](net[0](current(3, 2, 2, 4, 4))))
        functional.reset_net(net)


def _through_a_file(net: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


# --- on a GPU

INTERPRETED = """
import itertools, torch
from spikingjelly.activation_based import neuron, surrogate
from snnprune.nn.fused import LIFNode, gpu, lif, surrogates
lif._kernels = lambda device: gpu
functions = surrogate.Rect(0.8), surrogate.ATan(), surrogate.Sigmoid(), surrogate.Erf(), surrogate.SoftSign()
functions += surrogate.PiecewiseQuadratic(), surrogate.PiecewiseExp(), surrogate.SuperSpike()
assert {surrogates.slope_of(f).kind for f in functions} == set(gpu.KNOWN)
cases = itertools.product((0.0, None, 0.2), (True, False), (True, False), (torch.float32, torch.float64))
for number, (reset, decay, detach, dtype) in enumerate(cases):
    for function in functions if number < 4 else functions[:1]:
        results = []
        for kind in (neuron.LIFNode, LIFNode):
            torch.manual_seed(0)
            node = kind(
                tau=2.0, v_threshold=0.6, v_reset=reset, decay_input=decay, detach_reset=detach,
                surrogate_function=function, step_mode="m",
            )
            x = torch.randn(5, 3, 40, dtype=dtype).requires_grad_()
            image = torch.randn(3, 40, dtype=dtype).requires_grad_()
            s = node(x) + node(image.expand(5, 3, 40))
            ((s * torch.randn_like(s)).sum() + node.v.sum()).backward()
            results.append((s, node.v, x.grad, image.grad))
        for a, b in zip(*results):
            assert (a - b).abs().max() <= 1e-6 * a.abs().max(), (function, reset, decay, detach, dtype)
        assert torch.equal(results[0][0], results[1][0])
"""


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="Triton has no wheel for this system"
)
def test_gpu_kernels_in_tritons_interpreter() -> None:
    """With tau = 2 a product with 1 / tau is the quotient, so spikes are the CPU's."""
    env = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", INTERPRETED], check=True, timeout=300, env=env)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [surrogate.Rect(), surrogate.ATan()], ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("v_reset", [0.0, None])
def test_on_a_gpu(v_reset: float | None, function: nn.Module, dtype: torch.dtype) -> None:
    settings = {"tau": 1.25, "v_threshold": 0.5, "v_reset": v_reset, "surrogate_function": function}
    theirs, ours = both(**settings, step_mode="m")
    x = current(*SHAPE, dtype=dtype).cuda()
    weights = current(*SHAPE, dtype=dtype, seed=1).cuda()
    assert_same(answers(theirs, x, weights), answers(ours, x, weights))
