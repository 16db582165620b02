"""Ranks of torch.distributed: the processes that train together. A single process exchanges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def world_size() -> int:
    """Return how many processes train together; 1 without a process group."""
    group = _group()
    return 1 if group is None else int(group.get_world_size())


def rank() -> int:
    """Return the rank of this process, from 0."""
    group = _group()
    return 0 if group is None else int(group.get_rank())


def is_first() -> bool:
    """Tell whether this is rank 0, which writes the files."""
    return rank() == 0


def summed(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the sum of each tensor over all ranks, bit for bit the same on each. Every rank has to call it.

    Args:
        tensors: the same shapes and dtypes in the same order on every rank. They are not changed. One message
            is sent for each dtype, so many small tensors cost as much as one large tensor.
    """
    if world_size() == 1:
        return list(tensors)
    import torch  # noqa: PLC0415 - slow

    totals: dict[int, Tensor] = {}
    for dtype in dict.fromkeys(t.dtype for t in tensors):
        own = [i for i, t in enumerate(tensors) if t.dtype == dtype]
        flat = _carried(torch.cat([tensors[i].reshape(-1) for i in own]))
        _group().all_reduce(flat)
        parts = flat.split([tensors[i].numel() for i in own])
        totals |= {
            i: part.view(tensors[i].shape).to(tensors[i].device) for i, part in zip(own, parts, strict=True)
        }
    return [totals[i] for i in range(len(tensors))]


def from_first(values: Sequence[float]) -> list[float]:
    """Return the values that rank 0 passed, on every rank."""
    if world_size() == 1 or not values:
        return list(values)
    import torch  # noqa: PLC0415 - slow

    sent = _carried(torch.tensor(list(values), dtype=torch.float64))
    _group().broadcast(sent, 0)
    return [float(value) for value in sent.cpu()]


def agree(fingerprint: int, what: str) -> None:
    """Check that all ranks have the same ``fingerprint`` (of at most 52 bits).

    Raises:
        UserError: they have not. Every rank raises it.
    """
    if world_size() == 1:
        return
    import torch  # noqa: PLC0415 - slow

    ends = _carried(torch.tensor([fingerprint, -fingerprint], dtype=torch.int64))
    _group().all_reduce(ends, torch.distributed.ReduceOp.MAX)
    if int(ends[0]) != -int(ends[1]):
        raise UserError(
            f"the {world_size()} processes that train this network must come to the same {what}, and came to "
            "different ones: train it through DistributedDataParallel, on machines of one kind "
            "(docs/distributed.md)"
        )


def _group() -> Any:
    """Return torch.distributed if there is a process group, None in a single process."""
    from torch import distributed  # noqa: PLC0415 - slow

    return distributed if distributed.is_available() and distributed.is_initialized() else None


def _carried(tensor: Tensor) -> Tensor:
    """Return ``tensor`` on the device that the backend sends from: NCCL sends from GPUs only."""
    return tensor.to("cuda") if _group().get_backend() == "nccl" else tensor
