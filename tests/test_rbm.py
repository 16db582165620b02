"""A spiking Boltzmann machine: contrastive divergence by spikes, and runs of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.nn.models import build
from snnprune.nn.plasticity import EventDrivenCD
from snnprune.nn.plasticity.contrastive import _Machine
from support.tasks import digits

if TYPE_CHECKING:
    from pathlib import Path


def machine(weight: float, out: float, bias: float = 0.0, **options: Any) -> tuple[Any, EventDrivenCD]:
    """One input, one hidden neuron, one class; tau 2, threshold 1; synapses that never fail."""
    net: Any = nn.Sequential(layer.Linear(1, 1), neuron.LIFNode(2.0, False), layer.Linear(1, 1)).double()
    functional.set_step_mode(net, "m")
    for each, number in ((net[0], weight), (net[2], out)):
        nn.init.constant_(each.weight, number)
        nn.init.constant_(each.bias, bias)
    given = {"chance": 1.0, "clamped": 1.0, "settling": 0.0, "eta": 1.0, "tau": 2.0} | options
    return net, EventDrivenCD(net[0], net[1], net[2], torch.zeros(1, dtype=torch.float64), **given)


def test_a_change_on_paper() -> None:
    """w = 1.0 from the input, u = 0.2 to the class, no biases; the input fires at both steps with data.

    With data the class fires at both steps, and the hidden neuron sees what fired a step earlier:
    step 0: x = 0, h = 0; step 1: x = 1.2, h = 1.2 fires. Traces of input and class: 1, 1.5; of hidden: 0, 1.
    w: 1/2 (s_h x_v + x_h s_v) = 1/2 (1 x 1.5 + 1 x 1) = 1.25 at step 1, and 0 at step 0. u: the same, 1.25.
    In reconstruction (potentials of visible neurons begin at 0) the hidden spike of before drives them:
    step 0: input current 1.0, fires; class current 0.2, silent. Hidden: it sees both of before, 1.2: fires.
        traces: input 1.75, class 0.75, hidden 1.5.  w: 1/2 (1.75 + 1.5) = 1.625;  u: 1/2 (0.75 + 0) = 0.375
    step 1: input current 1.0, fires; class: 0.1 + 0.2, silent. Hidden sees the input alone: 1.0, fires.
        traces: input 1.875, class 0.375, hidden 1.75.  w: 1/2 (1.875 + 1.75) = 1.8125;  u: 0.1875
    Over two steps: dw = (1.25 - 3.4375) / 2, du = (1.25 - 0.5625) / 2; biases: hidden (1 - 2) / 2, class
    (2 - 0) / 2, input (2 - 2) / 2.
    """
    _, rule = machine(1.0, 0.2)
    found = rule.changes(torch.ones(2, 1, 1), torch.tensor([0]))
    assert [each.item() for each in found] == pytest.approx([-1.09375, -0.5, 0.34375, 1.0, 0.0])


def test_what_it_recalls_as_it_is_shown_changes_nothing_on_average() -> None:
    """The hidden neuron is silent, and so is the reconstruction: only visible biases learn what was shown."""
    _, rule = machine(0.1, 0.1)
    found = rule.changes(torch.ones(4, 3, 1), torch.tensor([0, 0, 0]))
    assert [each.item() for each in found] == pytest.approx([0.0, 0.0, 0.0, 1.0, 1.0])


def test_only_settled_steps_count() -> None:
    """Of four steps half are left out: the scale is that of two."""
    _, rule = machine(0.1, 0.1, settling=0.5)
    shown = torch.tensor([1.0, 1.0, 0.0, 1.0]).view(4, 1, 1)
    assert rule.changes(shown, torch.tensor([0]))[4].item() == pytest.approx(0.5)


def test_synapses_that_fail_have_the_mean_and_the_variance_of_their_currents() -> None:
    """p = 0.25, two inputs of weights 0.3 and -0.4: mean -0.1, variance 3 (0.09 + 0.16) = 0.75."""
    torch.manual_seed(0)
    net: Any = nn.Sequential(layer.Linear(2, 1), neuron.LIFNode(2.0, False), layer.Linear(1, 1)).double()
    net[0].weight.data.copy_(torch.tensor([[0.3, -0.4]]))
    net[0].bias.data.zero_()
    rule = EventDrivenCD(net[0], net[1], net[2], torch.zeros(2, dtype=torch.float64), chance=0.25)
    state = _Machine(rule, 200_000, torch.Generator().manual_seed(0))
    state.threshold = float("inf")
    state.inputs.fill_(1.0)
    state.advance(state.inputs, state.classes)
    currents = state.potentials[1]
    assert currents.mean().item() == pytest.approx(-0.1, abs=0.01)
    assert currents.var().item() == pytest.approx(0.75, rel=0.01)
    # and those of synapses that are drawn one by one
    kept = (torch.rand(200_000, 2) < 0.25).double() / 0.25
    drawn = kept @ net[0].weight.detach().squeeze(0)
    assert (drawn.mean().item(), drawn.var().item()) == pytest.approx((-0.1, 0.75), abs=0.02)


def rbm(hidden: int = 9) -> Any:
    torch.manual_seed(0)
    return build(ModelConfig("rbm-snn", hidden=hidden, membrane=4.0), (1, 1, 6), 3)


def test_dead_synapses_of_both_layers_stay_zero_and_dead_units_are_silent() -> None:
    net = rbm()
    rule = net.rule()
    masks = {
        id(net.fc1): torch.rand(9, 6, generator=torch.Generator().manual_seed(0)) < 0.6,
        id(net.out): torch.ones(3, 9, dtype=torch.bool),
    }
    masks[id(net.fc1)][4], masks[id(net.out)][:, 4] = False, False
    for each in (net.fc1, net.out):
        each.weight.data.mul_(8.0).mul_(masks[id(each)])
    before = net.fc1.weight.clone()
    dice = torch.Generator().manual_seed(0)
    for _ in range(5):
        functional.reset_net(net)
        with rule.watching() as seen:
            net((torch.rand(10, 4, 1, 1, 6, generator=dice) < 0.5).float())
        rule.step(seen, torch.tensor([0, 1, 2, 1]), lambda each: masks[id(each)], dice)
    assert all(not each.weight[~masks[id(each)]].any() for each in (net.fc1, net.out))
    assert not torch.equal(net.fc1.weight, before)
    assert net.fc1.bias[4] == 0  # it never fired, with data or without
    assert net.fc1.bias.abs().sum() > 0


def test_a_network_that_has_moved_learns_its_own_biases() -> None:
    """Another device or dtype makes another buffer; the rule was made before."""
    net = rbm()
    rule = net.rule()
    net.double()
    with rule.watching() as seen:
        net(torch.ones(8, 2, 1, 1, 6, dtype=torch.float64))
    before = net.visible.clone()
    net.learn(rule, seen, torch.tensor([0, 1]), lambda _: None, torch.Generator().manual_seed(0))
    assert net.visible.dtype == torch.float64
    assert not torch.equal(net.visible, before)


def test_wrong_constants_and_a_missing_forward_are_refused() -> None:
    for bad in ({"chance": 0.0}, {"clamped": 1.5}, {"settling": 1.0}, {"tau": 0.5}):
        with pytest.raises(ValueError, match=r"chance and clamped must be in \(0, 1\]"):
            machine(1.0, 1.0, **bad)
    rule = rbm().rule()
    with rule.watching() as seen:
        pass
    with pytest.raises(UserError, match=r"call the network inside of `with rule.watching\(\)"):
        rule.step(seen, torch.tensor([0]))


def config(method: str, epochs: int, **options: Any) -> RunConfig:
    return RunConfig(
        data=DataConfig("digits", time_steps=20, encoding="poisson"),
        model=ModelConfig("rbm-snn", hidden=50, membrane=5.0),
        method=MethodConfig(method, target=0.5, structured=0.5, options=options),
        train=TrainConfig(epochs=epochs, batch_size=20, device="cpu", threads=1, twin=False),
    )


def test_a_run_learns_prunes_and_repeats_bit_for_bit(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        summary = snnprune.train(config("dpap", 10), tmp_path / name, splits=digits(), page=False)
        assert summary is not None
        assert summary["accuracy"] > 0.5  # a tenth would be chance
        assert summary["pruning_rate"] == pytest.approx(0.5, abs=0.02)
        assert summary["compact_answers_differ"] == 0
        found.append((tmp_path / name / "model.safetensors").read_bytes())
    assert found[0] == found[1]


def test_methods_that_read_gradients_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reads gradients, and rbm-snn learns without them"):
        snnprune.train(config("taylor", 2), tmp_path / "run", splits=digits(), page=False)
    assert not (tmp_path / "run").exists()
