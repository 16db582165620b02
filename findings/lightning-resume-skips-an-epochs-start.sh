#!/usr/bin/env bash
# lightning 2.6.6: a run resumed from a checkpoint of an epoch's last batch skips two hooks, and no count shows it.
#
# Guess, written down before the run: the resumed run ends the epoch that was open (on_train_epoch_end of epoch 1), then
#   starts the next one (on_train_epoch_start of epoch 2), as the uninterrupted run does.
# Seen: ModelCheckpoint(every_n_train_steps=4) with four batches an epoch saves at the last batch of epoch 1. The resumed
#   run calls neither on_train_epoch_end of epoch 1 nor on_train_epoch_start of epoch 2: its first hook is the first batch
#   of epoch 2. From epoch 3 on all is as usual. A checkpoint saved in on_train_epoch_end loses nothing.
# Whom it hurts: pruning, growth and threshold schedules that act once an epoch in these hooks. A network resumed after a
#   kill has one decision fewer than the one that was not killed, so their masks differ, and nothing says so.
# What to do: count epochs by trainer.current_epoch in on_train_batch_start, and catch up there.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 lightning==2.6.6
cd "$dir"
venv/bin/python - <<'PY'
import logging
import warnings

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)


class Network(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, _):
        return self.layer(batch[0]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Diary(lightning.Callback):
    def __init__(self):
        self.seen = []

    def on_train_epoch_start(self, trainer, _):
        self.seen.append(("start", trainer.current_epoch))

    def on_train_batch_start(self, trainer, _, batch, index):
        self.seen.append(("batch", trainer.current_epoch))

    def on_train_epoch_end(self, trainer, _):
        self.seen.append(("end", trainer.current_epoch))


def fit(epochs, *callbacks, resume=None):
    diary = Diary()
    trainer = lightning.Trainer(
        max_epochs=epochs, callbacks=[diary, *callbacks], accelerator="cpu", logger=False,
        enable_checkpointing=bool(callbacks), enable_progress_bar=False, enable_model_summary=False,
    )
    loader = DataLoader(TensorDataset(torch.rand(8, 2)), 2)
    trainer.fit(Network(), loader, ckpt_path=resume, weights_only=True)
    return diary.seen


whole = [(what, epoch) for what, epoch in fit(4) if what != "batch"]
fit(2, ModelCheckpoint(dirpath=".", filename="{step}", every_n_train_steps=4, save_top_k=-1))
resumed = fit(4, resume="step=8.ckpt")
hooks = [(what, epoch) for what, epoch in resumed if what != "batch"]
print("whole run:  ", whole)
print("resumed run:", hooks, "first of all:", resumed[0])
expected = [("end", 2), ("start", 3), ("end", 3)]
assert hooks == expected and resumed[0] == ("batch", 2), "changed: other hooks are called"
PY
