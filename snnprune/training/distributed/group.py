"""The process group of a run: join it, leave it, and report lost processes.

torchrun and SLURM set the rank of a process in its environment. `launch` sets it as torchrun does.
"""

from __future__ import annotations

import inspect
import os
import re
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from snnprune.common import ranks
from snnprune.common.errors import UserError
from snnprune.nn.device import device_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lightning.pytorch.plugins.environments import ClusterEnvironment

    from snnprune.config.schema import RunConfig

HOW = "(docs/distributed.md says how)"

HERE = "127.0.0.1"

LOST = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe", re.IGNORECASE)
"""Words in torch's messages if another process has ended."""


class LostProcessError(UserError):
    """Another process of the run has ended, and this one cannot go on."""


def place(config: RunConfig) -> ClusterEnvironment | None:
    """Return the environment that holds this process's rank, or None.

    None means that the run has one process, or that this process starts the others.

    Raises:
        UserError: the world size is not that of the configuration, or there are several machines without
            torchrun or SLURM.
    """
    wanted = config.train.devices * config.train.nodes
    environment: ClusterEnvironment | None = None
    if TorchElasticEnvironment.detect():
        environment = TorchElasticEnvironment()
    elif wanted > 1 and SLURMEnvironment.detect():
        environment = SLURMEnvironment()
    if environment is not None and environment.world_size() != wanted:
        raise UserError(
            f"{environment.world_size()} processes were started for this run, and train.devices x "
            f"train.nodes is {config.train.devices} x {config.train.nodes}: the two have to agree {HOW}"
        )
    if environment is None and config.train.nodes > 1:
        raise UserError(
            f"train.nodes is {config.train.nodes}: start the run on each of them with torchrun or srun {HOW}"
        )
    return environment if wanted > 1 else None


@contextmanager
def joined(config: RunConfig, run: Path) -> Iterator[None]:
    """Join the process group of the run, and leave it at the end. Do nothing for a single process.

    Args:
        config: of the run.
        run: its folder.

    Raises:
        LostProcessError: another process ended.
        UserError: as `place`.
    """
    environment = place(config)
    if environment is None:
        yield
        return
    cuda = device_of(config) == "cuda"
    if cuda:
        if torch.cuda.device_count() < config.train.devices:
            raise UserError(
                f"train.devices is {config.train.devices}, and torch sees {torch.cuda.device_count()} GPUs "
                "here: set --train.devices to that number, or train with --train.device cpu"
            )
        torch.cuda.set_device(environment.local_rank())
    with _told(run):
        distributed.init_process_group(
            "nccl" if cuda else "gloo",
            init_method=f"tcp://{environment.main_address}:{environment.main_port}"
            if isinstance(environment, SLURMEnvironment)
            else "env://",
            rank=environment.global_rank(),
            world_size=environment.world_size(),
        )
        try:
            with warnings.catch_warnings():
                if not ranks.is_first():
                    warnings.simplefilter("ignore")  # rank 0 gives the same warnings
                yield
        except BaseException:
            with suppress(Exception):  # the group may be broken, and the first error is more useful
                distributed.destroy_process_group()
            raise
        distributed.destroy_process_group()


@contextmanager
def _told(run: Path) -> Iterator[None]:
    """Replace torch's long message by a sentence if another process has ended."""
    try:
        yield
    except RuntimeError as error:
        known = isinstance(error, distributed.DistError) or LOST.search(str(error))
        if isinstance(error, UserError) or not known:
            raise
        raise LostProcessError(
            "another process of this run has ended or cannot be reached, and training was stopped: "
            f"`snnprune train --resume {run}`, started in the same way, goes on from the last finished epoch"
        ) from error


def strategy(config: RunConfig) -> dict[str, Any]:
    """Return the Trainer's settings for distributed training."""
    environment = place(config)
    assert environment is not None
    # Synchronised norms keep buffers equal, and processes evaluate different numbers of batches.
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    buffers: dict[str, Any] = {name: False}
    return {
        "devices": config.train.devices,
        "num_nodes": config.train.nodes,
        "strategy": DDPStrategy(
            cluster_environment=environment,
            process_group_backend=distributed.get_backend(),
            **buffers,
        ),
        "use_distributed_sampler": False,
    }


def is_launcher(config: RunConfig) -> bool:
    """Tell whether this process has to start the processes of the run."""
    return config.train.devices > 1 and place(config) is None


def store() -> distributed.TCPStore:
    """Return the store through which the processes of a group on this machine find each other.

    It listens on a port that the system chooses, as long as the object exists. So no other program can take
    the port before the processes use it.
    """
    return distributed.TCPStore(HERE, 0, is_master=True, wait_for_workers=False)


def of_torchrun(rank: int, world_size: int, found_at: distributed.TCPStore) -> dict[str, str]:
    """Return the environment that torchrun gives a process of a group on this machine.

    Args:
        rank: of the process.
        world_size: of the group.
        found_at: the store of the group, see `store`; it has to exist as long as the group.
    """
    given = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": world_size,
        "LOCAL_WORLD_SIZE": world_size,
        "GROUP_RANK": 0,
        "MASTER_ADDR": HERE,
        "MASTER_PORT": found_at.port,
        "TORCHELASTIC_RUN_ID": "snnprune",
        "TORCHELASTIC_RESTART_COUNT": 0,
        "TORCHELASTIC_USE_AGENT_STORE": True,
    }
    return os.environ | {name: str(value) for name, value in given.items()}
