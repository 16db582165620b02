"""The data set `recordings`: a folder of event files that a camera or its tools wrote."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar

from snnprune.common.errors import UserError
from snnprune.data.cache import fingerprint
from snnprune.data.events.framing import asked, framed
from snnprune.data.events.layouts import LAYOUTS, Part, is_laid_out
from snnprune.data.events.listing import listed
from snnprune.data.events.reading import reader
from snnprune.data.folders import root_given
from snnprune.data.source import HALVES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snnprune.config.schema import DataConfig
    from snnprune.data.events.layouts import Listing
    from snnprune.data.splits import Splits


class OwnRecordings:
    """Recordings of the user's own.

    Attributes:
        events: True.
    """

    events: ClassVar[bool] = True

    def found(self, root: Path | None) -> Path | None:
        """Return ``root`` if it holds recordings, else None."""
        return root if root is not None and root.is_dir() and is_laid_out(root) else None

    def missing(self, root: Path | None) -> UserError:
        """Return the error for a folder that holds no recordings."""
        if root is None:
            return UserError(f"recordings need a folder: pass --data.root FOLDER with {LAYOUTS}")
        if not root.is_dir():
            return UserError(f"there is no folder {root}: expected {LAYOUTS}")
        return UserError(f"{root} has no recordings in folders of classes: expected {LAYOUTS}")

    def load(self, config: DataConfig) -> Splits:
        """Read all recordings, or open the cache of an earlier call.

        Raises:
            UserError: no recordings, no part for training or for testing, a damaged table, or a recording
                that cannot be read.
        """
        listing = self._listing(config)
        parts = listing.parts
        for need in HALVES if parts else ():
            if need not in parts:
                raise UserError(
                    f"{listing.folder} has recordings for {' and '.join(parts)} and none for {need}: add "
                    "some, or name no parts (classes directly in the folder, or a table without a column "
                    "split), so that --data.test sets a share aside"
                )
        if parts and config.test is not None:
            warnings.warn(f"data.test is not used: {listing.folder} has a test part of its own", stacklevel=2)
        return self._read(listing, parts or (None,), config)

    def load_test(self, config: DataConfig) -> Splits:
        """Read the recordings for the test alone, where the folder has a part for them.

        Raises:
            UserError: as `load`, but for the part for training.
        """
        listing = self._listing(config)
        if "test" not in listing.parts:
            return self.load(config)
        return self._read(listing, ("test",), config)

    def _listing(self, config: DataConfig) -> Listing:
        root = root_given(config.root)
        if root is None:
            raise self.missing(root)
        listing = listed(root, config)
        if len(listing.classes) < 2:
            raise UserError(
                f"{root} has one class alone, '{listing.classes[0]}', and there is nothing to tell apart: "
                "name the folder that holds the folders of classes (or of parts), or add another class"
            )
        return listing

    def _read(self, listing: Listing, parts: Sequence[Part | None], config: DataConfig) -> Splits:
        from snnprune.data.events.parting import Held, parted  # noqa: PLC0415 - imports torch

        said = asked(config)
        held = []
        for part in parts:
            recordings = listing.of(part)
            key = {
                "data": "recordings",
                "files": fingerprint(listing.folder, [recording.path for recording in recordings]),
                "intervals": [[recording.start, recording.end] for recording in recordings],
                "asked": [said.sensor, said.unit, said.columns, said.stream],
            }
            stored = framed(
                f"{listing.folder.name}-{part or 'all'}",
                recordings,
                lambda: reader(said),
                config,
                key,
                named=True,
            )
            held.append(Held(recordings, stored))
        return parted(held, listing.classes, config)


RECORDINGS = OwnRecordings()
