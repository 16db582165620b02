"""A trained network, from any kind of file, with the data that it is evaluated on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from snnprune.common.seeds import Stream
from snnprune.common.version import __version__
from snnprune.data import Encoder
from snnprune.nn.device import device_of
from snnprune.nn.run_network import reset
from snnprune.nn.scores import scores_of
from snnprune.runs.about import About

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from snnprune.config.schema import RunConfig
    from snnprune.data import Splits
    from snnprune.export import onnx_file


@dataclass(frozen=True)
class Subject:
    """A network to evaluate, and its data.

    Attributes:
        name: description or path of the network, for messages.
        config: of its run, with the requested data.
        splits: these data.
        device: where it runs.
        spiking: whether it has a time axis.
        outputs: from encoded frames [T, B, C, H, W] to [T, B, K], or without time [B, C, H, W] to [B, K].
        model: the network, if `snnprune.nn.models` builds it, else None.
        imported: the torch network that was made from a NIR file, else None.
        counting: for an ONNX file, the runner that counts its operations, else None.
        epoch: the epoch after which it was saved, None if unknown.
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

    @classmethod
    def of(cls, name: str, model: nn.Module, config: RunConfig, splits: Splits) -> Subject:
        """Make a subject of ``model``, in evaluation mode and on the device of the run."""
        device = torch.device(device_of(config))
        model.to(device).eval()

        def outputs(encoded: Tensor) -> Tensor:
            reset(model)
            out: Tensor = model(encoded)
            return out

        return cls(name, config, splits, device, bool(getattr(model, "spiking", True)), outputs, model)

    def encode(self, frames: Tensor, batch: int) -> Tensor:
        """Return a batch of uint8 samples encoded for the network, with the noise of the test."""
        encoder = Encoder(self.config.data, self.config.train.seed, time=self.spiking)
        return encoder(frames.to(self.device), Stream.TEST, batch)

    def scores(self, encoded: Tensor) -> Tensor:
        """Return scores [B, K], as the run was trained on: outputs over time, or logits without time."""
        out = self.outputs(encoded)
        return scores_of(out, self.config.train.over_time) if self.spiking else out

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the encoded test set with its labels, in batches of the run's batch size."""
        for number, (frames, labels) in enumerate(self.splits.test.batches(self.config.train.batch_size)):
            yield self.encode(frames, number), labels

    def answers(self) -> tuple[Tensor, Tensor]:
        """Return the scores [N, K] of all test samples, and their labels [N]; both on the CPU."""
        scores, labels = [], []
        with torch.inference_mode():
            for encoded, wanted in self.batches():
                scores.append(self.scores(encoded).cpu())
                labels.append(wanted)
                if self.counting is not None:
                    self.counting(encoded)
        if self.model is not None:
            reset(self.model)
        return torch.cat(scores), torch.cat(labels)

    def example(self, samples: int = 2) -> Tensor:
        """Return the first test samples, encoded: two by default."""
        frames, _ = self.splits.test.__getitems__(range(min(samples, len(self.splits.test))))
        return self.encode(frames, 0)

    def about(self) -> str:
        """Return the text on the origin of the network that is stored in its files."""
        return About.of(self.config, self.splits, spiking=self.spiking).text()

    def facts(self) -> dict[str, str | int]:
        """Return in words and numbers what the network reads, for whoever has its file and no snnprune."""
        data, (channels, height, width) = self.config.data, self.splits.shape
        if not self.splits.events:
            binning = "the image itself" if data.encoding == "direct" else "spikes drawn by pixel values"
        elif data.bin is not None:
            binning = f"a frame for each {data.bin}"
        else:
            of = {"count": "numbers of events", "time": "spans of time"}.get(data.binning, data.binning)
            binning = f"{data.time_steps} equal {of} of each {data.window or 'recording'}"
        return {
            "time_steps": data.time_steps,
            "binning": binning,
            "frame": f"{channels}x{height}x{width}",
            **({} if data.crop or data.size else {"sensor": data.sensor or f"{width}x{height}"}),
            "classes": json.dumps(self.splits.classes),
            "normalisation": "none: events are counted"
            if self.splits.events
            else "pixels are divided by 255",
            "version": f"snnprune {__version__}",
        }

    def kept(self) -> dict[str, str]:
        """Return what a plan keeps of the run: how outputs become scores, and the origin of the network."""
        return {"over_time": self.config.train.over_time, "about": self.about()}
