"""snnprune: spiking neural networks that prune themselves while they learn.

`Pruner` prunes a network in your own training loop. `PruningCallback` does so in a Lightning Trainer. `train`
does a whole run from its configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.common.version import __version__

if TYPE_CHECKING:
    from snnprune import bench as bench
    from snnprune import common as common
    from snnprune import config as config
    from snnprune import data as data
    from snnprune import dpap as dpap
    from snnprune import engine as engine
    from snnprune import export as export
    from snnprune import methods as methods
    from snnprune import network as network
    from snnprune import nn as nn
    from snnprune import pruning as pruning
    from snnprune import report as report
    from snnprune import runs as runs
    from snnprune import training as training
    from snnprune.common.errors import CompactionError, MemoryFullError, UserError
    from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
    from snnprune.data import Splits
    from snnprune.export import load, save
    from snnprune.export.twins import compare
    from snnprune.network import Topology, discover
    from snnprune.nn.fused import accelerate, restore
    from snnprune.pruning import Agreement, Masks, Pruner, compact, verify
    from snnprune.pruning.oversights import TargetMissedWarning
    from snnprune.training.callbacks.pruning import PruningCallback
    from snnprune.training.run import resume, train
else:
    from snnprune.common.lazy import lazily

    # Imported on first access, so that the command line starts at once and DPAP needs no trainer.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "snnprune.common.errors": ("CompactionError", "MemoryFullError", "UserError"),
            "snnprune.config.schema": (
                "DataConfig",
                "MethodConfig",
                "ModelConfig",
                "RunConfig",
                "TrainConfig",
            ),
            "snnprune.data": ("Splits",),
            "snnprune.export": ("load", "save"),
            "snnprune.export.twins": ("compare",),
            "snnprune.network": ("Topology", "discover"),
            "snnprune.nn.fused": ("accelerate", "restore"),
            "snnprune.pruning": ("Agreement", "Masks", "Pruner", "compact", "verify"),
            "snnprune.pruning.oversights": ("TargetMissedWarning",),
            "snnprune.training.callbacks.pruning": ("PruningCallback",),
            "snnprune.training.run": ("resume", "train"),
        },
    )


__all__ = [
    "Agreement",
    "CompactionError",
    "DataConfig",
    "Masks",
    "MemoryFullError",
    "MethodConfig",
    "ModelConfig",
    "Pruner",
    "PruningCallback",
    "RunConfig",
    "Splits",
    "TargetMissedWarning",
    "Topology",
    "TrainConfig",
    "UserError",
    "__version__",
    "accelerate",
    "compact",
    "compare",
    "discover",
    "load",
    "restore",
    "resume",
    "save",
    "train",
    "verify",
]
