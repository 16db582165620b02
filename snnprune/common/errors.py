"""What is said to a user whose input cannot be used."""

from __future__ import annotations

import errno
import re


class UserError(Exception):
    """Input that a person can mend: one sentence on what was expected, what came and what to do.

    The command line prints the sentence and ends with exit code 2; a library user may catch it.

    Examples:
        >>> import snnprune
        >>> try:
        ...     snnprune.Pruner(None, None, "dpab", epochs=3)
        ... except snnprune.UserError as error:
        ...     print(error)
        there is no method called 'dpab': did you mean 'dpap'?
    """


class CompactionError(UserError, ValueError):
    """A network that cannot be made smaller, or not so: which population or layer, why, and what to do.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> masks = snnprune.Masks(model, snnprune.discover(model, x))
        >>> stranger = torch.optim.SGD(nn.Linear(4, 8).parameters(), lr=0.1)
        >>> try:
        ...     snnprune.compact(model, masks, inplace=True, optimizer=stranger)
        ... except snnprune.CompactionError as error:
        ...     print(error)
        this SGD holds no parameter of the network [...]
    """


class MemoryFullError(UserError):
    """Memory that is full: what to lower. No file is damaged by it, and no network wrong.

    Examples:
        >>> import snnprune
        >>> try:
        ...     raise snnprune.MemoryFullError("memory is full: lower train.batch_size")
        ... except snnprune.UserError as error:
        ...     print(error)
        memory is full: lower train.batch_size
    """


_MEMORY = re.compile(
    r"out of memory|(can't|cannot|not|failed to) allocate memory|not enough memory|alloc_failed|bad_alloc",
    re.IGNORECASE,
)
"""What torch and the libraries below it say, mostly in a RuntimeError."""


def memory_full(error: BaseException) -> str | None:
    """Return in one line how memory was found full, None where ``error`` is of something else."""
    told = isinstance(error, RuntimeError | OSError) and _MEMORY.search(str(error)) is not None
    full = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    return (in_one_line(error) or type(error).__name__) if told or full else None


def first_line(error: BaseException) -> str:
    """Return the first line of what another library says, to be put into a sentence."""
    return str(error).strip().partition("\n")[0]


def in_one_line(error: BaseException) -> str:
    """Return what another library says of a file that anybody may have written: at most 200 letters."""
    return " ".join(str(error).split())[:200]
