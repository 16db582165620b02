"""Turn uint8 samples into the float input of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from snnprune.common.seeds import Stream, generator

if TYPE_CHECKING:
    from snnprune.config.schema import DataConfig


def encode(
    x: torch.Tensor, config: DataConfig, generator: torch.Generator | None = None, *, time: bool = True
) -> torch.Tensor:
    """Turn a batch of samples into the input of a network, on the device of the batch.

    Recordings: the counts of events, time first. Images, direct encoding: x / 255, the same at every step.
    Images, Poisson encoding: a spike with probability x / 255, drawn anew at every step.

    Args:
        x: uint8 [B, T, P, H, W] (recordings) or [B, C, H, W] (images).
        config: `time_steps` and `encoding` apply to images only; recordings are frames already.
        generator: of the Poisson spikes; one on the CPU gives the same spikes for any device of ``x``.
        time: False for a network without time: images [B, C, H, W], recordings as the mean of their T frames.

    Returns:
        float32 [T, B, C, H, W], for direct encoding an expanded view; or [B, C, H, W] without time.
    """
    if x.ndim == 5:
        if not time:
            # The mean, not the sum: otherwise T would set the scale of an ANN's input. With the sums of
            # N-MNIST, conv-ann begins with a loss of 6, while guessing has a loss of 2.3.
            return x.to(torch.float32).mean(dim=1)
        return x.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)
    image = x.to(torch.float32).div_(255)
    if not time:
        return image
    if config.encoding == "direct":
        return image.unsqueeze(0).expand(config.time_steps, *image.shape)
    home = x.device if generator is None else generator.device
    noise = torch.rand((config.time_steps, *image.shape), generator=generator, device=home)
    return (noise.to(x.device) < image).to(torch.float32)


@dataclass(frozen=True)
class Encoder:
    """Encodes the batches of a run. Seed and position of a batch determine its noise.

    Attributes:
        config: as in `encode`.
        seed: of the run.
        time: as in `encode`.
    """

    config: DataConfig
    seed: int
    time: bool

    def __call__(self, x: torch.Tensor, stream: Stream, *at: int) -> torch.Tensor:
        """Encode a batch as `encode` does.

        Args:
            x: uint8 [B, T, P, H, W] or [B, C, H, W].
            stream: the purpose of the batch.
            at: its position, such as (epoch, batch); equal positions have equal noise.

        Returns:
            float32 [T, B, C, H, W], or [B, C, H, W] without time, on the device of ``x``.
        """
        return encode(x, self.config, generator(x.device, self.seed, stream, *at), time=self.time)
