"""synthetic-spoken-digits: a stand-in for SHD that comes with the package. Nobody ever said these words.

Ten digits, forwards and backwards, by 25 synthetic speakers, four times each: 20 classes, as SHD has them. A
word and the same word backwards have the same sounds and differ in their order alone, so that an answer needs
memory: the number of events of each channel hardly tells them apart. The words are those of `speech`, and the
spikes those of `cochlea`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from snnprune.data.cochlea import Cochlea, spikes
from snnprune.data.events.framing import framed
from snnprune.data.events.layouts import Recording
from snnprune.data.events.stream import Stream
from snnprune.data.speech import WORDS, Speaker, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from snnprune.config.schema import DataConfig
    from snnprune.data.events.layouts import Part
    from snnprune.data.splits import Splits

CLASSES = tuple(f"{word}{how}" for how in ("", " backwards") for word in WORDS)

CHUNK = 50
"""Words at a time: few enough that a step's arrays stay in the processor's cache."""


@dataclass(frozen=True)
class SyntheticSpokenDigits:
    """The data set as a `snnprune.data.source.Source`.

    Attributes:
        cochlea: its constants.
        milliseconds: length of a recording.
        speakers: number of speakers for training, validation and test; nobody is in two of these.
        times: how often each speaker says each word.
        background: spikes per channel and second without a cause.
        seed: of speakers, words and background.
    """

    cochlea: Cochlea = field(default_factory=Cochlea)
    milliseconds: int = 700
    speakers: tuple[int, int, int] = (15, 5, 5)
    times: int = 4
    background: float = 10.0
    seed: int = 0
    events: ClassVar[bool] = True

    def found(self, root: Path | None) -> Path | None:  # noqa: ARG002
        """Return the folder of this file, wherever ``root`` is: nothing is read."""
        return Path(__file__).parent

    def load(self, config: DataConfig) -> Splits:
        """Make and bin all recordings, or open the cache of an earlier call."""
        from snnprune.data.events.parting import Held, parted  # noqa: PLC0415 - imports torch

        single = replace(config, polarity="on")
        recordings = list(self.recordings())
        key = {"data": "synthetic-spoken-digits", "made": asdict(self), "words": WORDS}
        stored = framed("synthetic-spoken-digits", recordings, self._reader, single, key)
        return parted([Held(recordings, stored)], CLASSES, single)

    def recordings(self) -> Iterator[Recording]:
        """Yield one entry for each recording: its class, and its speaker and part."""
        parts: tuple[Part, ...] = ("train", "validation", "test")
        whose = [part for part, many in zip(parts, self.speakers, strict=True) for _ in range(many)]
        for (speaker, part), label, time in product(enumerate(whose), range(len(CLASSES)), range(self.times)):
            name = Path(f"{CLASSES[label]} by speaker {speaker}, {time}")
            yield Recording(name, label, group=f"{part} {speaker}", part=part)

    def _reader(self) -> Callable[[Recording], Stream]:
        streams = self.streams()
        return lambda _: next(streams)

    def streams(self) -> Iterator[Stream]:
        """Yield the events of each recording, in the order of `recordings`."""
        voices = [
            Speaker.drawn(np.random.default_rng([self.seed, number])) for number in range(sum(self.speakers))
        ]
        said = [
            Utterance(word, voice, backwards)
            for voice, backwards, word, _ in product(voices, (False, True), WORDS, range(self.times))
        ]
        for first in range(0, len(said), CHUNK):
            yield from self._heard(said[first : first + CHUNK], first)

    def _heard(self, said: list[Utterance], first: int) -> Iterator[Stream]:
        """Yield the events of some words; the ``first`` of them is that of the data set."""
        dice = [np.random.default_rng([self.seed, 1, first + i]) for i in range(len(said))]
        power = [u.power(self.cochlea, self.milliseconds, d) for u, d in zip(said, dice, strict=True)]
        start = np.stack([d.random(self.cochlea.channels, np.float32) for d in dice])
        fired = spikes(np.stack(power, axis=1), start, self.cochlea)
        for i, own in enumerate(dice):
            yield self._stream(fired[:, i], own)

    def _stream(self, fired: npt.NDArray[np.bool_], dice: np.random.Generator) -> Stream:
        """Return the spikes [T, C] of a recording as events, with background, at times within their step."""
        chance = self.background * self.cochlea.step
        step, channel = np.nonzero(fired | (dice.random(fired.shape, np.float32) < chance))
        length = round(self.cochlea.step * 1e6)
        t = step * length + dice.integers(0, length, len(step))
        order = np.argsort(t, kind="stable")
        x = channel[order].astype(np.uint16)
        rows, on = np.zeros(len(x), np.uint16), np.ones(len(x), np.bool_)
        t = t[order].astype(np.int64)
        return Stream(t - t[:1].sum(), x, rows, on, (self.cochlea.channels, 1))


SYNTHETIC_SPOKEN_DIGITS = SyntheticSpokenDigits()
