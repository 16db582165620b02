"""PruningCallback beside copies of the network: averages of its weights, and teachers."""

from __future__ import annotations

import copy
import warnings
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging, WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from snnprune.common.errors import UserError
from snnprune.training.callbacks.pruning import PruningCallback
from support.tasks import Classifier, loader, trainer

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
REFUSED = r"compact_every changes the shapes .* an average of them \({}.*pruner\.compact\(\) after training"


def pruning(**options: Any) -> PruningCallback:
    return PruningCallback("dpap", **({"target": 0.6} | options))


def swa() -> StochasticWeightAveraging:
    return StochasticWeightAveraging(swa_lrs=1e-2, swa_epoch_start=2, annealing_epochs=1)


class ModelEma(nn.Module):
    """An average as timm has it: a module with a copy in ``module``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for mine, theirs in zip(self.module.parameters(), model.parameters(), strict=True):
            mine.lerp_(theirs, 0.1)


class Averaging(Classifier):
    """Keeps an average of its network, of a class that is known or not."""

    def __init__(self, kind: type[Any]) -> None:
        super().__init__()
        self.average = kind(self.model)

    def on_train_batch_end(self, *_: Any) -> None:
        for update in ("update", "update_parameters"):
            getattr(self.average, update, lambda _: None)(self.model)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.model.parameters(), self.lr)


class Follower(nn.Module):
    """The same, of a class that nobody knows."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.copy = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for mine, theirs in zip(self.copy.parameters(), model.parameters(), strict=True):
            mine.lerp_(theirs, 0.1)


# --- known averages


@pytest.mark.parametrize("average", [WeightAveraging, EMAWeightAveraging, swa])
@pytest.mark.parametrize("first", [True, False])
def test_lightnings_averages_are_refused_with_cuts_at_the_start(average: Any, first: bool) -> None:
    callback, other = pruning(compact_every=1), average()
    fit = trainer(*((callback, other) if first else (other, callback)))
    with pytest.raises(UserError, match=REFUSED.format(type(other).__name__)):
        fit.fit(Classifier())
    assert fit.global_step == 0


@pytest.mark.parametrize("kind", [AveragedModel, ModelEma])
def test_averages_in_the_module_are_refused_with_cuts_and_lose_what_dies_without(kind: type[Any]) -> None:
    with pytest.raises(UserError, match=REFUSED.format("Averaging.average")):
        trainer(pruning(compact_every=1)).fit(Averaging(kind))
    callback, task = pruning(), Averaging(kind)
    trainer(callback).fit(task)
    assert callback.pruner is not None
    assert callback.pruner.rates().synapses == pytest.approx(0.6, abs=0.005)
    assert callback.pruner.masks.revived(task.average.module.state_dict()) == 0


@pytest.mark.parametrize("first", [True, False])
def test_the_norms_of_an_average_are_those_of_the_network_that_is_handed_out(first: bool) -> None:
    callback, task = pruning(), Classifier(nn.BatchNorm1d(16))
    trainer(*((callback, swa()) if first else (swa(), callback))).fit(task, loader())
    assert callback.pruner is not None
    assert callback.pruner.clock.epochs == 8  # and not the epoch more in which the norms are measured
    assert callback.pruner.masks.revived(task.model.state_dict()) == 0
    [norm] = [module for module in task.modules() if isinstance(module, nn.BatchNorm1d)]
    means, variances = norm.running_mean.clone(), norm.running_var.clone()  # type: ignore[union-attr]
    norm.reset_running_stats()
    norm.momentum = None
    task.train()
    with torch.no_grad():
        for x, _ in loader():
            task.model(x)
    torch.testing.assert_close(norm.running_mean, means, rtol=0, atol=1e-12)
    torch.testing.assert_close(norm.running_var, variances, rtol=0, atol=1e-12)


# --- copies of another make


class Copies(lightning.Callback):
    """Keeps a copy of the network or of the whole module; with a rate, as a moving average."""

    def __init__(self, kind: str, rate: float, when: str = "on_fit_start") -> None:
        self.kind, self.rate, self.kept = kind, rate, None
        setattr(self, when, self.make)

    def make(self, _trainer: Any, task: Classifier, *_: Any) -> None:
        if self.kept is not None:
            return
        model = copy.deepcopy(task.model)
        tensors = {name: p.detach().clone() for name, p in model.named_parameters()}
        kinds: dict[str, Any] = {
            "module": model,
            "task": copy.deepcopy(task),
            "list": [model],
            "object": SimpleNamespace(twin=model),
            "tensors by name": tensors,
            "tensors": list(tensors.values()),
        }
        self.kept: Any = kinds[self.kind]

    def tensors(self) -> list[Tensor]:
        kept = self.kept[0] if self.kind == "list" else getattr(self.kept, "twin", self.kept)
        kept = kept.model if self.kind == "task" else kept
        values = kept.parameters() if isinstance(kept, nn.Module) else kept
        return list(values.values() if isinstance(values, dict) else values)

    @torch.no_grad()
    def on_train_batch_end(self, _trainer: Any, task: Any, *_: Any) -> None:
        if self.rate:
            for mine, theirs in zip(self.tensors(), task.model.parameters(), strict=True):
                mine.lerp_(theirs, self.rate)


def told(task: Classifier, *callbacks: Any) -> list[str]:
    """Train for three epochs, and return what is said of copies."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(*callbacks, epochs=3).fit(task)
    return [str(w.message) for w in caught if "copy of the network" in str(w.message)]


KINDS = ["module", "task", "list", "object", "tensors by name", "tensors"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_moving_copy_is_said_once_without_cuts_and_refused_with_them(kind: str) -> None:
    (said,) = told(Classifier(), pruning(), Copies(kind, 0.1))
    assert said.startswith("Copies.kept")
    assert "set what is dead to zero in it" in said
    fit = trainer(pruning(compact_every=1), Copies(kind, 0.1))
    with (
        pytest.warns(UserWarning, match="leave compact_every out"),
        pytest.raises(UserError, match=REFUSED.format("")),
    ):
        fit.fit(Classifier())
    assert fit.global_step == 1


@pytest.mark.parametrize("when", ["on_train_start", "on_train_epoch_start", "on_train_batch_start"])
def test_a_moving_copy_that_is_made_late_is_refused_before_the_first_cut(when: str) -> None:
    fit = trainer(Copies("module", 0.1, when), pruning(compact_every=2))
    with pytest.raises(UserError, match=REFUSED.format("Copies.kept")):
        fit.fit(Classifier())
    assert fit.current_epoch <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_that_stays_is_a_teacher(kind: str) -> None:
    assert told(Classifier(), pruning(), Copies(kind, 0.0)) == []
    (said,) = told(Classifier(), pruning(compact_every=1), Copies(kind, 0.0))
    assert "if it follows the weights later" in said


def test_other_networks_of_the_same_shapes_are_no_copies() -> None:
    class Distilled(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = [copy.deepcopy(self.model)]
            nn.init.zeros_(self.teacher[0][0].weight)

    class Pair(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.second = copy.deepcopy(self.model)

        def loss(self, batch: Any) -> Tensor:
            return super().loss(batch) + nn.functional.cross_entropy(self.second(batch[0]), batch[1])

    for task in (Distilled(), Pair(), Classifier()):
        assert told(task, PruningCallback("dpap", target=0.6, network="model", compact_every=1)) == []


def test_an_average_of_an_unknown_class_in_the_module_is_found_by_its_movement() -> None:
    (said,) = told(Averaging(Follower), pruning())
    assert said.startswith("Averaging.average is a copy")
