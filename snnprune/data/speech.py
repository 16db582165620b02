"""Words as the paths of formants: synthetic speech, of which no sound is made.

A vowel is heard by the resonances of the vocal tract, the formants. A word is a list of sounds, each with
three formants, and with noise where air hisses; between sounds the formants glide. What a place of the
cochlea at frequency f gets is

    P(f) = sum_k a_k L(f, F_k, 80) (1 + cos 2 pi f0 t) + n L(f, F_n, w_n),

    L(f, F, w) = 1 / (1 + (2 (f - F) / (w + ERB(f)))^2)^2

with F_k the formants, a_k their power, f0 the pitch, F_n, w_n and n the middle, width and power of the noise,
and ERB(f) the bandwidth of the place. Formants of vowels are the means of men in Peterson and Barney (JASA
24:175, 1952). Those of the other sounds, noise, lengths and ranges of speakers are round numbers of our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from snnprune.data.cochlea import Cochlea


FORMANT = 80.0
"""Width of a formant in hertz."""

COARSE = 4
"""Steps for which the resonances stay as they are: formants glide slowly."""

GLIDE = 0.03
"""Seconds in which formants and powers glide from one sound to the next."""


@dataclass(frozen=True)
class Sound:
    """A sound of speech.

    Attributes:
        formants: F_1 to F_3 in hertz.
        voice: power of the first formant; each further one has half of it.
        noise: n, power of the noise.
        middle: F_n in hertz.
        width: w_n in hertz.
        length: in seconds.
    """

    formants: tuple[float, float, float]
    voice: float = 1.0
    noise: float = 0.0
    middle: float = 4000.0
    width: float = 2000.0
    length: float = 0.09


SOUNDS: dict[str, Sound] = {
    "i": Sound((270, 2290, 3010)),
    "I": Sound((390, 1990, 2550)),
    "E": Sound((530, 1840, 2480)),
    "A": Sound((730, 1090, 2440)),
    "O": Sound((570, 840, 2410)),
    "U": Sound((440, 1020, 2240)),
    "u": Sound((300, 870, 2240)),
    "V": Sound((640, 1190, 2390)),
    "w": Sound((300, 700, 2200), voice=0.4, length=0.06),
    "r": Sound((320, 1100, 1500), voice=0.5, length=0.06),
    "n": Sound((250, 1500, 2500), voice=0.3, length=0.07),
    "v": Sound((280, 1100, 2300), voice=0.2, noise=0.02, length=0.06),
    "z": Sound((280, 1700, 2500), voice=0.2, noise=0.15, middle=5000, length=0.08),
    "s": Sound((280, 1700, 2500), voice=0.0, noise=0.4, middle=5500, length=0.09),
    "f": Sound((280, 1100, 2300), voice=0.0, noise=0.04, middle=3500, width=5000, length=0.08),
    "T": Sound((280, 1400, 2500), voice=0.0, noise=0.04, middle=4500, width=4000, length=0.07),
    "t": Sound((300, 1700, 2600), voice=0.0, noise=0.3, middle=4500, width=3000, length=0.03),
    "k": Sound((300, 1800, 2400), voice=0.0, noise=0.3, middle=1900, width=800, length=0.03),
    "-": Sound((300, 1500, 2500), voice=0.0, length=0.04),
}
"""Sounds by a letter; "-" is the closed mouth before a t or a k."""

WORDS: dict[str, str] = {
    "zero": "zIrOU",
    "one": "wVn",
    "two": "-tuu",
    "three": "Trii",
    "four": "fOOr",
    "five": "fAIv",
    "six": "sI-ks",
    "seven": "sEvVn",
    "eight": "EI-t",
    "nine": "nAIn",
}
"""The digits, in the letters of `SOUNDS`."""


@dataclass(frozen=True)
class Speaker:
    """How a voice differs from the mean.

    Attributes:
        tract: factor of all formants: a short vocal tract has high ones.
        pitch: f0 in hertz.
        pace: factor of all lengths.
    """

    tract: float
    pitch: float
    pace: float

    @classmethod
    def drawn(cls, dice: np.random.Generator) -> Speaker:
        """Draw a speaker: tracts of men, women and children, 0.9 to 1.25; pitch rises with them."""
        tract = float(dice.uniform(0.9, 1.25))
        pitch = 110.0 * (tract / 0.9) ** 2 * float(dice.uniform(0.85, 1.15))
        return cls(tract, pitch, float(dice.uniform(0.7, 1.3)))


@dataclass(frozen=True)
class Utterance:
    """A word once said.

    Attributes:
        word: a key of `WORDS`.
        speaker: who says it.
        backwards: whether its sounds come in the opposite order.
    """

    word: str
    speaker: Speaker
    backwards: bool = False

    def power(self, cochlea: Cochlea, steps: int, dice: np.random.Generator) -> npt.NDArray[np.float32]:
        """Return the power at each place of the cochlea, float32 [steps, C].

        Each time a word is said, its sounds differ by some 25 % in length and 8 % in formants, the whole word
        by some 40 % in power, and it begins within the first 150 ms. What lasts longer than ``steps`` is cut.
        """
        path = self._path(cochlea, steps, dice)
        slow = path[::COARSE]
        t = np.arange(steps) * cochlea.step + dice.uniform(0, 1 / self.speaker.pitch)
        loudness = dice.normal(1, 0.2) ** 2
        voice = loudness * path[:, 3] * (1 + np.cos(2 * np.pi * self.speaker.pitch * t))
        tone = sum(_near(cochlea, slow[:, k], FORMANT) / 2**k for k in range(3))
        hiss = slow[:, 4, None] * _near(cochlea, slow[:, 5], slow[:, 6])
        tones, hisses = (np.repeat(part, COARSE, axis=0)[:steps] for part in (tone, hiss))
        heard: npt.NDArray[np.float32] = (voice[:, None] * tones + loudness * hisses).astype(np.float32)
        return heard

    def _path(self, cochlea: Cochlea, steps: int, dice: np.random.Generator) -> npt.NDArray[np.float64]:
        """Return [steps, 7]: formants, voice, noise, and its middle and width, at each step."""
        letters = WORDS[self.word][::-1] if self.backwards else WORDS[self.word]
        sounds = np.array([_numbers(SOUNDS[letter]) for letter in letters])
        sounds[:, :3] *= self.speaker.tract * dice.normal(1, 0.08, (len(sounds), 3))
        lengths = self.speaker.pace * sounds[:, 7] * dice.normal(1, 0.25, len(sounds)).clip(0.4)
        begin = int(dice.integers(0, 150))
        often = np.maximum(np.round(lengths / cochlea.step), 1).astype(np.int64)
        silence = sounds[[0, -1]] * np.array([1, 1, 1, 0, 0, 1, 1, 1])
        after = max(steps - begin - int(often.sum()), 0)
        path = np.repeat(np.concatenate([silence[:1], sounds, silence[1:]]), [begin, *often, after], axis=0)
        return _gliding(path[:steps, :7], round(GLIDE / cochlea.step))


def _numbers(sound: Sound) -> list[float]:
    return [*sound.formants, sound.voice, sound.noise, sound.middle, sound.width, sound.length]


def _gliding(path: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """Return the mean of ``width`` steps around each step."""
    around = np.pad(path, ((width // 2, width - width // 2), (0, 0)), mode="edge")
    total = np.cumsum(around, axis=0)
    return (total[width:] - total[:-width]) / width


def _near(
    cochlea: Cochlea, middle: npt.NDArray[np.float64], width: npt.NDArray[np.float64] | float
) -> npt.NDArray[np.float64]:
    """Return L of each place at each step, [steps, C]."""
    away = cochlea.frequencies - middle[:, None]
    near: npt.NDArray[np.float64] = (
        1 / (1 + (2 * away / (np.reshape(width, (-1, 1)) + cochlea.bandwidths)) ** 2) ** 2
    )
    return near
