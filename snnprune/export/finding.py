"""Find a trained network and its data: a run, a compact network, an ONNX or NIR export."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from snnprune import data as datasets
from snnprune.common.console import say
from snnprune.common.errors import UserError
from snnprune.config.check import check
from snnprune.config.names import NIR_MODEL
from snnprune.config.schema import DataConfig, ModelConfig, RunConfig
from snnprune.engine import plan_file
from snnprune.engine.engine import Engine
from snnprune.export import load, nir_file, onnx_file
from snnprune.export.compact import about_of
from snnprune.export.engine_run import outputs
from snnprune.export.subject import Subject
from snnprune.nn import models
from snnprune.nn.device import use_threads
from snnprune.nn.run_network import build_network
from snnprune.pruning.compaction.shapes import conform
from snnprune.pruning.compaction.survivors import numbers_in
from snnprune.runs import about, checkpoint
from snnprune.runs.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from snnprune.data import Splits

OF_ONE_DATA_SET = (
    "root",
    "samples",
    "classes",
    "download",
    "sensor",
    "time_unit",
    "columns",
    "stream",
    "group",
)
"""Settings that say where the data of a run are, what their files leave open, and which samples are used.
Other data do not take them over."""


def find(
    path: Path,
    data: Mapping[str, Any],
    device: str | None = None,
    *,
    compact: bool = False,
    splits: Splits | None = None,
    dt: float | None = None,
) -> Subject:
    """Read the network at ``path`` and the data to measure it on.

    Args:
        path: folder of a run, or a file that ends in .safetensors, .onnx or .nir.
        data: settings of `DataConfig` that replace those of the run.
        device: in place of that of the run.
        compact: read the compact network of a run instead of the one as it was trained.
        splits: the data, if they were made by hand; only their test set has to hold samples.
        dt: seconds of a time step in a NIR file; by default what the file says.

    Raises:
        UserError: no such file, or one of another kind; data that cannot be read or do not fit the network.
    """
    if dt is not None and path.suffix != ".nir":
        raise UserError(f"--nir-dt is the time step of a NIR file, and {path} is none: leave it out")
    asked = _Asked(data, device, splits, dt)
    if path.is_dir():
        return _of_run(RunFolder(path), asked, compact=compact)
    readers = {".safetensors": _of_compact, ".onnx": _of_onnx, ".nir": _of_nir}
    if not path.is_file() or path.suffix not in readers:
        raise UserError(
            f"{path} is neither the folder of a run nor a file of a network: expected one that ends in "
            f"{', '.join(readers)}"
        )
    return readers[path.suffix](path, asked)


@dataclass(frozen=True)
class _Asked:
    """What replaces settings of the run: settings of the data, a device, data made by hand, a time step."""

    data: Mapping[str, Any]
    device: str | None
    splits: Splits | None
    dt: float | None = None

    def config(self, own: RunConfig) -> RunConfig:
        """Return the configuration of a run with these replacements, checked."""
        data = own.data
        if self.data.get("name", data.name) != data.name:
            default = DataConfig()
            data = replace(data, **{name: getattr(default, name) for name in OF_ONE_DATA_SET})
        changed = replace(own, data=replace(data, **self.data))
        if self.device is not None:
            changed = replace(changed, train=replace(changed.train, device=self.device))  # type: ignore[arg-type]
        check(changed)
        return changed

    def read(self, config: RunConfig, known: about.About | None, path: Path) -> Splits:
        """Read the data, and check that they fit a network that was trained on the data of ``known``.

        Raises:
            UserError: frames of another shape, or another number of classes.
        """
        use_threads(config)
        splits = datasets.read(config.data, self.splits, needed=("test",))
        if known is None:
            return splits
        mine, theirs = (known.shape, known.classes), (splits.shape, len(splits.classes))
        if mine != theirs:
            raise UserError(
                f"the network in {path} expects frames of shape {mine[0]} and {mine[1]} classes, and "
                f"'{config.data.name}' has frames of shape {theirs[0]} and {theirs[1]} classes: choose data "
                "like those that it was trained on"
            )
        return splits


def _of_run(folder: RunFolder, asked: _Asked, *, compact: bool) -> Subject:
    own = folder.read_config()
    config = asked.config(own)
    if not (folder.network.is_file() if compact else folder.has_checkpoint):
        missing, first = ("compact network", "the run") if compact else ("checkpoint", "an epoch")
        raise UserError(
            f"{folder.path} has no {missing} yet: finish {first} with `snnprune train --resume {folder.path}`"
        )
    other = config.data != own.data or asked.splits is not None
    text = about_of(folder.network) if other and folder.network.is_file() else ""
    known = about.parse(text, folder.path) if text else None
    if compact:
        return _compact(folder.network, config, asked.read(config, known, folder.path))
    path, saved, wrong = checkpoint.newest(folder.checkpoints)
    for sentence in wrong:
        say(Console(), f"warning: {sentence}; the checkpoint before it is measured instead", style="yellow")
    splits = asked.read(config, known, folder.path)
    model = build_network(config, splits.shape, len(splits.classes))
    state, pruner = checkpoint.network(saved)
    if pruner is not None and pruner.get("kept"):
        conform(model, state, numbers=numbers_in(pruner["kept"]))  # the network was cut while it trained
    try:
        model.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"the checkpoint {path} does not fit the network in {folder.config}: restore the configuration "
            "that the run was trained with"
        ) from error
    returned_to = (pruner or {}).get("returned_to")
    epoch = int(saved["epoch"] if returned_to is None else returned_to) + 1
    return replace(Subject.of(f"{folder.path}", model, config, splits), epoch=epoch)


def _of_compact(path: Path, asked: _Asked) -> Subject:
    if plan_file.is_one(path):
        return _of_connections(path, asked)
    text, beside = about_of(path), RunFolder(path.parent)
    if beside.network == path and beside.config.is_file():
        # In the folder of its run, whose configuration also holds the folder of the data.
        config = asked.config(beside.read_config())
        known = about.parse(text, path) if text else None  # without this text the data are not checked
    else:
        known = about.parse(text, path)
        config = asked.config(known.config)
    return _compact(path, config, asked.read(config, known, path))


def _of_connections(path: Path, asked: _Asked) -> Subject:
    engine = Engine(plan_file.read(path))
    known = about.parse(engine.plan.about, path)
    config = replace(asked, device="cpu").config(known.config)
    splits = asked.read(config, known, path)
    return Subject(f"{path}", config, splits, torch.device("cpu"), spiking=True, outputs=outputs(engine))


def _compact(path: Path, config: RunConfig, splits: Splits) -> Subject:
    model = load(path, lambda: models.build(config.model, splits.shape, len(splits.classes)))
    return Subject.of(f"{path}", model, config, splits)


def _of_onnx(path: Path, asked: _Asked) -> Subject:
    runner = onnx_file.Runner.of(path)
    known = about.parse(runner.about, path)
    config = replace(asked, device="cpu").config(known.config)
    return Subject(
        f"{path}",
        config,
        asked.read(config, known, path),
        torch.device("cpu"),
        known.spiking,
        lambda encoded: runner(encoded)[0],
        counting=onnx_file.Runner.of(path, counts=True),
    )


def _of_nir(path: Path, asked: _Asked) -> Subject:
    model, text = nir_file.read(path, dt=asked.dt)
    if not text:
        return _of_others(path, asked)
    known = about.parse(text, path)
    config = asked.config(known.config)
    inner = Subject.of(f"{path}", model, config, asked.read(config, known, path))
    return replace(inner, outputs=lambda encoded: inner.outputs(encoded)[0], model=None, imported=model)


def _of_others(path: Path, asked: _Asked) -> Subject:
    """Read a NIR file that another tool wrote, which does not say on which data."""
    if "name" not in asked.data and asked.splits is None:
        raise UserError(
            f"{path} does not say which data its network reads: give --data.name, and --data.time_steps and "
            "the like as it was trained"
        )
    config = asked.config(RunConfig(model=ModelConfig(NIR_MODEL, file=str(path), dt=asked.dt)))
    splits = asked.read(config, None, path)
    return Subject.of(f"{path}", build_network(config, splits.shape, len(splits.classes)), config, splits)
