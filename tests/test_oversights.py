"""What a plain loop is told that forgets a line or ends before its target."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import snnprune
from snnprune.pruning import Pruner
from snnprune.pruning.oversights import NO_STEP, TargetMissedWarning


def loop(
    method: str = "magnitude", *, epochs: int, run: int | None = None, step: bool = True, **options: Any
) -> list[warnings.WarningMessage]:
    """Train for ``run`` of ``epochs`` epochs, and return what was warned of."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(40, 50), nn.ReLU(), nn.Linear(50, 3)), torch.rand(8, 40)
    optimizer = torch.optim.Adam(model.parameters())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with Pruner(model, x, method, epochs=epochs, **options) as pruner:
            for _ in range(epochs if run is None else run):
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()
                if step:
                    pruner.step(optimizer)
                pruner.end_epoch()
    return said


@pytest.mark.parametrize("run", [2, 1])
def test_a_missed_target_is_said_once_where_the_last_decision_is_taken(run: int) -> None:
    (said,) = loop("dpap", epochs=2, run=run, target=0.6)
    assert said.category is TargetMissedWarning
    assert "0.0% of the weights are pruned, not 60.0%" in str(said.message)
    assert "the run had 2" in str(said.message)


def test_a_missed_target_of_operations_says_so() -> None:
    (said,) = loop("dpap", epochs=2, target_macs=0.5)
    assert "0.0% of the multiply-accumulates are pruned, not 50.0%" in str(said.message)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("magnitude", {"target": 0.6}),
        ("bsp", {}),
        ("stds", {"threshold": 0.0}),
        ("grad-r", {"steered": False}),
        ("dense", {}),
    ],
)
def test_nothing_is_said_where_a_target_is_reached_or_none_is_aimed_at(
    method: str, options: dict[str, Any]
) -> None:
    assert loop(method, epochs=8, **options) == []


@pytest.mark.parametrize(
    ("options", "what"),
    [({"target": 0.6}, "weights are pruned, not 60.0%"), ({"target_macs": 0.5}, "multiply-accumulates are")],
)
def test_a_run_that_ends_before_its_schedule_says_so_once(options: dict[str, Any], what: str) -> None:
    (said,) = loop("dpap", epochs=20, run=1, **options)
    assert said.category is TargetMissedWarning
    assert f"training ended with epoch 1 of 20, and 0.0% of the {what}" in str(said.message)
    assert "train for all 20 epochs, or give epochs= the number" in str(said.message)


@pytest.mark.parametrize(("method", "options"), [("magnitude", {"target": 0.6}), ("dense", {}), ("bsp", {})])
def test_nothing_is_said_of_an_early_end_with_the_target_reached_or_without_one(
    method: str, options: dict[str, Any]
) -> None:
    assert loop(method, epochs=8, run=6, **options) == []


def test_nothing_is_said_of_a_pruner_that_trained_nothing() -> None:
    model, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(3, 4)
    before = Pruner(model, x, "dpap", epochs=9, target=0.5)
    before.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Pruner(copy.deepcopy(model), x, "dpap", epochs=9).close()
        with Pruner(copy.deepcopy(model), x, "dpap", epochs=9, target=0.5) as after:
            after.load_state_dict(before.state_dict())
    with pytest.warns(TargetMissedWarning, match="with epoch 1 of 9"):
        before.close()


def stopped(error: type[BaseException] | None) -> None:
    model, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(3, 4)
    with Pruner(model, x, "dpap", epochs=9, target=0.5) as pruner:
        for epoch in range(9):
            pruner.step()
            if epoch == 1 and error is not None:
                raise error
            if epoch == 1:
                break
            pruner.end_epoch()


@pytest.mark.filterwarnings("ignore:an epoch ended and no training")
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, StopIteration])
def test_an_early_end_by_an_error_is_said_and_the_error_is_seen(error: type[BaseException]) -> None:
    with pytest.warns(TargetMissedWarning, match="with epoch 2 of 9"), pytest.raises(error):
        stopped(error)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TargetMissedWarning)
        with pytest.raises(error):
            stopped(error)


@pytest.mark.filterwarnings("ignore:an epoch ended and no training")
def test_leaving_the_loop_by_break_is_an_early_end() -> None:
    with pytest.warns(TargetMissedWarning, match="with epoch 2 of 9"):
        stopped(None)


def test_an_error_is_not_buried_under_a_warning() -> None:
    model, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(3, 4)

    def broken() -> None:
        with Pruner(model, x, "dpap", epochs=1) as pruner:
            pruner.step()
            raise KeyError

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyError):
            broken()


def test_a_forgotten_step_is_said_once() -> None:
    (said,) = loop(epochs=8, step=False, target=0.6)
    assert str(said.message) == NO_STEP
    assert said.filename == __file__
    assert loop("dense", epochs=3, step=False) == []


def test_an_epoch_that_a_checkpoint_cut_in_two_is_no_epoch_without_a_batch() -> None:
    model, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(3, 4)
    before = Pruner(model, x, "random", epochs=20)
    before.step()
    after = Pruner(copy.deepcopy(model), x, "random", epochs=20)
    after.load_state_dict(before.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after.end_epoch()
    with pytest.warns(UserWarning, match="no batch"):
        after.end_epoch()


def test_the_callback_says_it_too() -> None:
    import lightning

    class Task(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return self.model(batch[0]).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.model.parameters(), 0.1)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.rand(6, 4)), batch_size=3)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[snnprune.PruningCallback("dpap", target=0.5)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with pytest.warns(TargetMissedWarning, match=r"0.0% of the weights are pruned, not 50.0%"):
        trainer.fit(Task(), data)


def test_a_target_between_two_numbers_of_units_says_so() -> None:
    """A unit of 50 has 2 % of the weights."""
    (said,) = loop(epochs=8, target=0.409, unit="neurons")
    assert str(said.message).startswith("40.0% of the weights are pruned, not 40.9%: whole units are pruned")
    assert "lies between two numbers of them" in str(said.message)
