"""Gradients of pruned entries are zero from the backward on, for whatever reads gradients before the step."""

from __future__ import annotations

import copy
import gc
import io
import math
import pickle
import warnings
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import snnprune
from snnprune.pruning import Decision, Method, Pruner

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from snnprune.pruning import View

X = torch.ones(1, 3)
ALIVE = torch.tensor([[True, True, True], [True, True, False]])


class Keeper(Method):
    """Prunes one synapse at the end of an epoch."""

    def end_epoch(self, view: View, metrics: Any) -> Decision:
        return Decision(synapses={"0": ALIVE})


class Waker(Keeper):
    """May let it regrow."""

    permanent: ClassVar[bool] = False


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    return model


def pruned(model: nn.Module, method: Method | None = None, x: Tensor = X) -> Pruner:
    pruner = Pruner(model, x, method or Keeper(), epochs=9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an epoch without a batch
        pruner.end_epoch()
    return pruner


def test_a_norm_to_clip_by_is_that_of_the_living() -> None:
    # Of 6 gradients of 1 in the first layer 5 are alive; the second layer reads 3 and 2.
    model = network()
    with pruned(model):
        model(X).sum().backward()
        assert float(nn.utils.clip_grad_norm_(model.parameters(), 99.0)) == pytest.approx(
            math.sqrt(5 + 9 + 4)
        )


def test_a_method_that_wakes_synapses_sees_what_they_would_learn() -> None:
    model = network()
    with pruned(model, Waker()):
        model(X).sum().backward()
        assert float(nn.utils.clip_grad_norm_(model.parameters(), 99.0)) == pytest.approx(
            math.sqrt(6 + 9 + 4)
        )


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_dead_gradient_that_overflows_is_zero(bad: float, dtype: torch.dtype) -> None:
    model = network().to(dtype)
    pruner = pruned(model, x=X.to(dtype))
    (model[0].weight * torch.full_like(model[0].weight, bad)).sum().backward()
    assert model[0].weight.grad[1, 2] == 0
    assert not bool(model[0].weight.grad[ALIVE].isfinite().any())
    pruner.close()


def run(model: nn.Module, x: Tensor) -> Tensor:
    loss: Tensor = model(x).sum()
    return loss


def accumulated(model: nn.Module) -> None:
    for _ in range(3):
        run(model, X).backward()


def reentrant(model: nn.Module) -> None:
    checkpoint(model, X.clone().requires_grad_(), use_reentrant=True).sum().backward()


def recomputed(model: nn.Module) -> None:
    checkpoint(model, X, use_reentrant=False).sum().backward()


def asked_for(model: nn.Module) -> None:
    parameters = [*model.parameters()]
    for parameter, gradient in zip(parameters, torch.autograd.grad(run(model, X), parameters), strict=True):
        parameter.grad = gradient


def compiled(model: nn.Module) -> None:
    run(torch.compile(model, backend="eager"), X).backward()


def expanded(model: nn.Module) -> None:
    model(X)
    model[0].weight.sum().backward()


def shared(model: nn.Module) -> None:
    """Both operands are given the same tensor for a gradient."""
    model(X)
    other = torch.ones(2, 3, requires_grad=True)
    (model[0].weight + other).square().sum().backward()
    assert bool(other.grad.all())


WAYS: list[Callable[[nn.Module], None]] = [
    accumulated,
    reentrant,
    recomputed,
    asked_for,
    compiled,
    expanded,
    shared,
]


@pytest.mark.parametrize("backward", WAYS)
@pytest.mark.filterwarnings("ignore")
def test_whichever_way_a_gradient_comes(backward: Callable[[nn.Module], None]) -> None:
    model = network()
    with pruned(model):
        backward(model)
        assert (model[0].weight.grad != 0).equal(ALIVE)


def test_a_gradient_that_is_differentiated_again_keeps_its_graph() -> None:
    # E = sum of w^3, so that dE/dw = 3 w^2 and its sum has the gradient 6 w.
    model = network()
    with pruned(model):
        model(X)
        weight = model[0].weight
        (first,) = torch.autograd.grad(weight.pow(3).sum(), weight, create_graph=True)
        assert first.equal(3.0 * ALIVE)
        (second,) = torch.autograd.grad(first.sum(), weight)
        assert second.equal(6.0 * ALIVE)


def test_other_hooks_on_the_parameter_see_it_too() -> None:
    model = network()
    seen: list[Tensor] = []
    weight = model[0].weight
    weight.register_hook(lambda gradient: seen.append(gradient.clone()))
    weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    with pruned(model):
        run(model, X).backward()
    assert len(seen) == 2
    assert all((gradient != 0).equal(ALIVE) for gradient in seen)


def test_an_optimiser_in_the_backward_sees_it_too() -> None:
    model = network()
    optimizers = {p: torch.optim.SGD([p], 0.5, momentum=0.9) for p in model.parameters()}

    def step(p: Tensor) -> None:
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(step)
    with pruned(model) as pruner:
        run(model, X).backward()
        assert optimizers[model[0].weight].state[model[0].weight]["momentum_buffer"][1, 2] == 0
        pruner.step()
        assert pruner.clock.batches == 1


def test_a_layer_that_is_frozen_when_it_is_pruned() -> None:
    model = network()
    with Pruner(model, X, Keeper(), epochs=9) as pruner, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an epoch without a batch, and a layer that no longer learns
        model[0].weight.requires_grad_(False)
        pruner.end_epoch()
        run(model, X).backward()
        assert model[0].weight.grad is None
        model[0].weight.requires_grad_(True)
        run(model, X).backward()
        assert (model[0].weight.grad != 0).equal(ALIVE)


def test_masks_that_are_set_by_hand() -> None:
    model = network()
    with Pruner(model, X, Keeper(), epochs=9) as pruner:
        run(model, X).backward()
        assert bool(model[0].weight.grad.all())
        pruner.step()
        pruner.masks.keep_synapses(pruner.topology.projections["0"], ALIVE)
        pruner.masks.refresh()
        model.zero_grad()
        run(model, X).backward()
        assert (model[0].weight.grad != 0).equal(ALIVE)


def test_the_hook_goes_with_the_pruner() -> None:
    model = network()
    pruner = pruned(model)
    assert len(model[0].weight._backward_hooks) == 1
    assert not model[2].weight._backward_hooks  # nothing in it is dead
    pruner.close()
    assert not model[0].weight._backward_hooks
    pruner.end_epoch()  # masks may still change
    assert not model[0].weight._backward_hooks


def test_a_pruner_that_is_forgotten_acts_no_more() -> None:
    model = network()
    pruner = pruned(model)
    del pruner
    gc.collect()
    model(X)
    model[0].weight.sum().backward()
    assert bool(model[0].weight.grad.all())


def test_a_hook_does_not_travel() -> None:
    model = network()
    with pruned(model), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not copy.deepcopy(model)[0].weight._backward_hooks
        torch.save(model.state_dict(), io.BytesIO())
        pickle.dumps(model[0].weight)
        ForkingPickler.dumps(model[0].weight)


def test_a_copy_of_a_pruner_has_its_own() -> None:
    model = network()
    with pruned(model) as pruner, copy.deepcopy(pruner) as twin:
        twin.model(X).sum().backward()
        assert (twin.model[0].weight.grad != 0).equal(ALIVE)
        assert model[0].weight.grad is None


class Cutter(Method):
    """Prunes a unit and a synapse of another one."""

    def end_epoch(self, view: View, metrics: Any) -> Decision:
        if view.clock.epoch > 0:
            return Decision()
        units, alive = torch.arange(4) > 0, torch.ones(4, 3, dtype=torch.bool)
        alive[2, 1] = False
        return Decision(units={"0": units}, synapses={"0": alive})


def test_a_cut_and_the_way_back_into_a_checkpoint() -> None:
    def wide() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))

    model, x = wide(), torch.rand(5, 3)
    whole, state = Pruner(model, x, Cutter(), epochs=9), {}
    for cut in (False, True):
        if cut:
            whole.compact()
        state = whole.state_dict() if cut else state
        (model[0].weight.sum() + model(x).sum()).backward()
        whole.step()
        whole.end_epoch()
    again = wide()
    pruner = Pruner(again, x, Cutter(), epochs=9)
    pruner.load_state_dict(state)
    for net in (model, again):
        net.zero_grad()
        net[0].weight.sum().backward()
        expected = torch.ones(3, 3)
        expected[1, 1] = 0.0  # unit 2 of 4 is unit 1 of those that are left
        assert net[0].weight.grad.equal(expected)
    whole.close()
    pruner.close()


def test_a_muon_like_optimiser_never_mixes_the_dead_into_the_living() -> None:
    class Scaled(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for p in group["params"]:
                    p.grad.div_(p.grad.norm())
            return super().step(closure)

    model = network()
    optimizer = Scaled([model[0].weight], 1.0)
    with pruned(model) as pruner:
        model(X).sum().backward()
        optimizer.step()
        pruner.step(optimizer)
    assert model[0].weight[0, 0].item() == pytest.approx(1.0 - 1.0 / math.sqrt(5))


@pytest.mark.parametrize("method", sorted(snnprune.config.names.METHODS))
def test_methods_see_dormant_gradients_where_synapses_regrow(method: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    dead = torch.rand(8, 6) < 0.5
    with Pruner(model, torch.rand(4, 6), method, epochs=9) as pruner:
        pruner.masks.keep_synapses(pruner.topology.projections["0"], ~dead)
        pruner.masks.refresh()
        (model(torch.rand(4, 6)).sum() + model[0].weight.sum()).backward()
        assert bool(model[0].weight.grad[dead].any()) is pruner.method.learns_dead(pruner.clock)
