"""What every method and every network owes; no line here names a method.

Every registered method runs on three small networks, and one method on every network of the list in every
step mode that it has. The full product, every method on every network, is slow.
"""

from __future__ import annotations

import copy
import gc
import inspect
import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

import snnprune
from snnprune.common.errors import CompactionError
from snnprune.config.names import METHODS
from snnprune.network import discover, firing
from snnprune.network.leaves import leaf_kind
from snnprune.pruning import Pruner
from support.families import FAMILIES, STEPS, Family, half_dead
from support.hooks import hooks, hooks_for_all, own_hooks
from support.loops import Loop, dead_entries, difference, equal, sgd

if TYPE_CHECKING:
    from collections.abc import Iterator

Network = tuple[Family, str]
EPOCHS, BATCHES, MORE = 6, 2, 10
SMALL = (("four layers", "m"), ("residual", "m"), ("plain ANN", ""))
LARGE, LARGEST = 32, 128
"""Pixels of images and of recordings; single steps of the former, and all of the latter, take their time."""
DEFAULT = inspect.signature(Pruner).parameters["method"].default
NETWORKS = [(f, m) for f in FAMILIES.values() for m in f.modes or [""]]


def _param(network: Network, method: str, *, slow: bool) -> Any:
    family, mode = network
    return pytest.param(
        (network, method),
        id=f"{method}-{family.name}-{mode or 'no time'}",
        marks=[pytest.mark.slow] if slow else [],
    )


SMALL_NETWORKS = [(FAMILIES[name], mode) for name, mode in SMALL]
OTHERS = [n for n in NETWORKS if n not in SMALL_NETWORKS]
PRODUCT = [
    _param(n, m, slow=n not in SMALL_NETWORKS) for n, m in itertools.product(NETWORKS, sorted(METHODS))
]
"""Every method on every network."""

ONCE = [_param(n, m, slow=False) for n, m in itertools.product(SMALL_NETWORKS, sorted(METHODS))] + [
    _param(n, DEFAULT, slow=True) for n in OTHERS
]
"""Every method on the small networks, one method on all others."""

LONG = [
    _param((f, mode), m, slow=m != DEFAULT or f.name != "residual")
    for (f, mode), m in itertools.product(SMALL_NETWORKS, sorted(METHODS))
] + [_param(n, DEFAULT, slow=True) for n in OTHERS]
"""The same, where it takes 200 steps: one of them is quick enough for every day."""


def _large(network: Network) -> bool:
    family, mode = network
    rare = bool(mode) and mode in family.slow
    return rare or family.shape[-1] >= LARGEST or (mode == "s" and family.shape[-1] >= LARGE)


on_every_network = pytest.mark.parametrize(
    "network",
    [
        pytest.param(n, id=f"{n[0].name}-{n[1] or 'no time'}", marks=[pytest.mark.slow] if _large(n) else [])
        for n in NETWORKS
    ],
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def loop(case: tuple[Network, str], **options: Any) -> Loop:
    """Return a loop of a network and a method."""
    (family, mode), method = case
    return Loop(family, mode, method, **{"epochs": EPOCHS + 1, **options})


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest) -> Loop:
    """Return a run of some epochs, with `MORE` steps behind its last decision between epochs."""
    trained = loop(request.param).epochs(0, EPOCHS, BATCHES)
    for batch in range(MORE):
        trained.step(EPOCHS, batch)
    trained.masks.append(trained.alive())
    return trained


every_run = pytest.mark.parametrize("run", PRODUCT, indirect=True)


# --- masked and compacted


@on_every_network
def test_half_dead_and_compacted_say_the_same(network: Network) -> None:
    family, mode = network
    net = family.newborn(mode)
    masks = half_dead(net, discover(net, family.example(mode), neurons=family.neurons))
    family.enliven(net, mode)
    for dtype in (torch.float32, torch.float64):
        small = snnprune.compact(net.to(dtype), masks)
        x = family.example(mode, batch=4).to(dtype)
        agreement = snnprune.verify(net, small, x, steps=STEPS if mode == "s" else 1, neurons=family.neurons)
        assert not agreement.silent
        for population in masks.topology.free():
            kept = small.snnprune_survivors[population.name]  # type: ignore[union-attr]
            assert len(kept) == (population.size + 1) // 2
        check(agreement, dtype)


def check(agreement: snnprune.pruning.Agreement, dtype: torch.dtype) -> None:
    """Hold masked and compact network to what they owe in ``dtype``."""
    if dtype == torch.float64:
        assert agreement.flipped == 0
        assert agreement.difference < 1e-9
        assert all(layer.difference < 1e-9 for layer in agreement.layers.values())
    else:
        assert agreement.share <= 1e-5
        assert agreement.flipped or agreement.difference < 1e-5


@every_run
def test_what_a_method_leaves_can_be_compacted(run: Loop) -> None:
    small = snnprune.compact(run.model, run.pruner.masks)
    x = run.x if run.mode != "s" else run.x[0]
    steps = STEPS if run.mode == "s" else 1
    check(snnprune.verify(run.model, small, x, steps=steps, neurons=run.family.neurons), torch.float64)


# --- masks


@every_run
def test_masks_only_shrink_where_the_method_is_permanent(run: Loop) -> None:
    method = run.pruner.method
    if not method.units_stay_dead:
        return
    kinds = ("units", "synapses") if method.permanent else ("units",)
    stay = [{k: m for k, m in masks.items() if k.startswith(kinds)} for masks in run.masks]
    for epoch, (before, after) in enumerate(itertools.pairwise(stay), 1):
        back = None if epoch == EPOCHS else run.returned[epoch]
        if back is not None and run.returned[epoch - 1] is None:
            assert equal(after, stay[back - 1])  # nobody lives but those of the network it went back to
        else:
            assert before.keys() <= after.keys()
            assert not any((after[k] & ~before[k]).any() for k in before)


@every_run
def test_no_population_is_emptied_and_the_frozen_stay_whole(run: Loop) -> None:
    frozen = {f"units {p.name}" for p in run.pruner.dense.populations.values() if p.frozen}
    for masks in run.masks:
        assert all(mask.any() for mask in masks.values())
        assert all(masks[name].all() for name in frozen)


@every_run
def test_the_dead_are_exactly_zero_after_ten_steps_with_weight_decay(run: Loop) -> None:
    state = run.model.state_dict(keep_vars=True)
    for key, dead in dead_entries(run.pruner).items():
        tensor = state[key]
        held = [tensor, tensor.grad, *run.optimizer.state.get(tensor, {}).values()]
        assert all(not t[dead].any() for t in held if isinstance(t, Tensor) and t.shape == dead.shape), key


# --- what a pruner leaves behind


@every_run
def test_the_state_dict_keeps_its_keys(run: Loop) -> None:
    assert list(run.model.state_dict()) == list(run.family.network(run.mode).state_dict())
    copy.deepcopy(run.model)


@pytest.mark.parametrize("case", ONCE)
def test_hooks_are_gone_once_it_is_closed(case: tuple[Network, str]) -> None:
    before = hooks(case[0][0].network(case[0][1])) + hooks_for_all()
    training = loop(case)
    training.step(0, 0)
    training.pruner.end_epoch()
    training.pruner.close()
    assert hooks(training.model) + hooks_for_all() == before
    assert not own_hooks(training.optimizer)


@pytest.mark.parametrize("case", ONCE)
def test_nothing_of_the_size_of_the_activity_survives_a_step(case: tuple[Network, str]) -> None:
    training = loop(case, samples=7)  # no weight has an axis of seven
    shapes: set[torch.Size] = set()
    for module in training.model.modules():
        if leaf_kind(module, case[0][0].neurons) is not None:
            module.register_forward_hook(
                lambda _m, _i, o: shapes.add((o if isinstance(o, Tensor) else o[0]).shape)
            )
    gc.freeze()  # what is older is not asked for
    try:
        training.step(0, 0)
        gc.collect()
        survivors = [o.shape for o in gc.get_objects() if issubclass(type(o), Tensor) and o.ndim > 2]
    finally:
        gc.unfreeze()
    assert shapes
    assert not shapes & set(survivors)


# --- equal statistics, equal decisions

LENGTHS = {"short": (EPOCHS, BATCHES, 2), "long": (40, 5, 4)}
"""Epochs, batches in each, epochs from cut to cut; the long run is of 200 steps."""


@pytest.fixture(scope="module")
def short(request: pytest.FixtureRequest) -> Loop:
    """Return a short run without a cut, which others are compared with."""
    return train(request.param, "short")


@pytest.fixture(scope="module")
def long(request: pytest.FixtureRequest) -> Loop:
    """Return a run of 200 steps without a cut, which others are compared with."""
    return train(request.param, "long")


def train(case: tuple[Network, str], length: str, **options: Any) -> Loop:
    epochs, batches, _ = LENGTHS[length]
    return loop(case, epochs=epochs, **options).epochs(0, epochs, batches)


def again(reference: Loop, **options: Any) -> Loop:
    """Train as ``reference`` was trained but for ``options``."""
    length = "short" if reference.pruner.clock.epochs == EPOCHS else "long"
    return train(((reference.family, reference.mode), reference.method), length, **options)


def can_be_cut(reference: Loop) -> bool:
    """Tell whether the method allows a cut while it trains; one that does not is to say so."""
    method = reference.pruner.method
    if method.units_stay_dead and method.can_shrink:
        return True
    training = loop(((reference.family, reference.mode), reference.method)).epochs(0, 1, BATCHES)
    with pytest.raises(CompactionError, match=type(method).__name__):
        training.pruner.compact()
    return False


def assert_alike(reference: Loop, other: Loop) -> None:
    for epoch, (a, b) in enumerate(zip(reference.masks, other.masks, strict=True)):
        assert equal(a, b), f"epoch {epoch}"
    assert difference(reference, other) < 1e-9
    assert other.pruner.rates() == reference.pruner.rates()


def assert_dead_are_gone(training: Loop, every: int) -> None:
    """Hold every cut to its word: no more units are left than live."""
    alive = [sum(int(m.sum()) for k, m in e.items() if k.startswith("units")) for e in training.masks]
    assert training.units[every - 1 :: every] == alive[every - 1 :: every]


def cuts(training: Loop) -> int:
    return sum(after < before for before, after in itertools.pairwise(training.sizes))


PERMUTATION = torch.tensor([3, 1, 5, 0, 2, 4])
every_short = pytest.mark.parametrize("short", ONCE, indirect=True)
every_long = pytest.mark.parametrize("long", LONG, indirect=True)


@every_short
def test_a_resumed_run_is_the_same_run(short: Loop) -> None:
    first, second = (loop(((short.family, short.mode), short.method), epochs=EPOCHS) for _ in range(2))
    half = first.epochs(0, EPOCHS // 2, BATCHES).state()
    second.load(half).epochs(EPOCHS // 2, EPOCHS, BATCHES)
    assert equal(short.masks[-1], second.masks[-1])
    for key, tensor in short.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[key]), key


@every_short
def test_live_compaction_is_masking(short: Loop) -> None:
    _, _, every = LENGTHS["short"]
    if can_be_cut(short):
        small = again(short, compact_every=every)
        assert_alike(short, small)
        assert_dead_are_gone(small, every)


@every_long
def test_over_200_steps_and_two_cuts_live_compaction_is_masking(long: Loop) -> None:
    _, _, every = LENGTHS["long"]
    if not can_be_cut(long):
        return
    small = again(long, compact_every=every)
    assert long.pruner.clock.batches == small.pruner.clock.batches == 200
    assert_alike(long, small)
    assert_dead_are_gone(small, every)
    if long.method == DEFAULT and (long.family, long.mode) in SMALL_NETWORKS:
        assert cuts(small) >= 2
        assert not [layer for layer in firing.check(long.model, long.x) if layer.state == "silent"]


@pytest.mark.slow
@pytest.mark.parametrize("network", [pytest.param(n, id=n[0].name) for n in SMALL_NETWORKS])
def test_so_it_is_with_momentum(network: Network) -> None:
    masked = train((network, DEFAULT), "long", optimiser=sgd)
    small = again(masked, compact_every=LENGTHS["long"][2], optimiser=sgd)
    assert_alike(masked, small)
    assert cuts(small) >= 2


@every_short
def test_a_permuted_batch_is_the_batch(short: Loop) -> None:
    assert_alike(short, again(short, order=PERMUTATION))


@pytest.mark.slow
@every_long
def test_over_200_steps_a_permuted_batch_is_the_batch(long: Loop) -> None:
    assert_alike(long, again(long, order=PERMUTATION))
