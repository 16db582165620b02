"""PruningCallback where a checkpoint is loaded: in the middle of a fit, and by a module that has been cut."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateFinder, ModelCheckpoint
from lightning.pytorch.tuner import Tuner
from spikingjelly.activation_based.neuron import IFNode
from torch import Tensor, nn

from snnprune.common.errors import UserError
from snnprune.network.duplicate import reset_states as reset_states_of
from snnprune.pruning.compaction.survivors import survivors_of
from snnprune.training.callbacks.pruning import PruningCallback
from support.hooks import hooks
from support.tasks import Classifier, loader, trainer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore")
EPOCHS = 8


def pruning(**options: Any) -> PruningCallback:
    return PruningCallback("dpap", **({"target": 0.6, "epochs": EPOCHS} | options))


def masks(callback: PruningCallback) -> dict[str, Tensor]:
    assert callback.pruner is not None
    whole = callback.pruner.dense_masks()
    return {f"{kind} {name}": mask for kind in whole for name, mask in whole[kind].items()}


def assert_same(a: tuple[PruningCallback, Classifier], b: tuple[PruningCallback, Classifier]) -> None:
    """Compare who is alive, how far the schedule is, and all weights."""
    for (name, x), y in zip(masks(a[0]).items(), masks(b[0]).values(), strict=True):
        assert torch.equal(x, y), name
    assert a[0].pruner is not None
    assert b[0].pruner is not None
    assert a[0].pruner.clock == b[0].pruner.clock
    assert a[0].pruner.rates() == b[0].pruner.rates()
    assert torch.equal(a[1].weights(), b[1].weights())


def run(
    folder: Path | None = None, *callbacks: Any, epochs: int = EPOCHS, **options: Any
) -> tuple[PruningCallback, Classifier]:
    """Train anew; with a folder, save a checkpoint after every epoch."""
    callback, task = pruning(**options), Classifier()
    savers = [] if folder is None else [ModelCheckpoint(folder, save_top_k=-1, filename="{epoch}")]
    trainer(callback, *callbacks, *savers, epochs=epochs).fit(task)
    return callback, task


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int | None, Path]:
    """Return folders with a checkpoint of each epoch, with masks alone and with cuts."""
    made: dict[int | None, Path] = {every: tmp_path_factory.mktemp("run") for every in (None, 1)}
    for every, folder in made.items():
        run(folder, compact_every=every)
    return made


# --- in the middle of a fit


class Back(lightning.Callback):
    """Goes back to a checkpoint once, at the start of an epoch or within it."""

    def __init__(self, how: Any, at: int, path: Path, when: str) -> None:
        self.how, self.at, self.path, self.left = how, at, path, 1
        setattr(self, when, self.go)

    def go(self, trainer: lightning.Trainer, task: Any, *_: Any) -> None:
        if trainer.current_epoch == self.at and self.left:
            self.left = 0
            self.how(trainer, self.path)


def by_hand(trainer: lightning.Trainer, path: Path) -> None:
    saved = torch.load(path, weights_only=True)
    [callback] = [c for c in trainer.callbacks if isinstance(c, PruningCallback)]  # type: ignore[attr-defined]
    callback.load_state_dict(saved["callbacks"]["PruningCallback"])
    trainer.strategy.load_model_state_dict(saved)
    trainer.strategy.load_optimizer_state_dict(saved)


def by_the_trainer(trainer: lightning.Trainer, path: Path) -> None:
    trainer._checkpoint_connector.restore(path)


@pytest.mark.parametrize("every", [None, 1])
@pytest.mark.parametrize("to", [1, 2, 6])  # before the first cut, between two, and later than now
def test_a_fit_goes_on_from_a_state_that_is_restored_in_it(
    folders: dict[int | None, Path], every: int | None, to: int
) -> None:
    back = Back(by_hand, 4, folders[every] / f"epoch={to}.ckpt", "on_train_epoch_start")
    # Epoch `to` has been, and 4 to 7 come behind it.
    assert_same(run(None, back, compact_every=every), run(None, epochs=to + 5, compact_every=every))


@pytest.mark.parametrize(
    ("every", "when"),
    [
        (None, "on_train_batch_end"),
        (1, "on_train_epoch_start"),
        (1, "on_train_batch_end"),
        (1, "on_train_epoch_end"),
    ],
)
def test_the_trainers_own_restore_ends_where_the_run_ends(
    folders: dict[int | None, Path], every: int | None, when: str
) -> None:
    back = Back(by_the_trainer, 4, folders[every] / "epoch=1.ckpt", when)
    callback, task = run(None, back, compact_every=every)
    assert not back.left
    assert callback.pruner is not None
    assert callback.pruner.rates().synapses == pytest.approx(0.6, abs=0.005)
    assert not callback.pruner.masks.revived(task.model.state_dict())
    assert not hooks(task)
    assert not task._load_state_dict_pre_hooks


class Find(LearningRateFinder):
    """Looks for a learning rate in the middle of training."""

    def on_fit_start(self, *_: Any) -> None:
        """Do not look yet."""

    def on_train_epoch_start(self, trainer: Any, task: Any) -> None:
        if trainer.current_epoch == 4:
            self.lr_find(trainer, task)


@pytest.mark.parametrize(("every", "first"), [(None, False), (1, False), (1, True)])
def test_a_search_for_a_learning_rate_leaves_no_trace(tmp_path: Path, every: int | None, first: bool) -> None:
    finder, callback, task = (
        Find(num_training_steps=7, update_attr=False),
        pruning(compact_every=every),
        Classifier(),
    )
    order = (finder, callback) if first else (callback, finder)
    trainer(*order, epochs=EPOCHS, default_root_dir=tmp_path).fit(task)
    assert finder.optimal_lr is not None
    assert_same((callback, task), run(compact_every=every))


@pytest.mark.parametrize(("reset_states", "accumulate"), [(True, 1), (True, 2), (False, 1), (None, 1)])
def test_the_tuner_before_a_fit_leaves_no_trace_and_finds_neurons_at_rest(
    tmp_path: Path, reset_states: bool | None, accumulate: int
) -> None:
    def fit(*, tuned: bool) -> tuple[PruningCallback, Classifier]:
        callback, task = (
            pruning(reset_states=reset_states),
            Classifier(IFNode()),
        )  # it never resets its neurons
        settings: dict[str, Any] = {"accumulate_grad_batches": accumulate, "default_root_dir": tmp_path}
        if tuned:
            tuner = Tuner(trainer(callback, epochs=3, num_sanity_val_steps=0, **settings))
            tuner.scale_batch_size(task, init_val=4, max_trials=2, steps_per_trial=1)
            task.batch_size = 16
            tuner.lr_find(task, num_training=5, update_attr=False)
        if reset_states is not True:
            reset_states_of(task)
        trainer(callback, epochs=3, limit_val_batches=0, **settings).fit(task)
        return callback, task

    assert_same(fit(tuned=True), fit(tuned=False))


def test_weights_that_come_alone_are_masked_before_the_next_batch(folders: dict[int | None, Path]) -> None:
    class Look(lightning.Callback):
        seen: int | None = None

        def on_train_batch_end(self, *_: Any) -> None:
            assert callback.pruner is not None
            if not back.left and self.seen is None:
                self.seen = callback.pruner.masks.revived(task.model.state_dict())

    def alone(trainer: lightning.Trainer, path: Path) -> None:
        trainer.strategy.load_model_state_dict(torch.load(path, weights_only=True))

    callback, task, look = pruning(), Classifier(), Look()
    back = Back(alone, 4, folders[None] / "epoch=1.ckpt", "on_train_epoch_start")
    with pytest.warns(UserWarning, match=r"without the state of their PruningCallback, and \d+ of them"):
        trainer(callback, back, look).fit(task)
    assert look.seen == 0

    callback, task = pruning(compact_every=1), Classifier()
    back = Back(alone, 4, folders[1] / "epoch=1.ckpt", "on_train_epoch_start")
    with pytest.raises(
        UserError, match=r"load the state of the PruningCallback before the weights, with .*'\]"
    ):
        trainer(callback, back).fit(task)


# --- by the same module, after a fit


def losses(callback: PruningCallback, task: Classifier, path: Path) -> list[float]:
    """Return what a test, a validation and a prediction of a checkpoint say."""
    fit = trainer(callback)
    [tested] = fit.test(task, loader(), ckpt_path=path, verbose=False)
    [validated] = fit.validate(task, loader(), ckpt_path=path, verbose=False)
    predicted = fit.predict(task, loader(), ckpt_path=path)
    assert predicted is not None
    return [tested["loss"], validated["loss"], *map(float, predicted)]


@pytest.mark.parametrize("fresh", [True, False])  # a callback that knows the network, or not
def test_a_module_is_tested_in_each_of_its_sizes(tmp_path: Path, fresh: bool) -> None:
    callback, task = run(tmp_path, compact_every=1)
    for epoch in (1, 7, 2):
        path = tmp_path / f"epoch={epoch}.ckpt"
        state = torch.load(path, weights_only=True)["callbacks"]["PruningCallback"]["pruner"]
        asked = pruning() if fresh else callback
        assert losses(asked, task, path) == losses(pruning(), Classifier(), path)
        assert survivors_of(task.model).state_dict().keys() == state["kept"].keys()
        if not fresh:
            assert callback.pruner is not None
            assert callback.pruner.clock.epoch == epoch
            assert callback.pruner.topology.populations["0"].size == task.model[0].out_features
    assert bool(state["kept"])
    trainer(callback, epochs=6).fit(task)  # it has been at the end of epoch 2: 6 more make 9
    assert callback.pruner is not None
    assert callback.pruner.rates().synapses == pytest.approx(0.6, abs=0.005)
    assert not callback.pruner.masks.revived(task.model.state_dict())


@pytest.mark.parametrize(("epoch", "fresh"), [(1, True), (1, False), (2, False)])
def test_a_module_that_was_cut_is_trained_on_from_before(tmp_path: Path, epoch: int, fresh: bool) -> None:
    whole = run(tmp_path, compact_every=1)
    ended = [t.clone() for t in whole[1].parameters()]
    callback = pruning(compact_every=1) if fresh else whole[0]
    trainer(callback).fit(whole[1], ckpt_path=tmp_path / f"epoch={epoch}.ckpt", weights_only=True)
    assert_same((callback, whole[1]), run(compact_every=1))
    assert all(torch.equal(a, b) for a, b in zip(ended, whole[1].parameters(), strict=True))


def test_weights_saved_alone_are_read_where_they_fit(tmp_path: Path) -> None:
    callback, task = pruning(compact_every=1), Classifier()
    saver = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}", save_weights_only=True)
    trainer(callback, saver).fit(task)
    early, late = tmp_path / "epoch=1.ckpt", tmp_path / "epoch=7.ckpt"
    for path in (early, late):
        assert losses(pruning(), Classifier(), path)
    assert losses(callback, task, late) == losses(pruning(), Classifier(), late)
    before = task.weights()
    for asked in (callback, pruning()):
        with pytest.raises(
            UserError, match=r"\(16, 6\) in this checkpoint, .* need a module that is built anew"
        ):
            losses(asked, task, early)
        assert torch.equal(task.weights(), before)


def test_a_checkpoint_of_other_cuts_is_refused(tmp_path: Path) -> None:
    _, task = run(compact_every=1)
    for folder in ("first", "second"):  # the second pruner takes the cut network for the dense one
        saver = ModelCheckpoint(tmp_path / folder, save_top_k=-1, filename="{epoch}")
        trainer(pruning(target=0.3, compact_every=1), saver).fit(task)
    with pytest.raises(UserError, match="cut by another pruner than the one in this checkpoint"):
        trainer(pruning()).test(task, loader(), ckpt_path=tmp_path / "second" / "epoch=7.ckpt", verbose=False)


# --- several fits


class Clocks(lightning.Callback):
    """Notes the pruner's epoch in each epoch."""

    def __init__(self, callback: PruningCallback) -> None:
        self.callback = callback
        self.seen: list[int] = []

    def on_train_epoch_end(self, *_: Any) -> None:
        assert self.callback.pruner is not None
        self.seen.append(self.callback.pruner.clock.epoch)


def test_a_validation_of_a_checkpoint_before_a_fit_counts_every_epoch(
    folders: dict[int | None, Path],
) -> None:
    callback, task = pruning(), Classifier()
    clocks = Clocks(callback)
    fit = trainer(callback, clocks, epochs=4)
    fit.validate(task, loader(), ckpt_path=folders[None] / "epoch=2.ckpt", verbose=False)
    fit.fit(task)
    assert clocks.seen == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("same", "batch", "error", "seen"),
    [
        (True, 1, RuntimeError, [2, 3, 4]),  # within epoch 2
        (False, 1, KeyboardInterrupt, [2, 3, 4]),
        (True, 3, KeyboardInterrupt, [3, 4, 5]),  # at its end
        (False, 3, RuntimeError, [3, 4, 5]),
    ],
)
def test_a_fit_after_one_that_broke_off_goes_on(
    same: bool, batch: int, error: type[BaseException], seen: list[int]
) -> None:
    class Breaks(lightning.Callback):
        left = 2 * 3 + batch

        def on_train_batch_end(self, *_: Any) -> None:
            self.left -= 1
            if self.left == 0:
                raise error

    callback, task = pruning(compact_every=1), Classifier()
    clocks = Clocks(callback)
    fit = trainer(callback, Breaks())
    with pytest.raises((error, SystemExit)):
        fit.fit(task)
    assert not hooks(task)
    again = fit if same else trainer(callback)
    again.fit_loop.max_epochs = 5 if same else 3
    again.callbacks = [callback, clocks]  # type: ignore[attr-defined]
    again.fit(task)
    assert clocks.seen == seen


@pytest.mark.parametrize(
    "settings",
    [
        {"fast_dev_run": True},
        {"limit_train_batches": 0},
        {"limit_train_batches": 0.5},
        {"overfit_batches": 2},
        {"reload_dataloaders_every_n_epochs": 1},
        {"accumulate_grad_batches": 2},  # of 3 batches
        {"check_val_every_n_epoch": 2},
        {"val_check_interval": 2},
        {"barebones": True},
        {"max_time": {"hours": 1}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_trainers_settings_are_no_matter(settings: dict[str, Any]) -> None:
    callback, task = pruning(compact_every=1), Classifier()
    fit = trainer(callback, epochs=3, **settings)
    fit.fit(task, val_dataloaders=loader())
    trained = fit.global_step > 0
    assert (callback.pruner is not None) == trained
    if callback.pruner is not None:
        assert callback.pruner.clock.epoch == fit.current_epoch - 1
        assert callback.pruner.clock.batches == fit.global_step
    assert not hooks(task)


# --- several callbacks


class Two(Classifier):
    """Two networks of one size, which are trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.other = Classifier().model

    def loss(self, batch: Any) -> Tensor:
        return super().loss(batch) + nn.functional.cross_entropy(self.other(batch[0]), batch[1])


@pytest.mark.parametrize("every", [None, 1])
def test_two_networks_have_a_callback_each(tmp_path: Path, every: int | None) -> None:
    def both() -> list[PruningCallback]:
        shares = {"model": 0.3, "other": 0.6}
        return [pruning(network=n, target=share, compact_every=every) for n, share in shares.items()]

    callbacks, task = both(), Two()
    fit = trainer(*callbacks, ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}"))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=r".*copy of the network")
        fit.fit(task)
    assert [round(c.pruner.rates().synapses, 2) for c in callbacks if c.pruner is not None] == [0.3, 0.6]
    assert {"pruning/model/synapses", "pruning/other/units/0"} <= fit.callback_metrics.keys()
    weights = task.weights()
    again, resumed = both(), Two()
    trainer(*again).fit(resumed, ckpt_path=tmp_path / "epoch=2.ckpt", weights_only=True)
    assert torch.equal(weights, resumed.weights())
    for a, b in zip(callbacks, again, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(masks(a).values(), masks(b).values(), strict=True))


def test_one_network_has_one_callback() -> None:
    with pytest.raises(UserError, match=r"prune the same network, as both have its '0\.weight'"):
        trainer(pruning(), pruning(network="model")).fit(Classifier())


@pytest.mark.parametrize("named", [True, False])
def test_a_state_is_found_whether_the_network_was_named_or_not(tmp_path: Path, named: bool) -> None:
    saved, asked = (pruning(network="model" if name else None) for name in (named, not named))
    trainer(saved, ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}")).fit(Classifier())
    task = Classifier()
    trainer(asked).fit(task, ckpt_path=tmp_path / "epoch=3.ckpt", weights_only=True)
    assert_same((asked, task), run())
