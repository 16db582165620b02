"""A plan comes back from its file as it was written, without torch; what is no such file is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors import numpy as safetensors
from safetensors import safe_open
from spikingjelly.activation_based import layer, neuron
from torch import nn

from snnprune.common.errors import UserError
from snnprune.engine import plan_file
from snnprune.engine.plan import Linear, Neurons, Plan, Source
from snnprune.export import connections
from snnprune.export.planning import plan
from snnprune.nn.models.adaptive import AdaptiveLIFNode
from snnprune.nn.models.heterogeneous import HeterogeneousLIFNode
from snnprune.nn.models.integrator import LeakyIntegrator
from snnprune.nn.recurrent import Recurrent
from support.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FRAMES = torch.poisson(torch.full((4, 1, 2, 6, 6), 0.6), torch.Generator().manual_seed(0))


def equal(one: Any, other: Any) -> bool:
    """Tell whether two parts of plans are equal, arrays with their dtypes."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    if hasattr(one, "__dataclass_fields__"):
        same = (equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
        return type(one) is type(other) and all(same)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(equal(*both) for both in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


def sparse(module: nn.Module) -> nn.Module:
    """Return a network four fifths of whose synapses are dead, so that rows are smaller than all numbers."""
    torch.manual_seed(2)
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.data *= torch.rand(parameter.shape) < 1 / 5
    return module.eval()


def convolutional() -> nn.Module:
    return nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1, step_mode="m"), neuron.ParametricLIFNode(step_mode="m"),
        layer.AvgPool2d(3, 2, 1, count_include_pad=False, step_mode="m"),
        layer.Conv2d(6, 6, 3, 2, 1, groups=2, bias=False, step_mode="m"),
        neuron.LIFNode(1.3, False, v_reset=None, step_mode="m"), layer.MaxPool2d(2, step_mode="m"),
        layer.Flatten(step_mode="m"), layer.Linear(6, 5, step_mode="m"),
        neuron.IFNode(v_reset=-0.25, step_mode="m"), layer.Linear(5, 3, step_mode="m"),
    )  # fmt: skip


def recurrent(neurons: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(
        layer.Flatten(step_mode="m"), layer.Linear(72, 7, step_mode="m"), Recurrent(neurons(), 7),
        layer.Linear(7, 3, step_mode="m"), LeakyIntegrator(0.7),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "convolutional": convolutional,
    "recurrent": recurrent(lambda: neuron.LIFNode(2.5, v_threshold=0.4)),
    "heterogeneous": recurrent(lambda: HeterogeneousLIFNode(7)),
    "adaptive": recurrent(AdaptiveLIFNode),
    "adaptive and heterogeneous": recurrent(lambda: AdaptiveLIFNode(7)),
}
WHOLE = ("convolutional", "recurrent", "heterogeneous")


def cases() -> list[Any]:
    return [(kind, None) for kind in NETWORKS] + [(kind, bits) for kind in WHOLE for bits in (16, 8, 4, 3)]


@pytest.mark.parametrize(("kind", "bits"), cases())
def test_every_array_comes_back(kind: str, bits: int | None, tmp_path: Path) -> None:
    model = sparse(NETWORKS[kind]())
    made = plan(model, FRAMES, bits=bits, over_time="max", about="a note")
    plan_file.write(plan_file.content(made), tmp_path / "net.safetensors")
    assert equal(plan_file.read(tmp_path / "net.safetensors"), made)
    assert (made.over_time, made.about, made.bits) == ("max", "a note", bits)


@pytest.mark.parametrize("name", ["sew_resnet18 ADD", "Conv1d, tdBN, PLIF", "LinearRecurrentContainer"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_families_come_back(name: str, kind: Any, tmp_path: Path) -> None:
    made = plan(FAMILIES[name].network("m").eval(), FAMILIES[name].example("m", batch=1), dtype=kind)
    plan_file.write(plan_file.content(made), tmp_path / "net.safetensors")
    assert equal(plan_file.read(tmp_path / "net.safetensors"), made)


def test_constants_have_names_that_say_what_they_are(tmp_path: Path) -> None:
    """`tau` in time steps, `kept` the share of a potential that is left: of 2^-4 with four bits."""
    model = nn.Sequential(nn.Linear(2, 1), neuron.LIFNode(4.0, step_mode="m"), nn.Linear(1, 1))
    told = []
    for bits in (None, 4):
        made = plan(model, torch.rand(3, 1, 2), bits=bits)
        plan_file.write(plan_file.content(made), tmp_path / "net.safetensors")
        with safe_open(tmp_path / "net.safetensors", framework="numpy") as file:
            told.append(json.loads(file.metadata()["network"])["plan"]["nodes"][1])
    assert (told[0]["equations"], told[0]["tau"], told[0]["threshold"]) == ("lif", 4.0, 1.0)
    assert (told[1]["equations"], told[1]["kept"]) == ("whole", 12)


def test_what_follows_from_other_keys_may_be_missing_and_may_not_differ(tmp_path: Path) -> None:
    """Files that earlier code wrote lack these keys, and have the divisors of pools in a tensor."""
    path = tmp_path / "net.safetensors"
    for kind, bits in cases():
        torch.manual_seed(0)
        held, about = by_hand(kind, bits)
        torch.manual_seed(0)
        made = plan(sparse(NETWORKS[kind]()), FRAMES, bits=bits)
        for node in about["plan"]["nodes"]:
            for key in ("decay", "decay_input", "biases", "scale"):
                if not (key == "decay_input" and node.get("equations") in ("lif", "plif")):
                    node.pop(key, None)
            if node["kind"] == "pool" and isinstance(node["divisors"], list):
                held[f"{node['name']}.divisors"] = np.array(node["divisors"])
                node["divisors"] = {"tensor": f"{node['name']}.divisors"}
        rewritten(path, {name: held[name] for name in held if not name.endswith(".decays")}, about)
        assert equal(plan_file.read(path), made)
    held, about = by_hand("heterogeneous", 8)
    name = next(name for name in held if name.endswith(".decays"))
    assert np.array_equal(held[name], held[name.replace("decays", "leaks")] / 2**8)
    rewritten(path, held | {name: held[name] + 2.0**-8}, about)
    with pytest.raises(UserError, match=f"'{name}' does not follow from the constants"):
        plan_file.read(path)


def test_a_container_stays_one_matrix(tmp_path: Path) -> None:
    family = FAMILIES["LinearRecurrentContainer"]
    model = family.network("m").eval()
    connections.write(model, tmp_path / "net.safetensors", family.example("m", batch=1))
    read = connections.read(tmp_path / "net.safetensors")
    assert np.array_equal(read["3.rc"].astype(np.float32), model[3].rc.weight.detach().numpy())


def test_a_plan_is_read_without_torch(tmp_path: Path) -> None:
    made = plan(sparse(convolutional()), FRAMES, bits=8)
    plan_file.write(plan_file.content(made), tmp_path / "net.safetensors")
    code = (
        "import sys, pathlib; from snnprune.engine import plan_file; "
        "made = plan_file.read(pathlib.Path(sys.argv[1])); print(len(made.nodes), 'torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "net.safetensors"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == [str(len(made.nodes)), "False"]


# --- files without a plan


def test_what_no_plan_can_hold_leaves_as_connections_with_the_reason(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    connections.write(model, tmp_path / "net.safetensors", torch.rand(3, 1, 4))
    read = connections.read(tmp_path / "net.safetensors")
    assert np.array_equal(read["0"].astype(np.float32), model[0].weight.detach().numpy())
    with pytest.raises(UserError, match=r"cannot be run \(layer '1' is a ReLU, which hands on numbers"):
        plan_file.read(tmp_path / "net.safetensors")


def test_a_file_of_version_1_has_weights_and_cannot_be_run(tmp_path: Path) -> None:
    """As version 0.3 wrote it: a layer of two units, the first of which reads the second pixel."""
    parts = {
        "0.rows": np.array([0, 1, 1], np.uint32),
        "0.columns": np.array([1], np.uint16),
        "0.weights": np.array([7], np.int8),
        "0.steps": np.array([0.5, 1.0], np.float32),
    }
    about = {"bits": 8, "layers": {"0": {"shape": [2, 3], "neurons": "1"}}, "leaks": {"1": 128}, "places": 16}
    header = {"format": "snnprune connections, version 1", "network": json.dumps(about)}
    safetensors.save_file(parts, tmp_path / "net.safetensors", header)
    assert connections.read(tmp_path / "net.safetensors")["0"].tolist() == [[0, 3.5, 0], [0, 0, 0]]
    with pytest.raises(UserError, match=r"version 1, which says too little .*: export the network again"):
        plan_file.read(tmp_path / "net.safetensors")


# --- files of others


def by_hand(
    kind: str = "convolutional", bits: int | None = 4
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors and the header of a small file."""
    made = plan(sparse(NETWORKS[kind]()), FRAMES, bits=bits)
    content = plan_file.content(made)
    held = safetensors.load(content)
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])["__metadata__"]
    return held, json.loads(header["network"])


def rewritten(path: Path, held: dict[str, np.ndarray], about: Any) -> None:
    safetensors.save_file(held, path, {"format": plan_file.FORMAT, "network": json.dumps(about)})


def refused(path: Path) -> str:
    """Return what both readers say of a file that is none."""
    said = ""
    for read in (plan_file.read, connections.read):
        try:
            read(path)
        except UserError as error:
            said = said or str(error)
            assert "\n" not in said
            assert len(said) < 600 + len(str(path))
    return said


def test_cut_and_flipped_files_are_refused_or_read(tmp_path: Path) -> None:
    """One sentence, or a plan that fits itself; never another error."""
    held, about = by_hand()
    path = tmp_path / "net.safetensors"
    rewritten(path, held, about)
    content, coin = path.read_bytes(), np.random.default_rng(0)
    for size in coin.integers(0, len(content), 60):
        path.write_bytes(content[:size])
        assert "cannot read connections from" in refused(path)
    for _ in range(300):
        damaged = bytearray(content)
        for place in coin.integers(0, len(content), coin.integers(1, 4)):
            damaged[place] = coin.integers(0, 256)
        path.write_bytes(damaged)
        refused(path)
    path.write_bytes(b"")
    assert "cannot read connections from" in refused(path)
    assert "cannot read connections from" in refused(tmp_path / "missing")
    assert "cannot read connections from" in refused(tmp_path)


WRONG = [None, True, -1, 0, 2**31, 10**30, 1e300, "x", "", [], {}, [1] * 4, [[]], [[0, 0]], {"tensor": "y"}]


def places_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places_of(one, (*path, key)))]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("kind", "bits"), [("convolutional", 4), ("adaptive", None)])
def test_no_wrong_value_in_a_header_does_harm(kind: str, bits: int | None, tmp_path: Path) -> None:
    held, about = by_hand(kind, bits)
    coin = np.random.default_rng(1)
    places = [place for place in places_of(about) if place and place[0] != "leaks"]
    for number in coin.integers(0, len(places), 150):
        changed = json.loads(json.dumps(about))
        inside = changed
        for key in places[number][:-1]:
            inside = inside[key]
        inside[places[number][-1]] = WRONG[coin.integers(len(WRONG))]
        rewritten(tmp_path / "net.safetensors", held, changed)
        refused(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("tensor", "made", "told"),
    [
        ("0.columns", lambda a: a + 100, "has columns beyond 18"),
        ("0.columns", lambda a: a[::-1].copy(), "not in order"),
        ("0.columns", lambda a: a.astype(np.int64), "is int64"),
        ("0.rows", lambda a: a[::-1].copy(), "does not divide"),
        ("0.rows", lambda a: a + 1, "does not divide"),
        ("0.weights", lambda a: a[:-1], "weights of"),
        ("0.biases", lambda a: a[:-1], r"has biases \(5,\)"),
        ("1.thresholds", lambda a: a[:-1], r"has constants \(5,\)"),
        ("0.steps", lambda a: a * np.nan, "a number that is not finite"),
        ("0.steps", lambda a: -a, "a step that is not above 0"),
    ],
)
def test_damage_is_named(tensor: str, made: Any, told: str, tmp_path: Path) -> None:
    held, about = by_hand(bits=8)
    rewritten(tmp_path / "net.safetensors", held | {tensor: made(held[tensor])}, about)
    with pytest.raises(UserError, match=told):
        plan_file.read(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda plan: plan["nodes"][1].update(reads=[[5, 0]]), "'1' reads node 5"),
        (lambda plan: plan["nodes"][1].update(reads=[[-1, 1]]), "'1' reads node -1"),
        (lambda plan: plan["nodes"][1].update(reads=[[0, 2]]), "'1' reads 2 steps before"),
        (lambda plan: plan["nodes"][1].update(reads=[]), "'1' reads nothing"),
        (lambda plan: plan["nodes"][1].update(name="0"), "two nodes have one name|'0.thresholds'"),
        (lambda plan: plan["nodes"][1].update(kept=17), "keeps"),
        (lambda plan: plan["nodes"][1].update(shape=[6, 6, 2**30]), "has shape"),
        (lambda plan: plan["nodes"][0].update(stride=[0, 1]), "'0' makes"),
        (lambda plan: plan["nodes"][2]["rows"].__setitem__(0, [0, 9]), "not within its input"),
        (lambda plan: plan["nodes"][2].update(divisors=0), "divides by 0"),
        (lambda plan: plan["nodes"][2].update(divisors=[[4.0, 6.0], [6.0]]), "cannot read"),
        (lambda plan: plan["nodes"][2].update(divisors=[[4.0]]), "'2' makes"),
        (lambda plan: plan["nodes"][1].update(decay=0.25), "decay of '1' is 0.25, and its constants say 0.5"),
        (lambda plan: plan["nodes"][1].update(decay_input=True), "decay_input of '1' is True"),
        (lambda plan: plan["nodes"][0].update(biases=None), "biases of '0' is None"),
        (lambda plan: plan["nodes"][-1].update(scale={"tensor": "0.steps"}), "scale of '9' is "),
        (lambda plan: plan.update(output=99), "node 99 is to answer"),
        (lambda plan: plan.update(over_time="median"), "by 'median'"),
    ],
)
def test_nodes_that_do_not_fit_are_named(change: Any, told: str, tmp_path: Path) -> None:
    held, about = by_hand()
    change(about["plan"])
    rewritten(tmp_path / "net.safetensors", held, about)
    with pytest.raises(UserError, match=told):
        plan_file.read(tmp_path / "net.safetensors")


def test_weights_beyond_memory_are_refused_before_they_are_made(tmp_path: Path) -> None:
    """A few hundred bytes that ask for 2^46 weights, in one layer or in many."""
    rows = {
        "0.rows": np.zeros(2, np.uint32),
        "0.columns": np.zeros(0, np.uint16),
        "0.weights": np.zeros(0, "f4"),
    }
    for shapes in ({"0": [1, 2**46]}, {"0": [1, 2**23, 2**23]}, {str(n): [1, 2**28] for n in range(9)}):
        held = {f"{n}{key[1:]}": tensor for n in shapes for key, tensor in rows.items()}
        about = {"bits": 32, "layers": {name: {"shape": shape} for name, shape in shapes.items()}, "plan": {}}
        rewritten(tmp_path / "net.safetensors", held, about)
        assert "cannot read connections" in refused(tmp_path / "net.safetensors")


def test_a_plan_that_is_none_is_not_written() -> None:
    weights = np.ones((2, 3), np.float32)
    one = Linear(name="fc", sources=(Source(-1),), shape=(2, 1, 1), weights=weights)
    numbers = np.ones(1, np.float32)
    fires = Neurons(
        name="fc",
        sources=(Source(0),),
        shape=(2, 1, 1),
        kind="if",
        threshold=numbers,
        leak=numbers,
        reset=None,
    )
    made = Plan((3, 1, 1), (one, fires), 1, np.dtype(np.float32))
    with pytest.raises(ValueError, match="two nodes have one name"):
        plan_file.content(made)
    plan_file.content(replace(made, nodes=(one, replace(fires, name="lif"))))
