"""The origin of a network, as its file holds it, so that the network can be run again on data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from snnprune.common import document
from snnprune.common.errors import UserError, in_one_line
from snnprune.config.reading import as_config

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.config.schema import RunConfig
    from snnprune.data import Splits


@dataclass(frozen=True)
class About:
    """The origin of a network.

    Attributes:
        config: the configuration of its run, without folders.
        shape: polarities (or colour channels), height and width of a frame.
        classes: the number of classes.
        spiking: whether it has a time axis.
    """

    config: RunConfig
    shape: tuple[int, int, int]
    classes: int
    spiking: bool

    @classmethod
    def of(cls, config: RunConfig, splits: Splits, *, spiking: bool) -> About:
        """Describe a network that was trained as ``config`` says on ``splits``."""
        data = replace(config.data, root=None, cache=None)
        model, train = replace(config.model, file=None), replace(config.train, init=None)
        alone = replace(config, data=data, model=model, train=train)
        return cls(alone, splits.shape, len(splits.classes), spiking)

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))


def parse(text: str, path: Path) -> About:
    """Read what `About.text` wrote.

    Args:
        text: text from a file of an untrusted source.
        path: the file, for the message.

    Raises:
        UserError: the text is not what `About.text` writes.
    """
    if not text:
        raise UserError(
            f"{path} does not say which data its network reads: expected a file of a run or of `snnprune "
            "export`; give the run that it comes from"
        )
    try:
        read: Any = document.parse_json(text)
        shape = tuple(int(size) for size in read["shape"])
        classes = int(read["classes"])
        if len(shape) != 3 or not all(1 <= size <= 2**16 for size in (*shape, classes)):
            raise ValueError(f"frames of {shape} and {classes} classes")  # noqa: TRY301 - said as any other
        return About(as_config(read["config"], "its configuration"), shape, classes, bool(read["spiking"]))
    except (ValueError, KeyError, TypeError, OverflowError, UserError) as error:
        reason = in_one_line(error)
        raise UserError(
            f"{path} does not say which data its network reads ({reason}): expected a file that `snnprune "
            "export` wrote"
        ) from error
