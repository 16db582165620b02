"""Errors for input that cannot be used."""

from __future__ import annotations

import errno
import re


class UserError(Exception):
    """Input that the user can correct.

    The message is one sentence: what was expected, what came and what to do. The command line prints it and
    ends with exit code 2. A program may catch the error.

    Examples:
        >>> import snnprune
        >>> try:
        ...     snnprune.Pruner(None, None, "dpab", epochs=3)
        ... except snnprune.UserError as error:
        ...     print(error)
        there is no method called 'dpab': did you mean 'dpap'?
    """


class CompactionError(UserError, ValueError):
    """A network that cannot be cut, or not as asked.

    The message names the population or layer, the reason, and what to do.

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
    """Memory that is full.

    The message says what to lower. Files and networks stay whole.

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
"""Messages of torch and the libraries below it, mostly in a RuntimeError."""


def memory_full(error: BaseException) -> str | None:
    """Return the message of ``error`` in one line if it says that memory is full, else None."""
    told = isinstance(error, RuntimeError | OSError) and _MEMORY.search(str(error)) is not None
    full = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    return (in_one_line(error) or type(error).__name__) if told or full else None


def with_article(name: str) -> str:
    """Return the name of a class behind "a" or "an", for use in a sentence."""
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


def first_line(error: BaseException) -> str:
    """Return the first line of another library's message, for use in a sentence."""
    return str(error).strip().partition("\n")[0]


def in_one_line(error: BaseException) -> str:
    """Return another library's message in one line of at most 200 characters, for use in a sentence."""
    return " ".join(str(error).split())[:200]
