"""What a data set has to offer to stand in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.config.schema import DataConfig
    from snnprune.data.splits import Splits


MOST_STEPS = 10_000
"""Time steps: with so many a recording of N-MNIST has 23 MB of frames."""


class Source(Protocol):
    """A data set that a name stands for.

    Attributes:
        events: it holds recordings, rather than still images.
    """

    events: ClassVar[bool]

    def found(self, root: Path | None) -> Path | None:
        """Return the folder that holds the data set when looked for in ``root``, or None. Cheap."""

    def load(self, config: DataConfig) -> Splits:
        """Read the data set.

        Raises:
            UserError: it is not there, or cannot be read.
        """


def check(config: DataConfig) -> None:
    """Refuse settings that no data set can be read with.

    Raises:
        UserError: a number of time steps or samples out of range, or a validation share outside [0, 1).
    """
    if not 1 <= config.time_steps <= MOST_STEPS:
        raise UserError(
            f"data.time_steps must be from 1 to {MOST_STEPS}, not {config.time_steps}: set it to 10, say"
        )
    if config.samples is not None and config.samples < 1:
        raise UserError(f"data.samples must be at least 1, not {config.samples}")
    if not 0 <= config.validation < 1:
        raise UserError(
            "data.validation is a share of the training set, from 0 up to but not 1, and "
            f"{config.validation} is none: set it to 0.1, say"
        )
