"""One sample of the test set, the activity of the trained network for it, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.seeds import Stream
from snnprune.export.readout import is_integrator
from snnprune.network.firing import is_spiking
from snnprune.runs.tensors import AboutExample, Example, is_sound

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from snnprune.data import Splits
    from snnprune.training.task import Task

FRAMES = 10
"""Number of frames that are kept, evenly spaced: a picture shows them side by side. Of sound all are kept."""


def write_example(path: Path, task: Task, splits: Splits) -> None:
    """Evaluate the network on the first sample of the test set, and write its activity to a file.

    `snnprune.runs.tensors.Example` describes the content of the file.

    Args:
        path: of the file.
        task: holds the network as it was trained.
        splits: the data.
    """
    device = next(task.model.parameters()).device
    frames, label = splits.test[0]
    activity: dict[str, list[Tensor]] = {}
    readouts = {name for name, module in task.model.named_modules() if is_integrator(module)}
    handles = [
        module.register_forward_hook(_keep(activity, name, task.spiking))
        for name, module in task.model.named_modules()
        if is_spiking(module) or isinstance(module, torch.nn.ReLU) or name in readouts
    ]
    try:
        with torch.inference_mode():
            scores = task.eval()(task.encode(frames[None].to(device), Stream.TEST, 0))[0].cpu()
    finally:
        for handle in handles:
            handle.remove()
        task.reset()
    if not splits.events:
        frames = frames[None]
    many = min(len(frames) if is_sound(frames.shape) else FRAMES, len(frames))
    steps = torch.arange(many) * len(frames) // many
    about = AboutExample(
        classes=[str(name) for name in splits.classes],
        label=int(label),
        answer=int(scores.argmax()),
        neurons=[name for name in activity if name not in readouts],
        spiking=task.spiking,
        events=splits.events,
        time_steps=len(frames) if splits.events else task.run_config.data.time_steps,
        readout=next((name for name in activity if name in readouts), None),
    )
    tensors = {"frames": frames[steps], "steps": steps, "scores": scores.float()}
    tensors |= {f"activity/{name}": torch.cat(steps) for name, steps in activity.items()}
    Example(about, {name: tensor.contiguous().numpy() for name, tensor in tensors.items()}).write(path)


def _keep(activity: dict[str, list[Tensor]], name: str, spiking: bool) -> Any:
    """Return a hook that adds the mean over space of a layer's output, [T, 1, C, ...] or [1, C, ...].

    Neurons of a recurrent layer are called once a step.
    """

    def hook(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        own = output[:, 0] if spiking and getattr(module, "step_mode", "m") == "m" else output
        own = own.flatten(2).mean(2) if own.ndim > 2 else own
        activity.setdefault(name, []).append(own.float().cpu())

    return hook
