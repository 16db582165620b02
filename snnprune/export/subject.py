"""A trained network in any of its files, ready to answer: a run, a compact network, an ONNX or NIR export."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from snnprune.common.console import say
from snnprune.common.errors import UserError
from snnprune.common.seeds import Stream, generator
from snnprune.config.check import check
from snnprune.data import encode
from snnprune.export import connections, load, nir_file, onnx_file
from snnprune.export.compact import about_of
from snnprune.network.duplicate import reset_states
from snnprune.nn import models
from snnprune.pruning.compaction.shapes import conform
from snnprune.runs import about, checkpoint
from snnprune.runs.folder import RunFolder
from snnprune.training import assembly

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from snnprune.config.schema import RunConfig
    from snnprune.data import Splits


@dataclass(frozen=True)
class Subject:
    """A network that answers.

    Attributes:
        name: what it is and where it lies, for people.
        config: of its run, with the data that were asked for.
        splits: these data.
        device: where it runs.
        spiking: whether it has a time axis.
        outputs: from encoded frames [T, B, C, H, W] to [T, B, K], or without time [B, C, H, W] to [B, K].
        model: the network, where it is one that `snnprune.nn.models` builds, else None.
        imported: the network, where another file than torch's was made into one of torch's, else None.
        counting: the network of an ONNX file as it counts its operations, else None.
        epoch: after which it was saved, where that is known.
    """

    name: str
    config: RunConfig
    splits: Splits
    device: torch.device
    spiking: bool
    outputs: Callable[[Tensor], Tensor]
    model: nn.Module | None = None
    imported: nn.Module | None = None
    counting: onnx_file.Runner | None = None
    epoch: int | None = None

    def encode(self, frames: Tensor, batch: int) -> Tensor:
        """Return a batch of uint8 samples as the network reads it, with the noise that testing gives it."""
        noise = generator(self.device, self.config.train.seed, Stream.TEST, batch)
        return encode(frames.to(self.device), self.config.data, noise, time=self.spiking)

    def scores(self, encoded: Tensor) -> Tensor:
        """Return output rates, or logits without time: [B, K]."""
        out = self.outputs(encoded)
        return out.mean(0) if self.spiking else out

    def example(self, samples: int = 2) -> Tensor:
        """Return the first test samples, encoded."""
        frames, _ = self.splits.test.__getitems__(range(min(samples, len(self.splits.test))))
        return self.encode(frames, 0)

    def about(self) -> str:
        """Return what a file of this network is to say of where it comes from."""
        return about.About.of(self.config, self.splits, spiking=self.spiking).text()


def find(path: Path, data: Mapping[str, Any], device: str | None = None, *, compact: bool = False) -> Subject:
    """Read the network at ``path`` and the data to show it.

    Args:
        path: folder of a run, or a file that ends in .safetensors, .onnx or .nir.
        data: settings of `DataConfig` in place of the run's own.
        device: in place of the run's own.
        compact: of a run the compact network, rather than the one that was trained.

    Raises:
        UserError: no such file, or not of this kind; data that cannot be read or do not fit the network.
    """
    if path.is_dir():
        return _of_run(RunFolder(path), data, device, compact=compact)
    readers = {".safetensors": _of_compact, ".onnx": _of_onnx, ".nir": _of_nir}
    if not path.is_file() or path.suffix not in readers:
        raise UserError(
            f"{path} is neither the folder of a run nor a file of a network: expected one that ends in "
            f"{', '.join(readers)}"
        )
    return readers[path.suffix](path, data, device)


def _of_run(folder: RunFolder, data: Mapping[str, Any], device: str | None, *, compact: bool) -> Subject:
    own = folder.read_config()
    config = _changed(own, data, device)
    if compact:
        if not folder.network.is_file():
            raise UserError(
                f"{folder.path} has no compact network yet: finish the run with `snnprune train --resume "
                f"{folder.path}`"
            )
        return _compact(folder.network, config, _splits(folder, own, config))
    if not folder.has_checkpoint:
        raise UserError(
            f"{folder.path} has no checkpoint yet: finish an epoch with `snnprune train --resume "
            f"{folder.path}`"
        )
    path, saved, wrong = checkpoint.newest(folder.checkpoints)
    for sentence in wrong:
        say(Console(), f"warning: {sentence}; the one before it is measured", style="yellow")
    splits = _splits(folder, own, config)
    task = assembly.task(config, splits)
    pruners = [state["pruner"] for state in saved.get("callbacks", {}).values() if "pruner" in state]
    if any(pruner.get("kept") for pruner in pruners):
        conform(task, saved["state_dict"])  # the network was cut while it trained
    returned_to = next((pruner["returned_to"] for pruner in pruners if "returned_to" in pruner), None)
    try:
        task.load_state_dict(saved["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"the checkpoint {path} is not one of the network in {folder.config}: it was changed since"
        ) from error
    epoch = int(saved["epoch"] if returned_to is None else returned_to) + 1
    return replace(_of_torch(f"{folder.path}", task.model, config, splits), epoch=epoch)


def _of_compact(path: Path, data: Mapping[str, Any], device: str | None) -> Subject:
    connections.refuse(path)
    text, beside = about_of(path), RunFolder(path.parent)
    if beside.network == path and beside.config.is_file():
        # In its run's folder, whose configuration knows as well where the data lie.
        config = _changed(beside.read_config(), data, device)
        return _compact(path, config, _noted(config, text, path))
    known = about.parse(text, path)
    config = _changed(known.config, data, device)
    return _compact(path, config, _fitting(config, known, path))


def _compact(path: Path, config: RunConfig, splits: Splits) -> Subject:
    model = load(path, lambda: models.build(config.model, splits.shape, len(splits.classes)))
    return _of_torch(f"{path}", model, config, splits)


def _of_torch(name: str, model: nn.Module, config: RunConfig, splits: Splits) -> Subject:
    device = torch.device(assembly.device(config))
    model.to(device).eval()

    def outputs(encoded: Tensor) -> Tensor:
        reset_states(model)
        out: Tensor = model(encoded)
        return out

    return Subject(name, config, splits, device, bool(getattr(model, "spiking", True)), outputs, model)


def _of_onnx(path: Path, data: Mapping[str, Any], _device: str | None) -> Subject:
    runner = onnx_file.Runner.of(path)
    known = about.parse(runner.about, path)
    config = _changed(known.config, data, "cpu")
    splits = _fitting(config, known, path)
    return Subject(
        f"{path}",
        config,
        splits,
        torch.device("cpu"),
        known.spiking,
        lambda encoded: runner(encoded)[0],
        counting=onnx_file.Runner.of(path, counts=True),
    )


def _of_nir(path: Path, data: Mapping[str, Any], device: str | None) -> Subject:
    model, text = nir_file.read(path)
    known = about.parse(text, path)
    config = _changed(known.config, data, device)
    splits = _fitting(config, known, path)
    inner = _of_torch(f"{path}", model, config, splits)
    return replace(inner, outputs=lambda encoded: inner.outputs(encoded)[0], model=None, imported=model)


def _changed(config: RunConfig, data: Mapping[str, Any], device: str | None) -> RunConfig:
    """Return ``config`` with other data and another device, checked."""
    own = config.data
    if data.get("name", own.name) != own.name:
        own = replace(own, samples=None, classes=None)  # they were chosen of the data that it learnt
    changed = replace(config, data=replace(own, **data))
    if device is not None:
        changed = replace(changed, train=replace(changed.train, device=device))  # type: ignore[arg-type]
    check(changed)
    return changed


def _splits(folder: RunFolder, own: RunConfig, config: RunConfig) -> Splits:
    """Read the data of ``config``; where a run learnt others, look whether its network can."""
    other = config.data != own.data and folder.network.is_file()
    return _noted(config, about_of(folder.network) if other else "", folder.path)


def _noted(config: RunConfig, text: str, path: Path) -> Splits:
    """Read the data, and look whether a network can that notes what it learnt; without a note, trust it."""
    return _fitting(config, about.parse(text, path), path) if text else assembly.splits(config)


def _fitting(config: RunConfig, known: about.About, path: Path) -> Splits:
    """Read the data, and look whether the network can.

    Raises:
        UserError: frames of another shape, or another number of classes.
    """
    splits = assembly.splits(config)
    mine, theirs = (known.shape, known.classes), (splits.shape, len(splits.classes))
    if mine != theirs:
        raise UserError(
            f"{path} reads frames of {mine[0]} and tells {mine[1]} classes apart; '{config.data.name}' has "
            f"frames of {theirs[0]} and {theirs[1]} classes"
        )
    return splits
