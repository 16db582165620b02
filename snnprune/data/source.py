"""What a data set has to offer to stand in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.config.schema import DataConfig
    from snnprune.data.splits import Splits


class Source(Protocol):
    """A data set that a name stands for: one of the registry, or "module:attribute" of the user's own.

    Attributes:
        events: it holds recordings, rather than still images.

    The user's own may be an object, or a class that is made without arguments.
    """

    events: ClassVar[bool]

    def found(self, root: Path | None) -> Path | None:
        """Return the folder that holds the data set when looked for in ``root``, or None. Cheap."""

    def load(self, config: DataConfig) -> Splits:
        """Read the data set.

        Raises:
            UserError: it is not there, or cannot be read.
        """
