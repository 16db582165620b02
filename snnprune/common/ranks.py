"""The processes that train together, as torch.distributed knows them; in a single one nothing here acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def world_size() -> int:
    """Return how many processes train together; 1 where no group has been made."""
    group = _group()
    return 1 if group is None else int(group.get_world_size())


def rank() -> int:
    """Return which of them this is, from 0."""
    group = _group()
    return 0 if group is None else int(group.get_rank())


def is_first() -> bool:
    """Tell whether this is the one that writes files."""
    return rank() == 0


def summed(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the sums of each tensor over all processes, the same bits in each; every process has to call it.

    Args:
        tensors: of the same shapes and dtypes everywhere, in the same order; they stay as they are. One
            message is sent per dtype, so many small tensors cost what one costs.
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
    """Return what the first process passed, in every process."""
    if world_size() == 1 or not values:
        return list(values)
    import torch  # noqa: PLC0415 - slow

    sent = _carried(torch.tensor(list(values), dtype=torch.float64))
    _group().broadcast(sent, 0)
    return [float(value) for value in sent.cpu()]


def agree(fingerprint: int, what: str) -> None:
    """Look whether all processes came to the same ``fingerprint`` (of at most 52 bits).

    Raises:
        UserError: they did not, in every process.
    """
    if world_size() == 1:
        return
    import torch  # noqa: PLC0415 - slow

    ends = _carried(torch.tensor([fingerprint, -fingerprint], dtype=torch.int64))
    _group().all_reduce(ends, torch.distributed.ReduceOp.MAX)
    if int(ends[0]) != -int(ends[1]):
        raise UserError(
            f"the {world_size()} processes that train this network came to different {what}, and theirs must "
            "be one network: train it through DistributedDataParallel, on machines of one kind "
            "(docs/distributed.md)"
        )


def _group() -> Any:
    """Return torch.distributed where a process group has been made, None where this process is alone."""
    from torch import distributed  # noqa: PLC0415 - slow

    return distributed if distributed.is_available() and distributed.is_initialized() else None


def _carried(tensor: Tensor) -> Tensor:
    """Return ``tensor`` where the group's messages start: NCCL carries those of GPUs alone."""
    return tensor.to("cuda") if _group().get_backend() == "nccl" else tensor
