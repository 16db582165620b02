"""Discovery, masks and traces on the networks that people have."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

from snnprune.network import Slot, Topology, discover
from snnprune.network.axes import tensors_in
from snnprune.network.resizing import resized
from snnprune.pruning import TraceRecorder
from snnprune.pruning.solver import columns_left, rows_left
from support.families import FAMILIES, Family, half_dead, in_modes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from snnprune.pruning import Masks

    Change = Callable[[str, Tensor, Tensor], None]

EVERY = in_modes()


def found(family: Family, mode: str) -> tuple[nn.Module, Topology]:
    net = family.network(mode)
    return net, discover(net, family.example(mode), neurons=family.neurons)


def run(family: Family, net: nn.Module, mode: str) -> Tensor:
    """Return the outputs of three time steps."""
    functional.reset_net(net)
    if mode != "s":
        output = net(family.example(mode))
    else:
        output = torch.stack([net(step) for step in family.example("m")])
    functional.reset_net(net)
    return torch.cat([t.flatten() for t in tensors_in(output)])


@contextmanager
def at_the_units(
    net: nn.Module, topology: Topology, masks: Masks, change: Change, without: Sequence[str] = ()
) -> Iterator[None]:
    """Show ``change`` what each layer's neurons emit, [..., rows], and which of them are alive.

    Layers are left out whose rows belong to a population that is frozen, or in ``without``.
    """
    handles, calls = [], defaultdict[str, int](int)
    for p in topology.projections.values():
        owners = {o.population for o in p.outflow}
        frozen = any(topology.populations[name].frozen for name in owners)
        if p.neuron is None or p.site is None or frozen or owners & set(without):
            continue

        def hook(_module: nn.Module, _args: Any, output: Any, p: Any = p) -> None:
            calls[p.name] += 1
            if (calls[p.name] - 1) % p.site.calls == p.site.call:
                spikes = tensors_in(output)[0].movedim(p.site.axis, -1)
                change(p.name, spikes.narrow(-1, p.site.offset, p.site.size), masks.rows(p))

        handles.append(net.get_submodule(p.neuron).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize(("family", "mode"), EVERY)
def test_what_is_free_and_what_is_frozen(family: Family, mode: str) -> None:
    _, topology = found(family, mode)
    assert len(topology.free()) == family.free, f"\n{topology}"
    assert topology.unreached == ()
    frozen = {p.name: p.frozen for p in topology.populations.values() if p.frozen}
    for name, words in family.frozen:
        assert words in str(frozen.pop(name))
    assert set(frozen.values()) == (set() if not frozen else {"it is the output of the network"})
    for p in topology.projections.values():
        assert p.neuron is not None or p.frozen is not None or p.output
    check_sizes(topology)


def check_sizes(topology: Topology) -> None:
    """With all its units a network is the same, and has all its rows and columns."""
    assert resized(topology, {}) == topology
    whole = {p.name: float(p.size) for p in topology.populations.values()}
    for p in topology.projections.values():
        assert (rows_left(p, whole), columns_left(p, whole)) == (p.shape[0], p.columns)


@pytest.mark.parametrize(("family", "mode"), EVERY)
def test_the_network_is_left_as_found(family: Family, mode: str) -> None:
    net = family.network(mode)
    before = run(family, net.eval(), mode)
    net.train()
    tensors = {k: v.clone() for k, v in net.state_dict().items()}
    attributes = {m: dict(vars(m)) for m in net.modules()}
    discover(net, family.example(mode), neurons=family.neurons)
    assert all(torch.equal(tensors[k], v) for k, v in net.state_dict().items())
    for module, held in attributes.items():
        assert list(vars(module)) == list(held)
        assert all(vars(module)[k] is v for k, v in held.items())
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert torch.equal(before, run(family, net.eval(), mode))


@pytest.mark.parametrize(("family", "mode"), EVERY)
def test_dead_units_are_silent_and_their_word_counts_for_nothing(family: Family, mode: str) -> None:
    net, topology = found(family, mode)
    masks = half_dead(net, topology)
    family.enliven(net, mode)
    dead, alive = [], defaultdict[str, float](float)

    def listen(name: str, activity: Tensor, mask: Tensor) -> None:
        dead.append(activity[..., ~mask].abs().max().item())
        alive[name] += activity[..., mask].abs().sum().item()

    for training in (True, False):
        net.train(training)
        with at_the_units(net, topology, masks, listen):
            run(family, net, mode)
    assert set(dead) == {0.0}
    assert min(alive.values()) > 0

    def speak(_name: str, activity: Tensor, mask: Tensor) -> None:
        activity[..., ~mask] = torch.randn(activity[..., ~mask].shape)

    net.eval()
    with torch.no_grad():
        before = run(family, net, mode)
        scored = [p.name for p in topology.populations.values() if p.contracted]
        with at_the_units(net, topology, masks, speak, without=scored):
            assert torch.equal(before, run(family, net, mode))


@pytest.mark.parametrize(("family", "mode"), EVERY)
def test_traces_have_a_number_for_each_sample_and_unit(family: Family, mode: str) -> None:
    net, topology = found(family, mode)
    recorder = TraceRecorder(net.train(), topology)
    output = run(family, net, mode)
    output.square().sum().backward()
    batch = recorder.batch()
    recorder.close()
    assert set(batch) == {p.name for p in topology.projections.values() if p.frozen is None and not p.output}
    for name, activity in batch.items():
        p = topology.projections[name]
        assert activity.pre.shape == (2, p.columns)
        assert activity.post.shape == (2, p.shape[0])


# --- by pencil


def test_an_and_of_spikes_joins_what_it_meets() -> None:
    _, topology = found(FAMILIES["sew_resnet18 IAND"], "m")
    assert topology.populations["layer2.0.conv2"].producers == [
        "layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv2",
    ]  # fmt: skip
    sizes = [p.size for p in topology.free()]
    assert sizes == [8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64]


def test_a_depthwise_convolution_is_part_of_the_population_that_it_reads() -> None:
    _, topology = found(FAMILIES["depthwise"], "m")
    first = topology.populations["0"]
    assert first.producers == ["0", "3"]
    assert {s for s in first.slots if s.module in {"3", "6"}} == {
        Slot("3", "weight", 0, "out"), Slot("3", "bias", 0, "out"), Slot("6", "weight", 1, "in"),
    }  # fmt: skip
    assert "depthwise" in str(topology.projections["3"].frozen)
    assert topology.projections["3"].inflow == ()
    assert topology.projections["0"].frozen is None
    assert [p.neuron for p in topology.projections.values()] == ["2", "5", "8", "12"]


def test_a_grouped_convolution_is_counted_whole() -> None:
    net, topology = found(FAMILIES["grouped, transposed"], "m")
    masks = half_dead(net, topology)
    assert topology.projections["6"].shape == (8, 4, 3, 3)
    assert topology.projections["6"].inflow == ()
    assert masks.alive(topology.projections["6"]).all()
    assert (
        masks.rates().weights_dense
        == sum(
            module.weight.numel() for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))
        )
        + 6 * 5 * 2 * 2
    )  # the transposed one


def test_a_neuron_over_a_concatenation_is_read_in_parts() -> None:
    _, topology = found(FAMILIES["concatenation"], "m")
    left, right = topology.projections["left"], topology.projections["right"]
    assert (left.neuron, right.neuron) == ("left_lif", "lif")
    assert right.site is not None
    assert (right.site.axis, right.site.offset, right.site.size) == (-3, 4, 6)
    assert [(i.offset, i.size, i.spread) for i in topology.projections["out"].inflow] == [
        (0, 4, 4),
        (16, 6, 4),
    ]


def test_a_relu_that_stands_in_several_places_is_told_apart_by_its_calls() -> None:
    net, topology = found(FAMILIES["torchvision resnet18"], "")
    sites = {n: p.site for n, p in topology.projections.items()}
    first, second = sites["layer1.0.conv1"], sites["layer1.0.conv2"]
    assert (first.call, first.calls, second.call, second.calls) == (0, 2, 1, 2)
    assert sites["layer2.0.downsample.0"] == sites["layer2.0.conv2"]
    emitted: list[Tensor] = []
    net.get_submodule("layer1.0.relu").register_forward_hook(
        lambda m, i, o: emitted.append(o.detach().clone())
    )
    recorder = TraceRecorder(net.train(), topology)
    net(FAMILIES["torchvision resnet18"].example())
    batch = recorder.batch()
    recorder.close()
    for name, relu in zip(("layer1.0.conv1", "layer1.0.conv2"), emitted, strict=True):
        assert torch.allclose(batch[name].post, relu.sum((-1, -2)))


def test_a_plif_network_has_one_constant_for_each_neuron_layer() -> None:
    net, topology = found(FAMILIES["NMNISTNet"], "m")
    assert isinstance(net.conv_fc[2], neuron.ParametricLIFNode)  # type: ignore[index]
    assert [(p.name, p.size) for p in topology.free()] == [
        ("conv_fc.0", 16),
        ("conv_fc.4", 16),
        ("conv_fc.10", 256),
    ]


def test_thresholds_of_channels_are_slots_of_theirs() -> None:
    _, topology = found(FAMILIES["own neuron"], "m")
    assert Slot("net.2", "threshold", 0, "neuron") in topology.populations["net.0"].slots


def test_the_table_can_be_read() -> None:
    _, topology = found(FAMILIES["Spikformer"], "m")
    lines = str(topology).splitlines()
    assert max(map(len, lines)) < 220
    assert "head channels" in str(topology)
    assert "coupled with" in lines[0]
