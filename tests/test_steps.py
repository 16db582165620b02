"""What counts as a batch: skipped steps, steps that evaluate several times, wrappers, accumulation."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import lightning
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import snnprune
from snnprune.pruning import Decision, Method, Pruner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.optim import Optimizer

    from snnprune.pruning import View

XS = torch.rand(6, 4, 5, generator=torch.Generator().manual_seed(1))
"""Six batches of four samples."""


class Listener(Method):
    """Keeps the activity of each batch, and prunes one unit and one synapse at each epoch's end."""

    reads = "trace"

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def after_step(self, view: View) -> None:
        self.seen.append(view.traces["0"].pre.clone() if "0" in view.traces else torch.zeros(0))

    def end_epoch(self, view: View, metrics: Any) -> Decision:
        units, synapses = torch.arange(8) > view.clock.epoch, torch.ones(8, 5, dtype=torch.bool)
        synapses[7, 0] = False
        return Decision(units={"0": units}, synapses={"0": synapses})


class Regrower(Listener):
    """May let them come back."""

    permanent: ClassVar[bool] = False


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def sgd(parameters: Any) -> Optimizer:
    return torch.optim.SGD(parameters, 0.01, momentum=0.9)


def fused(parameters: Any) -> Optimizer:
    # Without momentum: where the very first step is skipped, torch's fused SGD goes on from memory that
    # nobody has written.
    return torch.optim.SGD(parameters, 0.01, fused=True)


def heard(method: Listener, *expected: Tensor) -> bool:
    return len(method.seen) == len(expected) and all(
        a.equal(b) for a, b in zip(method.seen, expected, strict=True)
    )


# --- steps that are skipped


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("make", [sgd, fused])
@pytest.mark.parametrize("bad", [(0,), (1,), (2, 3), (5,)])
def test_a_step_that_the_scaler_skips_is_no_batch(
    make: Callable[[Any], Optimizer], bad: tuple[int, ...], *, to_none: bool
) -> None:
    net, method = network(), Listener()
    optimizer, scaler = make(net.parameters()), torch.amp.GradScaler("cpu", init_scale=64.0)
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for batch, x in enumerate(XS):
            optimizer.zero_grad(set_to_none=to_none)
            loss = net(x).square().mean()
            scaler.scale(loss * float("inf") if batch in bad else loss).backward()
            scaler.step(optimizer)
            scaler.update()
            pruner.step(optimizer)
        assert pruner.clock.batches == 6 - len(bad)
        assert heard(method, *(x for batch, x in enumerate(XS) if batch not in bad))


@pytest.mark.parametrize("make", [sgd, fused])
def test_a_scaled_loss_leaves_the_penalty_as_it_is(
    make: Callable[[Any], Optimizer],
) -> None:
    weights = []
    for scale in (1.0, 4096.0):
        net = network().double()
        optimizer = make(net.parameters())
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        with Pruner(net, XS[0].double(), "admm", epochs=2, rho=1.0, every=2) as pruner:
            for x in XS.double():
                optimizer.zero_grad()
                scaler.scale(net(x).square().mean()).backward()
                scaler.step(optimizer)
                scaler.update()
                pruner.step(optimizer)
        weights.append(net[0].weight.detach())
    assert torch.allclose(*weights, rtol=0, atol=1e-12)


def test_one_of_two_optimisers_is_skipped() -> None:
    net, method = network(), Listener()
    first, second = sgd(net[0].parameters()), sgd(net[2].parameters())
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for batch, x in enumerate(XS):
            net(x).square().mean().backward()
            for optimizer, bad in ((first, (1, 4)), (second, (2, 4))):
                if batch not in bad:
                    optimizer.step()
                pruner.step(optimizer)
            net.zero_grad()
        assert pruner.clock.batches == 5  # neither stepped on batch 4
    assert heard(method, *(XS[i] for i in (0, 1, 2, 3, 5)))


@pytest.mark.parametrize("given", [True, False])
def test_a_step_that_the_loop_leaves_out_is_no_batch(*, given: bool) -> None:
    net, method = network(), Listener()
    optimizer = sgd(net.parameters())
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for batch, x in enumerate(XS):
            loss = net(x).square().mean() * (float("nan") if batch == 2 else 1.0)
            optimizer.zero_grad()
            loss.backward()
            if loss.isfinite():
                optimizer.step()
            pruner.step(optimizer if given else None)
    assert heard(method, *(XS[i] for i in (0, 1, 3, 4, 5)))


def test_a_call_after_every_micro_batch_is_accumulation() -> None:
    net, method = network(), Listener()
    optimizer = sgd(net.parameters())
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for batch, x in enumerate(XS):
            net(x).square().mean().backward()
            if batch % 3 == 2:
                optimizer.step()
                optimizer.zero_grad()
            pruner.step(optimizer)
        assert pruner.clock.batches == 2
    assert heard(method, torch.cat([*XS[:3]]), torch.cat([*XS[3:]]))


def test_an_epoch_without_a_step_is_said() -> None:
    net = network()
    optimizer = sgd(net.parameters())
    with Pruner(net, XS[0], Listener(), epochs=9) as pruner:
        net(XS[0]).sum().backward()
        pruner.step(optimizer)
        with pytest.warns(UserWarning, match=r"pruner\.step\(\) was called, but no optimizer\.step\(\)"):
            pruner.end_epoch()


class Trained(lightning.LightningModule):
    """Returns an infinite loss, or none, for some batches."""

    def __init__(self, make: Callable[[Any], Optimizer], *, bad: float | None) -> None:
        super().__init__()
        self.model, self.make, self.bad = network(), make, bad

    def training_step(self, batch: list[Tensor], index: int) -> Tensor | None:
        loss: Tensor = self.model(batch[0]).square().mean()
        if index not in (0, 3):
            return loss
        return None if self.bad is None else loss * self.bad

    def configure_optimizers(self) -> Optimizer:
        return self.make(self.model.parameters())


def fit(
    module: lightning.LightningModule, method: Method, *, scaled: bool = False, **of_trainer: Any
) -> Pruner:
    callback = snnprune.PruningCallback(method, example_input=XS[0])
    if scaled:
        plugin = MixedPrecision("bf16-mixed", "cpu")
        plugin.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
        of_trainer["plugins"] = plugin
    trainer = lightning.Trainer(
        **{"max_epochs": 1} | of_trainer,
        callbacks=[callback],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(TensorDataset(XS.flatten(0, 1)), 4))
    assert callback.pruner is not None
    return callback.pruner


@pytest.mark.parametrize("make", [sgd, fused])
@pytest.mark.parametrize(("bad", "scaled"), [(float("inf"), True), (None, True), (None, False)])
@pytest.mark.filterwarnings("ignore")
def test_a_batch_that_lightning_skips_is_no_batch(
    make: Callable[[Any], Optimizer], bad: float | None, *, scaled: bool
) -> None:
    method = Listener()
    assert fit(Trained(make, bad=bad), method, scaled=scaled).clock.batches == 4
    assert heard(method, *(XS[i] for i in (1, 2, 4, 5)))


# --- optimisers that do not call torch's hooks


class Ahead(torch.optim.Optimizer):
    """A wrapper that makes no optimiser of itself: its own step calls no hook, its inner one's does."""

    def __init__(self, inner: Optimizer) -> None:
        self.inner, self.param_groups, self.count = inner, inner.param_groups, 0
        self.defaults = inner.defaults
        self.slow = {p: p.detach().clone() for group in inner.param_groups for p in group["params"]}

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = self.inner.step(closure)
        self.count += 1
        if self.count % 2 == 0:
            for fast, slow in self.slow.items():
                slow.lerp_(fast, 0.5)
                fast.copy_(slow)
        return loss

    @property
    def state(self) -> Any:  # type: ignore[override]
        return self.inner.state


class Silent(torch.optim.Optimizer):
    """An optimiser whose steps call no hook at all."""

    def __init__(self, parameters: Any) -> None:
        self.param_groups, self.defaults = [{"params": [*parameters]}], {}
        self.state = {}  # type: ignore[assignment]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        if closure is not None:
            with torch.enable_grad():
                closure()
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=0.01)


def test_a_step_without_a_hook_is_not_taken_for_a_skipped_one() -> None:
    net, method = network(), Listener()
    optimizer = Silent(net.parameters())
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for x in XS:
            net.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
            pruner.step(optimizer)
    assert heard(method, *XS)


def test_a_wrapper_that_steps_is_known_by_what_it_wraps() -> None:
    net, method = network(), Listener()
    optimizer = Ahead(sgd(net.parameters()))
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for batch, x in enumerate(XS):
            net.zero_grad()
            net(x).square().mean().backward()
            if batch != 3:
                optimizer.step()
            pruner.step(optimizer)
    assert heard(method, *(XS[i] for i in (0, 1, 2, 4, 5)))


@pytest.mark.parametrize("make", [lambda p: Ahead(sgd(p)), Silent], ids=["wraps one that does", "calls none"])
@pytest.mark.filterwarnings("ignore")
def test_the_callback_follows_them(make: Callable[[Any], Optimizer]) -> None:
    class Looking(Trained):
        """Looks for dead weights that are alive once a batch is over."""

        def on_train_batch_end(self, *_: Any) -> None:
            weight = self.model[0].weight.detach()
            assert not weight[0].any() or self.current_epoch == 0
            made.append(self.trainer.optimizers[0])

    method, made = Listener(), list[Any]()
    fit(Looking(make, bad=1.0), method, max_epochs=3)
    assert heard(method, *(XS[i] for _ in range(3) for i in range(6)))
    assert "step" not in vars(made[0])  # nothing is left behind


def test_a_compiled_step_is_seen() -> None:
    net, method = network(), Listener()
    optimizer = sgd(net.parameters())
    step = torch.compile(optimizer.step, backend="eager")
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for batch, x in enumerate(XS):
            net.zero_grad()
            net(x).square().mean().backward()
            if batch != 3:
                step()
            pruner.step(optimizer)
    assert heard(method, *(XS[i] for i in (0, 1, 2, 4, 5)))


def test_a_scheduler_changes_nothing() -> None:
    net, method = network(), Listener()
    optimizer = sgd(net.parameters())
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for batch, x in enumerate(XS):
            net.zero_grad()
            net(x).square().mean().backward()
            if batch != 0:
                optimizer.step()
            pruner.step(optimizer)
            scheduler.step()
    assert heard(method, *XS[1:])


# --- steps that evaluate the network several times


class Sharp(torch.optim.SGD):
    """SAM: goes up along the gradient, evaluates there, and steps from where it was."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, 0.01, momentum=0.9)

    @torch.no_grad()
    def climb(self) -> None:
        self.before = [p.clone() for p in self.param_groups[0]["params"]]
        for p in self.param_groups[0]["params"]:
            p.data.add_(p.grad, alpha=0.5)
            p.grad = None

    @torch.no_grad()
    def descend(self) -> None:
        for p, before in zip(self.param_groups[0]["params"], self.before, strict=True):
            p.copy_(before)
        super().step()

    def step(self, closure: Any = None) -> Any:
        if closure is None:
            return super().step()
        self.climb()
        with torch.enable_grad():
            loss = closure()
        self.descend()
        return loss


def with_closure(optimizer: Any, evaluate: Callable[[], Tensor]) -> None:
    optimizer.step(evaluate)


def sharp(optimizer: Any, evaluate: Callable[[], Tensor]) -> None:
    evaluate()
    optimizer.step(evaluate)


def sharp_in_two(optimizer: Any, evaluate: Callable[[], Tensor]) -> None:
    evaluate()
    optimizer.climb()
    evaluate()
    optimizer.descend()


SEVERAL: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Callable[[], Tensor]], None], int]] = {
    "LBFGS": (lambda p: torch.optim.LBFGS(p, 0.1, max_iter=4), with_closure, 4),
    "LBFGS, line search": (
        lambda p: torch.optim.LBFGS(p, 0.1, max_iter=2, line_search_fn="strong_wolfe"),
        with_closure,
        2,
    ),
    "SAM": (Sharp, sharp, 2),
    "SAM in two steps": (Sharp, sharp_in_two, 2),
}


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize(
    ("kind", "method"),
    [(kind, Listener()) for kind in SEVERAL] + [(kind, Regrower()) for kind in SEVERAL if "two" not in kind],
)
@pytest.mark.filterwarnings("ignore")
def test_the_dead_stay_dead_in_every_evaluation_of_a_step(
    kind: str, method: Listener, *, to_none: bool
) -> None:
    make, step, least = SEVERAL[kind]
    net, method.seen = network(), []
    optimizer = make(net.parameters())
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        evaluations: list[Tensor] = []

        def evaluate(x: Tensor) -> Tensor:
            optimizer.zero_grad(set_to_none=to_none)
            weight = net[0].weight.detach()
            evaluations.append(weight[~pruner.masks.alive(pruner.topology.projections["0"])])
            loss: Tensor = (net(x) - 1.0).square().mean()
            loss.backward()
            return loss

        for _ in range(3):
            for x in XS[:2]:
                before = len(evaluations)
                step(optimizer, partial(evaluate, x))
                assert len(evaluations) - before >= least
                pruner.step(optimizer)
            pruner.end_epoch()
        assert pruner.clock.batches == 6
    assert heard(method, *(XS[:2].repeat(3, 1, 1)))  # the last evaluation, and each batch once
    assert not any(bool(dead.any()) for dead in evaluations)


def test_the_last_evaluation_is_the_one_that_counts() -> None:
    net, method = network(), Listener()
    optimizer = torch.optim.LBFGS(net.parameters(), 0.1, max_iter=3)
    batches: Iterator[Tensor] = iter(XS)
    with Pruner(net, XS[0], method, epochs=9) as pruner:

        def evaluate() -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = (net(next(batches)) - 1.0).square().mean()
            loss.backward()
            return loss

        optimizer.step(evaluate)
        pruner.step(optimizer)
    assert heard(method, XS[2])


# --- accumulation


def test_accumulation_counts_all_forwards_in_the_step() -> None:
    net, method = network(), Listener()
    optimizer = sgd(net.parameters())
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for start in (0, 3):
            optimizer.zero_grad()
            for x in XS[start : start + 3]:
                net(x).square().mean().backward()
            optimizer.step()
            pruner.step(optimizer)
    assert heard(method, torch.cat([*XS[:3]]), torch.cat([*XS[3:]]))


def test_two_forwards_before_two_backwards_are_one_batch() -> None:
    net, method = network(), Listener()
    optimizer = sgd(net.parameters())
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for start in (0, 2, 4):
            losses = [net(x).square().mean() for x in XS[start : start + 2]]
            optimizer.zero_grad()
            for loss in losses:
                loss.backward()
            optimizer.step()
            pruner.step(optimizer)
    assert heard(method, *(torch.cat([*XS[i : i + 2]]) for i in (0, 2, 4)))


def test_gradients_that_the_loop_gathers_itself_are_accumulation() -> None:
    net, method = network(), Listener()
    optimizer, parameters = sgd(net.parameters()), [*net.parameters()]
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for start in (0, 3):
            losses = [net(x).square().mean() for x in XS[start : start + 3]]
            parts = [torch.autograd.grad(loss, parameters) for loss in losses]
            for parameter, gradients in zip(parameters, zip(*parts, strict=True), strict=True):
                parameter.grad = torch.stack(gradients).sum(0)
            optimizer.step()
            optimizer.zero_grad()
            pruner.step(optimizer)
    assert heard(method, torch.cat([*XS[:3]]), torch.cat([*XS[3:]]))


def test_optimisers_in_the_backward_have_used_every_gradient() -> None:
    net, method = network(), Listener()
    optimizers = {p: sgd([p]) for p in net.parameters()}

    def step(p: Tensor) -> None:
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in net.parameters():
        p.register_post_accumulate_grad_hook(step)
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for start in (0, 3):
            for x in XS[start : start + 3]:
                net(x).square().mean().backward()
            pruner.step()
    assert heard(method, torch.cat([*XS[:3]]), torch.cat([*XS[3:]]))


def test_gradients_for_another_network_are_no_batch_of_this_one() -> None:
    """A generator is run for its critic as well, whose loss reaches it and is thrown away."""
    net, method, critic = network(), Listener(), nn.Linear(3, 1)
    optimizer, other = sgd(net.parameters()), sgd(critic.parameters())
    with Pruner(net, XS[0], method, epochs=9) as pruner:
        for x in XS[:3]:
            critic(net(x + 1.0)).mean().backward()
            other.step()
            net.zero_grad()
            critic(net(x)).mean().backward()
            optimizer.step()
            pruner.step(optimizer)
            net.zero_grad()
    assert heard(method, *XS[:3])


class Alternating(lightning.LightningModule):
    """Two optimisers over one network, toggled, each with a forward of its own or with a shared one."""

    automatic_optimization = False

    def __init__(self, *, shared: bool) -> None:
        super().__init__()
        self.model, self.shared = network(), shared

    def training_step(self, batch: list[Tensor], _: int) -> None:
        optimizers: Any = self.optimizers()
        if self.shared:
            self.manual_backward(self.model(batch[0]).square().mean())
        for optimizer in optimizers:
            self.toggle_optimizer(optimizer)
            if not self.shared:
                optimizer.zero_grad()
                self.manual_backward(self.model(batch[0]).square().mean())
            optimizer.step()
            self.untoggle_optimizer(optimizer)
        self.zero_grad()

    def configure_optimizers(self) -> list[Optimizer]:
        return [sgd(self.model[0].parameters()), sgd(self.model[2].parameters())]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_toggled_optimisers(*, shared: bool) -> None:
    method = Listener()
    fit(Alternating(shared=shared), method)
    assert heard(method, *(XS if shared else XS.repeat_interleave(2, 0)))


@pytest.mark.filterwarnings("ignore")
def test_no_sync_accumulates(tmp_path: Any) -> None:
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        net, method = network(), Listener()
        pruner = Pruner(net, XS[0], method, epochs=9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pruner.end_epoch()
        dead = ~pruner.masks.alive(pruner.topology.projections["0"])
        ddp = nn.parallel.DistributedDataParallel(net)
        optimizer = sgd(net.parameters())
        for start in (0, 3):
            optimizer.zero_grad()
            with ddp.no_sync():
                for x in XS[start : start + 2]:
                    ddp(x).square().mean().backward()
            (ddp(XS[start + 2]).square().mean() + net[0].weight.sum()).backward()
            assert not net[0].weight.grad[dead].any()
            assert net[0].weight.grad[~dead].all()
            optimizer.step()
            pruner.step(optimizer)
        assert heard(method, torch.cat([*XS[:3]]), torch.cat([*XS[3:]]))
        pruner.close()
    finally:
        torch.distributed.destroy_process_group()
