"""The interface of a data set in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.config.schema import DataConfig
    from snnprune.data.splits import Splits


class Source(Protocol):
    """A data set that has a name: one of the registry, or the user's own as "module:attribute".

    Attributes:
        events: whether it holds recordings rather than still images.

    The user's own may be an object, or a class without required arguments.
    """

    events: ClassVar[bool]

    def found(self, root: Path | None) -> Path | None:
        """Return the folder in ``root`` that holds the data set, or None. This must be fast."""

    def load(self, config: DataConfig) -> Splits:
        """Read the data set.

        Raises:
            UserError: it is not there, or cannot be read.
        """
