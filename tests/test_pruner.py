"""Pruner: targets, options, and life without a trainer or a spiking package."""

from __future__ import annotations

import copy
import subprocess
import sys
import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.config.names import METHODS
from snnprune.methods import DPAP
from snnprune.methods.hebb import HebbCriterion
from snnprune.methods.stdp import STDPCriterion, pairing
from snnprune.network import Projection, discover
from snnprune.network.cost import rates
from snnprune.pruning import Activity, Masks, Pruner, Target
from support.loops import through_a_file
from support.networks import conv_ann, conv_snn

if TYPE_CHECKING:
    from snnprune.pruning.target import Plan


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 60), nn.ReLU(), nn.Linear(60, 4))


@pytest.mark.parametrize("target", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("structured", [0.0, 0.5, 1.0])
def test_the_rate_reached_is_the_rate_asked_for(target: float, structured: float) -> None:
    torch.manual_seed(0)
    model, x = mlp(), torch.rand(32, 64)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    y = torch.randint(0, 4, (32,))
    with Pruner(model, x, "dpap", epochs=20, target=target, structured=structured) as pruner:
        for _ in range(20):
            for _ in range(3):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x + 0.1 * torch.randn_like(x)), y).backward()
                optimizer.step()
                pruner.step(optimizer)
            pruner.end_epoch()
        rates = pruner.rates()
    assert rates.synapses == pytest.approx(target, abs=0.02)
    assert (rates.neurons == 0) == (structured == 0.0)
    assert rates.layers["4"].left >= 4


def test_the_plan_fits_on_paper() -> None:
    model = nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 2))
    topology = discover(model, torch.rand(1, 8))
    # 100 weights; all structured: 64 left are 6.4 units of 8 + 2 weights each, rounded to 6
    assert Target(0.36, structured=1.0).plan(topology).units == {"0": 6, "2": 2}
    # half of the log-survival: 80 left by 8 units; then 64 - 2 x 8 of the 8 x 8 free synapses
    plan = Target(0.36, structured=0.5).plan(topology)
    assert plan.units["0"] == 8
    assert plan.synapses == {"0": pytest.approx(48 / 64)}
    masks = Masks(model, topology)
    assert plan.neurons_to_go("0", masks) == 2
    # of 80 synapses 64 will be left by the neurons; 16 of those should die, 20 of those alive now
    assert plan.synapses_to_go(topology.projections["0"], masks) == 20


@pytest.mark.parametrize(("rate", "structured"), [(1.0, 0.5), (-0.1, 0.5), (0.5, 1.5)])
def test_a_target_outside_its_range_is_refused(rate: float, structured: float) -> None:
    with pytest.raises(UserError, match=r"range|share"):
        Pruner(mlp(), torch.rand(1, 64), "dpap", epochs=3, target=rate, structured=structured)


def test_a_typing_error_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'dpap'"):
        Pruner(mlp(), torch.rand(1, 64), "dpab", epochs=3)
    with pytest.raises(UserError, match="did you mean 'epsilon'"):
        Pruner(mlp(), torch.rand(1, 64), "dpap", epochs=3, epsylon=1.0)


def test_a_method_object_works_as_well_as_a_name() -> None:
    method = DPAP(target=None, epsilon=0.9, criterion=HebbCriterion)
    with Pruner(mlp(), torch.rand(1, 64), method, epochs=3) as pruner:
        assert pruner.method is method
    with pytest.raises(UserError, match=r"\['target'\] came beside a DPAP object.*in DPAP\(target="):
        Pruner(mlp(), torch.rand(1, 64), method, epochs=3, target=0.5)


@pytest.mark.parametrize("method", [DPAP, None, 3, "pathlib:PurePath"])
def test_what_is_no_method_is_refused(method: Any) -> None:
    said = "method must be a name, such as 'dpap', or an object|must be a class that derives from .*Method"
    with pytest.raises(UserError, match=said):
        Pruner(mlp(), torch.rand(1, 64), method, epochs=3)


# --- what a state belongs to


def pruner_of(method: object, **options: Any) -> Pruner:
    torch.manual_seed(0)
    return Pruner(mlp(), torch.rand(2, 64), method, epochs=10, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ("magnitude", "its method is 'DPAP', and here it is 'Magnitude'"),
        ("hebb", "its method is 'DPAP', and here it is 'Hebb'"),
        (DPAP(criterion=HebbCriterion), "its criterion is 'BCM', and here it is 'HebbCriterion'"),
        ("deep-r", "its method is 'DPAP', and here it is 'DeepR'"),
    ],
)
def test_a_state_of_another_method_is_refused(method: Any, what: str) -> None:
    state = pruner_of("dpap").state_dict()
    with pytest.raises(UserError, match=f"of another method: {what}; .*inherit"):
        pruner_of(method).load_state_dict(state)
    pruner_of(method).inherit(state)


def test_a_state_with_other_constants_is_said() -> None:
    state = through_a_file(pruner=pruner_of("dpap", target=0.5))["pruner"]
    for method, options in (("dpap", {"target": 0.7}), (DPAP(target=0.7), {})):
        with pytest.warns(UserWarning, match=r"saved with target\.rate 0\.5 \(here 0\.7\):"):
            pruner_of(method, **options).load_state_dict(state)
    other = pruner_of("dpap", target=0.5, layers={"0": 0.2})
    with pytest.warns(UserWarning, match=r"target\.layers \{\} \(here \{'0': 0\.2\}\):"):
        other.load_state_dict(state)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_state_of_the_same_method_is_taken_in_silence(method: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = through_a_file(pruner=pruner_of(method))["pruner"]
        pruner_of(method).load_state_dict(state)
        del state["identity"]  # of a version before
        pruner_of(method).load_state_dict(state)


def test_a_pruner_says_what_it_is() -> None:
    pruner = pruner_of("magnitude", target=0.5)
    assert repr(pruner) == (
        "Pruner('magnitude', Sequential: 0 of 10 epochs, 0.0% of 12,640 weights and 0.0% of units pruned, "
        "2 of 3 populations free)"
    )
    pruner.end_epoch()
    assert "'magnitude', Sequential: 1 of 10 epochs" in repr(pruner)


def test_hebb_and_stdp_on_paper() -> None:
    projection = Projection("layer", "linear", (), "layer", (1, 2), 1, "neuron")
    pre = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 1.0]]])  # [T, B, 2]: at t = 0 and at t = 2
    post = torch.tensor([[[0.0]], [[1.0]], [[0.0]]])  # at t = 1
    assert pairing(3, 0.5, pre).tolist() == [[0, -0.5, -0.25], [0.5, 0, -0.5], [0.25, 0.5, 0]]
    stdp = STDPCriterion()
    stdp.observe(projection, Activity(pre, post), 1)
    assert stdp.synapse_score(projection, None).tolist() == [[0.5, -0.5]]  # type: ignore[arg-type,union-attr]
    hebb = HebbCriterion()
    hebb.observe(projection, Activity(torch.tensor([[2.0, 3.0]]), torch.tensor([[4.0]])), 1)
    assert hebb.synapse_score(projection, None).tolist() == [[8.0, 12.0]]  # type: ignore[arg-type,union-attr]
    alive = torch.tensor([[True, False]])
    assert hebb.neuron_score(projection, alive, None).tolist() == [4.0 * 8.0]  # type: ignore[arg-type,union-attr]


@pytest.mark.parametrize("silent", [[], [0, 3], [0, 1, 2, 3, 4]])
def test_stdp_of_units_that_were_silent_in_a_batch(silent: list[int]) -> None:
    dice = torch.Generator().manual_seed(0)
    pre = torch.rand(6, 4, 7, generator=dice, dtype=torch.float64)
    post = torch.rand(6, 4, 5, generator=dice, dtype=torch.float64) - 0.5  # some neurons fire negative spikes
    post[..., silent] = 0
    paired = torch.einsum("ts,tbj,sbi->ji", pairing(6, 0.5, pre), post, pre)
    stdp, projection = STDPCriterion(), Projection("layer", "linear", (), "layer", (5, 7), 1, "neuron")
    for batches in (1, 2):
        stdp.observe(projection, Activity(pre, post), batches)
    score = stdp.synapse_score(projection, None)  # type: ignore[arg-type]
    torch.testing.assert_close(score, 2 * paired)


def test_traces_stay_float32_under_autocast() -> None:
    model, x = conv_ann(), torch.rand(4, 2, 12, 12)
    with Pruner(model, x, "dpap", epochs=3) as pruner:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(x).sum().backward()
        pruner.step()
        state = pruner.method.state_dict()["criterion"]
    assert all(t.dtype == torch.float32 for s in state.values() for t in s.values())


def test_a_spiking_net_prunes_in_single_step_mode() -> None:
    torch.manual_seed(0)
    from spikingjelly.activation_based import functional

    model = conv_snn("s")
    x = torch.poisson(torch.full((4, 5, 2, 12, 12), 0.5))
    with Pruner(model, x[0], "dpap", epochs=6, target=0.5) as pruner:
        for _ in range(6):
            sum(model(step) for step in x).sum().backward()  # type: ignore[union-attr]
            pruner.step()
            functional.reset_net(model)
            pruner.end_epoch()
        assert pruner.rates().synapses == pytest.approx(0.5, abs=0.03)


BLOCKED = """
import sys
for name in ("lightning", "tonic", "torchvision", "matplotlib", "spikingjelly", "pytorch_lightning"):
    sys.modules[name] = None
import torch
from torch import nn
import snnprune
from snnprune import dpap
assert dpap.spiking_trace(torch.ones(2, 1)).item() == 1.5
assert all(hasattr(dpap, name) for name in ("BCM", "SurvivalFunction", "DPAP"))
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 4))
x = torch.randn(200, 64)
y = x[:, :4].argmax(1)
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
pruner = snnprune.Pruner(model, x[:1], method="dpap", epochs=12, target=0.5)
for epoch in range(12):
    for i in range(0, 200, 50):
        loss = nn.functional.cross_entropy(model(x[i:i + 50]), y[i:i + 50])
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        pruner.step(optimizer)
    pruner.end_epoch()
rates = pruner.rates()
accuracy = (model(x).argmax(1) == y).float().mean().item()
assert abs(rates.synapses - 0.5) < 0.02, rates.synapses
assert accuracy > 0.9, accuracy
roots = {n.split(".")[0] for n, m in sys.modules.items() if m}
loaded = roots & {"lightning", "tonic", "spikingjelly", "torchvision"}
assert not loaded, loaded
print("fine")
"""


def test_dpap_needs_no_trainer_no_spiking_package_and_no_data_package() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BLOCKED)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "fine"


def options_net() -> nn.Sequential:
    """Eight units read four inputs, six read them, two answer: 32 + 48 + 12 = 92 weights."""
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))


def test_layers_by_name_give_their_own_share() -> None:
    topology = discover(options_net(), torch.rand(1, 4))
    plan = Target(0.5, structured=1.0, layers={"2": 0.5}).plan(topology)
    assert plan.units["2"] == 3
    # 4 a + 3 a + 6 = 46 weights are left with a = 5.7 units of the first layer
    assert plan.units["0"] == 6
    assert Target(0.5, structured=0.0, layers={"2": 0.75}).plan(topology).synapses["2"] == 0.25
    with pytest.raises(UserError, match="no layer is called 'fc\\*'"):
        Target(0.5, layers={"fc*": 0.5}).plan(topology)


def test_a_target_of_operations_counts_positions() -> None:
    topology = discover(conv_ann(), torch.rand(1, 2, 12, 12))
    weights, macs = (Target(0.6, 1.0, measure).plan(topology) for measure in ("weights", "macs"))  # type: ignore[arg-type]
    assert macs.units != weights.units

    def left(plan: Plan) -> float:
        cost = 0.0
        for p in topology.projections.values():
            columns = p.columns - sum((i.size - plan.units[i.population]) * i.spread for i in p.inflow)
            cost += plan.units[p.post] * columns * 9 ** (p.kind == "conv") * p.positions
        return cost / rates(topology).macs_dense

    assert left(macs) == pytest.approx(0.4, abs=0.1)  # five and six channels are coarse
    with pytest.raises(ValueError, match=r"one of .*'macs'.*, came 'joules'"):
        Target(0.6, measure="joules")  # type: ignore[arg-type]


def test_what_is_excluded_is_left_alone() -> None:
    torch.manual_seed(0)
    model, x = mlp(), torch.rand(32, 64)
    options = {"exclude": ["2"], "protect_first": True}
    with pytest.warns(UserWarning, match="no population"):
        pruner = Pruner(model, x, "dpap", epochs=8, target=None, **options)
    reasons = {p.name: p.frozen for p in pruner.topology.populations.values()}
    assert reasons["0"] == "the first layer is protected"
    assert reasons["2"] == "it is excluded by '2'"
    assert pruner.topology.free() == []
    with pytest.raises(UserError, match="no layer is called 'fc'"):
        Pruner(model, x, "dpap", epochs=8, exclude=["fc"])


def test_a_copy_of_a_pruner_prunes_the_copy_of_its_network() -> None:
    model, x = mlp(), torch.rand(32, 64)
    pruner = Pruner(model, x[:1], "dpap", epochs=4, target=0.6)

    def train(pruner: Pruner) -> None:
        optimizer = torch.optim.SGD(pruner.model.parameters(), 0.1)
        for _ in range(3):
            pruner.model(x).square().sum().backward()
            optimizer.step()
            pruner.step(optimizer)
            pruner.end_epoch()

    twin = copy.deepcopy(pruner)
    train(twin)
    assert twin.rates().synapses > 0.3
    assert pruner.rates().synapses == 0
    assert pruner.clock.batches == 0
    train(pruner)
    assert pruner.rates() == twin.rates()
    twin.close()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in twin.model.modules())
    assert pruner.model._forward_hooks


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (torch.zeros(3, 0, 2, 12, 12), r"at least one sample.*is \[3, 0, 2, 12, 12\]"),
        (torch.zeros(3, 1, 3, 12, 12), r"\[3, 1, 3, 12, 12\], does not go through .* 2 channels"),
        (None, "at least one sample.*is NoneType"),
    ],
)
def test_an_example_input_that_does_not_fit(example: object, said: str) -> None:
    net = conv_snn()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(UserError, match=said):
        Pruner(net, example, epochs=2)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize("neurons", [nn.ReLU, "ReLU", (nn.ReLU(),)])
def test_neurons_are_a_tuple_of_classes(neurons: object) -> None:
    with pytest.raises(UserError, match=r"such as neurons=\(MyNeuron,\), and came as"):
        discover(conv_snn(), torch.zeros(3, 1, 2, 12, 12), neurons=neurons)


def test_one_layer_to_exclude_needs_no_list() -> None:
    example = torch.zeros(3, 1, 2, 12, 12)
    named = ("0*", ["0*"])  # and not "0" and "*"
    one, listed = (Pruner(conv_snn(), example, epochs=2, exclude=names) for names in named)
    assert str(one.topology) == str(listed.topology)


@pytest.mark.parametrize("every", [0, -1])
def test_a_cut_comes_every_so_many_epochs(every: int) -> None:
    with pytest.raises(UserError, match=f"compact_every must be a number of epochs.*came {every}"):
        Pruner(conv_snn(), torch.zeros(3, 1, 2, 12, 12), epochs=2, compact_every=every)
    with pytest.raises(UserError, match=f"came {every}"):
        snnprune.PruningCallback("dpap", compact_every=every)
