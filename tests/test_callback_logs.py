"""What PruningCallback writes to loggers, and what it says of a fit that ends before its schedule."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import lightning
import pytest
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from snnprune import TargetMissedWarning
from snnprune.training.callbacks.pruning import PruningCallback
from support.tasks import Classifier, trainer

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
NAMES = {
    "pruning/synapses",
    "pruning/neurons",
    "pruning/firing",
    *(f"pruning/units/{layer}" for layer in ("0", "2", "4")),
}


class Rates(lightning.Callback):
    """Notes the pruned share that an epoch was trained with."""

    def __init__(self, callback: PruningCallback) -> None:
        self.callback = callback
        self.seen: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        assert self.callback.pruner is not None
        self.last = self.callback.pruner.rates().synapses

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seen.append(self.last)


def logged(row: dict[str, str]) -> float:
    return float(row["pruning/synapses"])


@pytest.mark.parametrize("every", [None, 1])
def test_each_logger_gets_each_epoch_once(tmp_path: Path, every: int | None) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    callback = PruningCallback("dpap", target=0.6, compact_every=every)
    table, board = CSVLogger(tmp_path, name="table"), TensorBoardLogger(tmp_path, name="board")
    rates = Rates(callback)
    trainer(callback, rates, logger=[table, board], log_every_n_steps=1).fit(Classifier())
    with (Path(table.log_dir) / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["pruning/synapses"]]
    assert [int(row["epoch"]) for row in rows] == list(range(8))
    assert [logged(row) for row in rows] == pytest.approx(rates.seen)
    assert rates.seen[0] == 0.0 < rates.seen[2] < rates.seen[-1]
    assert callback.pruner is not None
    left = callback.pruner.rates().neurons_left
    assert {name: float(rows[-1][f"pruning/units/{name}"]) for name in left} == {
        n: a for n, (a, _) in left.items()
    }
    read = EventAccumulator(board.log_dir)
    read.Reload()
    assert {tag for tag in read.Tags()["scalars"] if tag.startswith("pruning/")} == NAMES
    assert [event.value for event in read.Scalars("pruning/synapses")] == pytest.approx(rates.seen)


def test_callbacks_can_monitor_it_without_a_logger() -> None:
    callback = PruningCallback("dpap", target=0.6)
    stop = EarlyStopping("pruning/synapses", patience=9, stopping_threshold=0.3, mode="max")
    fit = trainer(callback, stop)
    fit.fit(Classifier())
    assert fit.callback_metrics.keys() >= NAMES
    assert fit.current_epoch < 8


def test_nothing_is_logged_where_that_is_not_wanted() -> None:
    fit = trainer(PruningCallback("dpap", target=0.6, log=False), epochs=2)
    fit.fit(Classifier())
    assert not any(name.startswith("pruning") for name in fit.callback_metrics)


# --- a fit that ends early


class Breaks(lightning.Callback):
    """Ends training in the second batch of the second epoch."""

    def __init__(self, error: type[BaseException] | None) -> None:
        self.error = error

    def on_train_batch_end(self, trainer: Any, _task: Any, _outputs: Any, _batch: Any, index: int) -> None:
        if (trainer.current_epoch, index) == (1, 1):
            if self.error is not None:
                raise self.error
            trainer.should_stop = True


@pytest.mark.parametrize(
    ("callback", "settings", "error"),
    [
        (EarlyStopping("loss", patience=1, min_delta=9.0), {}, None),
        (Breaks(None), {}, None),
        (Breaks(RuntimeError), {}, RuntimeError),
        (Breaks(KeyboardInterrupt), {}, SystemExit),
        (None, {"max_steps": 5}, None),
        (None, {"max_steps": 6}, None),
    ],
)
def test_a_fit_that_ends_before_its_schedule_says_so_once(
    callback: Any, settings: dict[str, Any], error: type[BaseException] | None
) -> None:
    pruning = PruningCallback("dpap", target=0.6)
    fit = trainer(pruning, *([] if callback is None else [callback]), **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if error is None:
            fit.fit(Classifier())
        else:
            with pytest.raises(error):
                fit.fit(Classifier())
        pruning.close()
    (said,) = [w for w in caught if issubclass(w.category, TargetMissedWarning)]
    assert "ended with epoch 2 of 8, and 0.0% of the weights are pruned, not 60.0%" in str(said.message)


@pytest.mark.parametrize("method", ["dense", "bsp"])
def test_a_method_without_a_target_says_nothing(method: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", TargetMissedWarning)
        trainer(PruningCallback(method), Breaks(None)).fit(Classifier())
