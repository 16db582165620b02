"""Lightning's ways to train, each beside the plain loop, and its callbacks around the pruner's."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch import callbacks as given
from lightning.pytorch.tuner import Tuner
from spikingjelly.activation_based import functional
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import snnprune
from support.outside.ways import EPOCHS, SAMPLES, Way, batches, compared, error, network

if TYPE_CHECKING:
    from collections.abc import Callable

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


class Task(lightning.LightningModule):
    """The network of `ways`, trained as there."""

    def __init__(self) -> None:
        super().__init__()
        self.model = network()
        self.lr = 0.01

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        functional.reset_net(self.model)
        return error(self.model(batch[0].transpose(0, 1)), batch[1])

    def training_step(self, batch: Any, _index: int) -> Any:
        return self.loss(batch)

    def validation_step(self, batch: Any, _index: int) -> None:
        self.log("loss", self.loss(batch))

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), self.lr, eps=1e-6)


class Manual(Task):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, _index: int) -> None:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        optimizer.step()


class Named(lightning.LightningModule):
    """Has no forward, and its network another name."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = network()

    def training_step(self, batch: Any, _index: int) -> Tensor:
        functional.reset_net(self.encoder)
        return error(self.encoder(batch[0].transpose(0, 1)), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01, eps=1e-6)


def data(batch: int = SAMPLES) -> Any:
    pairs = batches()
    x = torch.cat([each.transpose(0, 1) for each, _ in pairs])
    return DataLoader(TensorDataset(x, torch.cat([labels for _, labels in pairs])), batch)


def pruning(**options: Any) -> snnprune.PruningCallback:
    example = batches()[0][0]
    return snnprune.PruningCallback("dpap", target=0.5, example_input=example, reset_states=True, **options)


def fitted(
    task: lightning.LightningModule, *more: Any, call: snnprune.PruningCallback | None = None, **options: Any
) -> tuple[snnprune.PruningCallback, lightning.Trainer]:
    """Train a task, and return its callback and the Trainer."""
    call = call or pruning()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    own: dict[str, Any] = {"max_epochs": EPOCHS, "enable_checkpointing": False, "accelerator": "cpu", **quiet}
    trainer = lightning.Trainer(callbacks=[call, *more], **own | options)
    loader = data(options.pop("batch", SAMPLES))
    trainer.fit(task, loader, data() if isinstance(task, Task) else None)
    return call, trainer


def plain(epochs: int = EPOCHS - 1) -> Any:
    """Return the pruner of the plain loop before the last decision, which a fit does not take."""
    way = Way()
    for epoch in range(epochs + 1):
        for x, labels in batches():
            way.step(x, labels)
            functional.reset_net(way.model)
        if epoch < epochs:
            way.pruner.end_epoch()
    return way.pruner


def exact(task: lightning.LightningModule, *more: Any, **options: Any) -> str:
    call, _ = fitted(task, *more, **options)
    return compared(call.pruner, plain())  # type: ignore[arg-type]


def pruned(task: lightning.LightningModule, *more: Any, **options: Any) -> str:
    """Return the verdict where the weights are others by design: half is pruned, and no dead weight lives."""
    call, _ = fitted(task, *more, **options)
    assert call.pruner is not None
    masks = call.pruner.masks
    awake = sum(
        int(call.pruner.model.get_parameter(p.weight)[~masks.alive(p)].count_nonzero())
        for p in call.pruner.topology.projections.values()
    )
    share = call.pruner.rates().synapses
    good = abs(share - 0.5) < 0.03 and not awake
    return "exact" if good else f"WRONG: {share:.1%} pruned, {awake} dead weights live"


def said(task: lightning.LightningModule, *more: Any, **options: Any) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted(task, *more, **options)
    words = [str(w.message) for w in caught if issubclass(w.category, snnprune.TargetMissedWarning)]
    return f"said: {words[0]}" if words else "WRONG: nothing is said"


def tested_best() -> str:
    with tempfile.TemporaryDirectory() as folder:
        keep = given.ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
        _, trainer = fitted(Task(), keep, call=pruning(compact_every=1), enable_checkpointing=True)
        early = str(sorted(Path(folder).glob("*.ckpt"))[0])
        [here] = trainer.test(trainer.lightning_module, data(), ckpt_path=early, verbose=False)
        fresh = lightning.Trainer(
            callbacks=[pruning()], accelerator="cpu", logger=False, enable_progress_bar=False
        )
        [there] = fresh.test(Task(), data(), ckpt_path=early, verbose=False)
    return "exact" if here == there else f"WRONG: {here} for {there}"


def tuned() -> str:
    task, call = Task(), pruning()
    trainer = lightning.Trainer(
        callbacks=[call], max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trainer._default_root_dir = folder
        Tuner(trainer).lr_find(task, data(), num_training=8, update_attr=False)
    task.lr = 0.01
    trainer.fit(task, data(), data())
    return compared(call.pruner, plain())  # type: ignore[arg-type]


class Finder(given.LearningRateFinder):
    """Searches in the middle of training, as Lightning's documents do."""

    def on_fit_start(self, *_: Any) -> None:
        return

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == EPOCHS // 2:
            with tempfile.TemporaryDirectory() as folder:
                trainer._default_root_dir = folder
                self.lr_find(trainer, pl_module)
            pl_module.lr = 0.01


def averaged(average: Any, **options: Any) -> str:
    return pruned(Task(), average, **options)


FITS: dict[str, Callable[[], str]] = {
    "automatic optimisation": lambda: exact(Task()),
    "manual optimisation": lambda: exact(Manual()),
    "a module without forward, network of any name": lambda: exact(Named()),
    "accumulate_grad_batches=2": lambda: pruned(Task(), accumulate_grad_batches=2),
    "gradient_clip_val": lambda: exact(Task(), gradient_clip_val=1e9),
    "Tuner.lr_find before fit": tuned,
    "LearningRateFinder in the middle of training": lambda: pruned(Task(), Finder(num_training_steps=8)),
    "EarlyStopping": lambda: said(Task(), given.EarlyStopping("loss", patience=1, min_delta=1e9)),
    "max_time, max_steps and others that end early": lambda: said(Task(), max_steps=5),
    "ModelCheckpoint, and a test of one from before a cut": tested_best,
    "WeightAveraging": lambda: averaged(given.WeightAveraging()),
    "EMAWeightAveraging": lambda: averaged(given.EMAWeightAveraging()),
    "StochasticWeightAveraging": lambda: averaged(given.StochasticWeightAveraging(0.01, swa_epoch_start=4)),
    "WeightAveraging with compact_every": lambda: averaged(
        given.WeightAveraging(), call=pruning(compact_every=1)
    ),
    "StochasticWeightAveraging with compact_every": lambda: averaged(
        given.StochasticWeightAveraging(0.01, swa_epoch_start=4), call=pruning(compact_every=1)
    ),
    "GradientAccumulationScheduler": lambda: pruned(
        Task(), given.GradientAccumulationScheduler({0: 1, 2: 3})
    ),
}
"""The verdict on each way to train with Lightning, by its name."""
