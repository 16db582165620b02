"""The interface of a data set in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.common.errors import UserError
    from snnprune.config.schema import DataConfig
    from snnprune.data.splits import Splits

Half = Literal["train", "test"]
"""What of a data set may be on disk alone: the samples for training and validation, or those for the test."""

HALVES: tuple[Half, ...] = ("train", "test")


class Source(Protocol):
    """A data set that has a name: one of the registry, or the user's own as "module:attribute".

    Attributes:
        events: whether it holds recordings rather than still images.

    The user's own may be an object, or a class without required arguments.
    """

    events: ClassVar[bool]

    def found(self, root: Path | None) -> Path | None:
        """Return the folder in ``root`` that holds the data set or a half of it, or None.

        This must be fast.
        """

    def load(self, config: DataConfig) -> Splits:
        """Read the data set.

        Raises:
            UserError: it is not there, or cannot be read.
        """


class HalfSource(Source, Protocol):
    """A data set that may be read without its training samples.

    A data set of the user's own may have any of these methods. What measures a network calls `load_test`
    where there is one, and `Source.load` where there is none.
    """

    def load_test(self, config: DataConfig) -> Splits:
        """Read the test set alone. The training and validation sets are empty.

        Classes and shape are those of `Source.load`: they do not depend on what is on disk.

        Raises:
            UserError: as `Source.load`, of the test set.
        """

    def missing(self, root: Path | None) -> UserError:
        """Return the error for a data set of which ``root`` holds nothing."""

    def absent(self, folder: Path, half: Half) -> UserError | None:
        """Return the error for a half that is not in the ``folder`` that `found` returned, else None.

        This must be fast.
        """
