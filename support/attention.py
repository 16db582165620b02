"""Spiking networks with attention, as people write it: separate or fused queries, keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from spikingjelly.activation_based import layer, neuron, surrogate
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


def spiking() -> neuron.LIFNode:
    return neuron.LIFNode(step_mode="m", v_threshold=0.5, surrogate_function=surrogate.ATan())


class Normed(nn.Sequential):
    """A linear layer with a batch norm over [..., C]."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(nn.Linear(inside, outside), nn.BatchNorm1d(outside))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self[0](x)
        normed: Tensor = self[1](y.flatten(0, -2))
        return normed.view(y.shape)


class Separate(nn.Module):
    """Spiking self-attention (Zhou et al., ICLR 2023): a layer each for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.scale = heads, 8.0
        self.q, self.k, self.v = (Normed(width, width) for _ in range(3))
        self.q_lif, self.k_lif, self.v_lif = spiking(), spiking(), spiking()
        self.attn_lif = spiking()
        self.proj, self.proj_lif = Normed(width, width), spiking()

    def heads(self, x: Tensor) -> Tensor:
        """Return [T, B, heads, N, channels]."""
        return x.reshape(*x.shape[:3], self.num_heads, -1).transpose(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        q = self.heads(self.q_lif(self.q(x)))
        k = self.heads(self.k_lif(self.k(x)))
        v = self.heads(self.v_lif(self.v(x)))
        y = self.attn_lif((q @ k.transpose(-2, -1) @ v) * self.scale)
        joined: Tensor = self.proj_lif(self.proj(y.transpose(2, 3).flatten(3)))
        return x + joined


class Fused(nn.Module):
    """One layer for all three, taken apart by numbers, with a softmax over positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.n_embd, self.n_head = width, heads
        self.qkv, self.lif = Normed(width, 3 * width), spiking()
        self.proj, self.proj_lif = Normed(width, width), spiking()

    def forward(self, x: Tensor) -> Tensor:
        steps, samples, positions, _ = x.shape
        shape = steps, samples, positions, self.n_head, self.n_embd // self.n_head
        parts = self.lif(self.qkv(x)).split(self.n_embd, dim=-1)
        q, k, v = (part.view(shape).transpose(2, 3) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, scale=0.5)
        y = y.transpose(2, 3).contiguous().view(steps, samples, positions, self.n_embd)
        joined: Tensor = self.proj_lif(self.proj(y))
        return x + joined


class Transformer(nn.Module):
    """Attention blocks over positions [T, B, N, C], and a readout of their mean."""

    def __init__(self, *blocks: nn.Module, inside: int = 6, width: int = 12) -> None:
        super().__init__()
        self.embed, self.lif = Normed(inside, width), spiking()
        self.blocks = nn.Sequential(*blocks)
        self.head = layer.Linear(width, 4, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.blocks(self.lif(self.embed(x))))
        return scores.mean(2)


def transformer() -> nn.Module:
    return Transformer(Separate(12, 3), Fused(12, 4))
