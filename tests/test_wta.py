"""A network that learns without gradients: competition, plasticity, labels, and runs of it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lightning
import pytest
import torch
from spikingjelly.activation_based import functional, layer, learning, neuron
from torch import Tensor, nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.data import FrameSet
from snnprune.nn.models import build
from snnprune.nn.models.wta import WinnerTakesAllNode
from snnprune.nn.plasticity import TraceSTDP
from snnprune.nn.plasticity.readout import Responses
from snnprune.pruning import Pruner, compact, verify
from support.tasks import digits, loader, trainer

if TYPE_CHECKING:
    from pathlib import Path


def wta(inputs: int = 6, hidden: int = 8, **options: Any) -> Any:
    torch.manual_seed(0)
    return build(ModelConfig("wta-snn", hidden=hidden, **options), (1, 1, inputs), 3)


def spikes(steps: int = 12, batch: int = 5, inputs: int = 6, rate: float = 0.4) -> Tensor:
    noise = torch.rand(steps, batch, 1, 1, inputs, generator=torch.Generator().manual_seed(1))
    return (noise < rate).float()


# --- competition


def test_one_fires_and_the_others_are_held_back_on_paper() -> None:
    """tau 2, V_th 1, inhibition 0.5, currents (0.8, 0.6), (0.8, 0.9), (0, 0.7).

    h[0] = (0.8, 0.6); h[1] = (0.4 + 0.8, 0.3 + 0.9) = (1.2, 1.2): a tie, and the lower index fires;
    v[1] = (0, 0.6); h[2] = (0, 0.3 + 0.7) = (0, 1.0), which fires.
    """
    node = WinnerTakesAllNode(2, tau=2.0, inhibition=0.5, step_mode="m").double()
    currents = torch.tensor([[[0.8, 0.6]], [[0.8, 0.9]], [[0.0, 0.7]]], dtype=torch.float64)
    assert node(currents).squeeze(1).tolist() == [[0, 0], [1, 0], [0, 1]]
    assert node.v.tolist() == [[0, 0]]


def test_a_threshold_rises_with_its_own_spikes_and_sinks_with_samples() -> None:
    node = WinnerTakesAllNode(2, threshold=2.0, rise=0.25, decay=0.5, step_mode="m").double()
    node.theta.copy_(torch.tensor([4.0, 0.0]))
    fired = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    node.adapt(fired)  # two samples: 4 / 4, and three spikes of a quarter of 2
    assert node.theta.tolist() == [2.5, 0.0]
    node.reset()
    assert node(torch.tensor([[[4.4, 2.0]]], dtype=torch.float64)).tolist() == [[[0.0, 1.0]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inhibition", [1.0, 0.3, 0.0])
def test_the_kernel_fires_as_the_steps_do(dtype: torch.dtype, inhibition: float) -> None:
    node = WinnerTakesAllNode(20, tau=3.0, inhibition=inhibition, step_mode="m").to(dtype)
    node.theta.uniform_(0, 0.5)
    x = torch.rand(30, 4, 20, dtype=dtype)
    fast = [node(part) for part in (x[:10], x[10:])]
    v = node.v
    node.reset()
    slow = node(x.clone().requires_grad_())
    assert torch.equal(torch.cat(fast), slow)
    assert torch.equal(v, node.v)
    assert 0 < slow.sum(-1).mean() < 1
    assert slow.sum(-1).max() == 1


def test_a_unit_that_is_cut_leaves_with_its_threshold_and_its_column() -> None:
    net = wta()
    nn.init.normal_(net.out.weight)
    net.fc1_wta.theta.uniform_(0, 0.1)
    pruner = Pruner(net, spikes(), "dense", epochs=1)
    alive = torch.tensor([True, False] * 4)
    pruner.masks.keep_units(pruner.topology.populations["fc1"], alive)
    pruner.masks.refresh()
    pruner.masks.apply()
    small: Any = compact(net, pruner.masks)
    assert torch.equal(small.fc1_wta.theta, net.fc1_wta.theta[alive])
    assert torch.equal(small.out.weight, net.out.weight[:, alive])
    x = spikes()
    functional.reset_net(net)
    functional.reset_net(small)
    assert torch.equal(net(x), small(x))
    assert net(x).abs().sum() > 0
    agreement = verify(net, small, x)
    assert (agreement.flipped, agreement.difference) == (0, 0)


class Loudest(nn.Module):
    """A user's own neuron, of no library: of the units above a threshold of their own the loudest speaks."""

    def __init__(self, *, says_so: bool) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.linspace(0.1, 0.4, 8))
        if says_so:
            self.competing = ("threshold",)

    def forward(self, x: Tensor) -> Tensor:
        above = (x - self.threshold).relu()
        return above * (above == above.amax(-1, keepdim=True))


@pytest.mark.parametrize("says_so", [True, False])
def test_neurons_of_any_library_say_that_their_units_compete(says_so: bool) -> None:
    torch.manual_seed(0)
    net: Any = nn.Sequential(nn.Linear(6, 8), Loudest(says_so=says_so), nn.Linear(8, 3)).double()
    x = torch.rand(9, 6, dtype=torch.float64)
    topology = snnprune.discover(net, x, neurons=(Loudest,))
    if not says_so:
        assert "see one another" in str(topology.populations["0"].frozen)
        return
    masks = snnprune.Masks(net, topology)
    masks.keep_units(topology.populations["0"], torch.arange(8) % 2 == 0)
    masks.refresh()
    masks.apply()
    small: Any = compact(net, masks)
    assert torch.equal(small[1].threshold, net[1].threshold[::2])
    assert torch.allclose(net(x), small(x), rtol=0, atol=1e-12)


# --- plasticity


class Told(nn.Module):
    """Neurons that fire as they are told."""

    def __init__(self, fires: Tensor) -> None:
        super().__init__()
        self.fires = fires

    def forward(self, _x: Tensor) -> Tensor:
        return self.fires


def test_a_change_of_weights_on_paper() -> None:
    """Two inputs, one unit that fires at the last of three steps, tau 2, eta 0.1, x_target 0.5, w_max 1.

    Input 0 fires at steps 0 and 2: traces 1, 0.5, 1.25. Input 1 fires at step 0: 1, 0.5, 0.25.
    dw_0 = 0.1 (1.25 - 0.5) (1 - 0.2) = 0.06; dw_1 = 0.1 (0.25 - 0.5) (1 - 0.6) = -0.01.
    """
    pre = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]], [[1.0, 0.0]]], dtype=torch.float64)
    post = torch.tensor([[[0.0]], [[0.0]], [[1.0]]], dtype=torch.float64)
    synapses = nn.Linear(2, 1, bias=False).double()
    synapses.weight.data.copy_(torch.tensor([[0.2, 0.6]]))
    rule = TraceSTDP(synapses, Told(post), eta=0.1, tau=2.0, target=0.5)
    assert rule.change(pre, post).flatten().tolist() == pytest.approx([0.06, -0.01])
    with rule.watching() as seen:
        rule.neurons(synapses(pre))
    rule.step(seen)
    assert synapses.weight.flatten().tolist() == pytest.approx([0.26, 0.59])
    summed = TraceSTDP(synapses, Told(post), eta=0.1, target=0.0, total=1.7)
    with summed.watching() as seen:
        summed.neurons(synapses(0 * pre))
    summed.step(seen)
    assert synapses.weight.flatten().tolist() == pytest.approx([0.52, 1.18])
    # A pair the other way round: the unit fires first, its trace is 1, 0.5; input 0 fires at step 1.
    late = TraceSTDP(synapses, Told(post), kind="pair", eta=0.1, tau=2.0, depression=2.0)
    change = late.change(pre.flip(0)[:2], post.flip(0)[:2])
    # step 0: input 0 and the unit fire together: + 0.1 (1 - 0.52) - 0.2 x 0.52, and nothing fires at step 1
    assert change.flatten().tolist() == pytest.approx([0.1 * 0.48 - 0.2 * 0.52, 0.0])


@pytest.mark.parametrize(
    ("kind", "options", "f_pre"),
    [
        ("target", {"target": 0.0}, lambda w: 0.0 * w),
        ("pair", {"depression": 0.7}, lambda w: 0.7 * w**0.5),
    ],
)
def test_changes_are_those_of_spikingjellys_learner(kind: Any, options: Any, f_pre: Any) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(7, 5, bias=False), neuron.LIFNode(v_threshold=0.3)).double()
    functional.set_step_mode(net, "m")
    nn.init.uniform_(net[0].weight)
    learner = learning.STDPLearner(
        "m", net[0], net[1], tau_pre=3.0, tau_post=3.0, f_pre=f_pre, f_post=lambda w: (1 - w) ** 0.5
    )
    rule = TraceSTDP(net[0], net[1], kind=kind, eta=1.0, tau=3.0, mu=0.5, **options)
    with rule.watching() as seen:
        fired = net((torch.rand(9, 4, 7) < 0.5).double())
    theirs = learner.step(on_grad=False)
    assert theirs is not None
    assert 0 < fired.mean() < 1
    assert torch.allclose(rule.change(*seen.both()), theirs, rtol=0, atol=1e-12)


def test_dead_synapses_stay_zero_and_the_living_share_the_sum() -> None:
    net, x = wta(), spikes()
    rule = net.rule()
    alive = torch.rand(8, 6, generator=torch.Generator().manual_seed(0)) < 0.6
    alive[3] = False
    net.fc1.weight.data.mul_(alive)
    before = net.fc1.weight.clone()
    for _ in range(5):
        functional.reset_net(net)
        with rule.watching() as seen:
            net(x)
        rule.step(seen, alive)
    assert not net.fc1.weight[~alive].any()
    assert not torch.equal(net.fc1.weight, before)
    sums = net.fc1.weight.sum(1).detach()
    assert torch.allclose(sums, torch.where(alive.any(1), 0.6, 0.0), atol=1e-6)
    assert net.fc1_wta.theta[3] == 0
    assert net.fc1_wta.theta.sum() > 0


def test_a_batch_in_another_order_is_the_same_batch() -> None:
    net = wta().double()
    rule, x = net.rule(), spikes().double()
    changes = []
    for order in ([0, 1, 2, 3, 4], [3, 1, 4, 0, 2]):
        functional.reset_net(net)
        with rule.watching() as seen:
            net(x[:, order])
        changes.append(rule.change(*seen.both()))
    assert torch.allclose(changes[0], changes[1], rtol=0, atol=1e-12)


def test_a_step_without_a_forward_is_refused_and_hooks_are_gone() -> None:
    net = wta()
    rule = net.rule()
    with rule.watching() as seen:
        pass
    with pytest.raises(UserError, match=r"call the network inside of `with rule.watching\(\)"):
        rule.step(seen)
    assert not net.fc1._forward_pre_hooks
    assert not net.fc1_wta._forward_hooks
    for bad in ({"tau": 0.5}, {"kind": "anti"}):
        with pytest.raises(ValueError, match="tau must be at least 1 step, and kind target or pair"):
            TraceSTDP(net.fc1, net.fc1_wta, **bad)  # type: ignore[arg-type]


def test_labels_on_paper() -> None:
    """Unit 0: 4 and 1 spikes a sample; unit 1: equal, so the lower class; unit 2: silent; unit 3: class 1."""
    seen = Responses(2, 4, memory=None)
    seen.add(torch.tensor([[6.0, 1.0, 0.0, 0.0], [2.0, 1.0, 0.0, 0.0]]), torch.tensor([0, 0]))
    seen.add(torch.tensor([[1.0, 1.0, 0.0, 2.0]]), torch.tensor([1]))
    assert seen.weights().tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0, 1]]


def test_what_was_answered_long_ago_counts_for_little() -> None:
    """memory 2: a count halves with each sample. Class 1 gets 6 spikes, then class 0 gets 2, class 1 none.

    Rates without fading: class 0 has 2, class 1 6 / 2 = 3. With it class 1 has 6 / 4 / (1 + 1 / 4) = 1.2.
    """
    labels = {}
    for memory in (2.0, None):
        seen = Responses(2, 1, memory)
        for count, label in ((6.0, 1), (2.0, 0), (0.0, 1)):
            seen.add(torch.tensor([[count]]), torch.tensor([label]))
        labels[memory] = seen.weights().flatten().tolist()
    assert labels == {2.0: [1.0, 0.0], None: [0.0, 1.0]}


# --- runs


def config(method: str = "magnitude", epochs: int = 3, **options: Any) -> RunConfig:
    return RunConfig(
        data=DataConfig("digits", time_steps=20, encoding="poisson"),
        model=ModelConfig("wta-snn", hidden=60, membrane=5.0),
        method=MethodConfig(method, target=0.5, structured=0.5, options=options),
        train=TrainConfig(epochs=epochs, batch_size=10, device="cpu", threads=1, twin=False),
    )


def test_a_run_learns_prunes_and_saves_what_it_measured(tmp_path: Path) -> None:
    splits = digits()
    summary = snnprune.train(config("dpap", epochs=6), tmp_path / "run", splits=splits, page=False)
    assert summary is not None
    assert summary["accuracy"] > 0.6  # a tenth would be chance
    assert summary["pruning_rate"] == pytest.approx(0.5, abs=0.02)
    small: Any = snnprune.load(
        tmp_path / "run" / "model.safetensors", lambda: build(config().model, (1, 8, 8), 10)
    )
    assert small.fc1_wta.theta.shape == (small.fc1.out_features,) == (small.out.in_features,)
    assert small.fc1.out_features < 60
    sums = small.fc1.weight.sum(1)
    assert torch.allclose(sums, torch.full_like(sums, 6.4), atol=1e-4)
    labels = small.out.weight > 0
    assert labels.sum(0).max() == 1


def test_a_run_that_is_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    splits = digits()
    whole = snnprune.train(config("dpap"), tmp_path / "whole", splits=splits, page=False)
    part = tmp_path / "part"

    class Stopped(FrameSet):
        """Training data that fail in the second epoch."""

        served = 0

        def __getitems__(self, chosen: Any) -> Any:
            Stopped.served += len(chosen)
            if Stopped.served > 900:
                raise KeyboardInterrupt
            return super().__getitems__(chosen)

    broken = Stopped(splits.train._frames, splits.train.labels)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        snnprune.train(config("dpap"), part, splits=replace(splits, train=broken), page=False)
    again = snnprune.resume(part, splits=splits, page=False)
    assert whole is not None
    assert again is not None
    assert again["accuracy"] == whole["accuracy"]
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "part"))
    assert one == other


@pytest.mark.parametrize("method", ["taylor", "rigl", "admm"])
def test_a_method_that_reads_gradients_is_refused(method: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"'{method}' reads gradients, and wta-snn learns without them"):
        snnprune.train(config(method), tmp_path / "run", splits=digits(), page=False)
    assert not (tmp_path / "run").exists()


def test_several_processes_and_other_precisions_are_refused(tmp_path: Path) -> None:
    asked = config()
    asked = replace(asked, train=replace(asked.train, precision="bf16"))
    with pytest.raises(UserError, match="in one process and in float32, and the run asks for"):
        snnprune.train(asked, tmp_path / "run", splits=digits(), page=False)


# --- learners of one's own


def test_spikingjellys_learner_in_a_loop_without_an_optimiser() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Linear(8, 12, bias=False), neuron.LIFNode(v_threshold=0.4), layer.Linear(12, 3, bias=False)
    )
    functional.set_step_mode(net, "m")
    nn.init.uniform_(net[0].weight)
    x = (torch.rand(6, 16, 8) < 0.5).float()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Pruner(net, x, "dpap", epochs=6, target=0.5) as pruner:
            learner = learning.STDPLearner("m", net[0], net[1], 2.0, 2.0, lambda w: w, lambda w: 1 - w)
            for _ in range(6):
                for _ in range(2):
                    net(x)
                    change = learner.step(on_grad=False)
                    net[0].weight.data.add_(change, alpha=1e-3).clamp_(0, 1)
                    pruner.step()
                    functional.reset_net(net)
                    assert not net[0].weight[~pruner.masks.alive(pruner.topology.projections["0"])].any()
                learner.reset()
                pruner.end_epoch()
    assert pruner.rates().synapses == pytest.approx(0.5, abs=0.03)


class ByHand(lightning.LightningModule):
    """A module that changes its weights itself, and has no optimiser."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).double()
        self.dead: list[float] = []

    def training_step(self, batch: Any, _batch_idx: int) -> None:
        self.model(batch[0])
        weight = self.model[0].weight
        self.dead.append(float((weight == 0).double().mean()))
        weight.data.add_(1e-3)

    def train_dataloader(self) -> Any:
        return loader()

    def configure_optimizers(self) -> None:
        return None


def test_a_callback_prunes_what_no_optimiser_trains() -> None:
    module, pruning = ByHand(), snnprune.PruningCallback("magnitude", target=0.5, start=0, finish=2)
    trainer(pruning, epochs=4).fit(module)
    assert pruning.pruner is not None
    assert pruning.pruner.clock.batches == 12
    assert pruning.pruner.rates().synapses == pytest.approx(0.5, abs=0.05)
    assert module.dead[-1] > 0.4  # also after the weights were raised by hand
