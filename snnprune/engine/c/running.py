"""Compile a network in C on this machine, and run it on frames."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.engine.c.writing import Written

    Array = npt.NDArray[Any]

COMPILERS = ("cc", "gcc", "clang")
"""Commands that are looked for, the first first."""

OPTIONS = ("-std=c99", "-O2")

REALS = {"float": "f4", "double": "f8"}
"""NumPy's names of the C types."""


@dataclass(frozen=True)
class Runner:
    """A network's compiled main function.

    Attributes:
        written: the network.
        command: words that start it.
    """

    written: Written
    command: tuple[str, ...]

    @classmethod
    def compiled(cls, written: Written, folder: Path) -> Runner | None:
        """Compile a network into ``folder``; return None if this machine has no C compiler.

        Raises:
            UserError: the compiler does not take the file.
        """
        compiler = next((path for path in map(shutil.which, COMPILERS) if path is not None), None)
        if compiler is None:
            return None
        program = folder / "network"
        words = [compiler, *OPTIONS, f"-D{written.name}_MAIN", "-o", str(program), str(written.source)]
        done = subprocess.run(words, capture_output=True, check=False)  # noqa: S603 - a compiler of this machine
        if done.returncode != 0:
            said = (done.stderr.decode(errors="replace").strip().splitlines() or ["without a word"])[0]
            raise UserError(f"{compiler} does not compile {written.source} ({said}): take another compiler")
        return cls(written, (str(program),))

    def spikes(self, frames: Array) -> tuple[Array, dict[str, Array]]:
        """Run frames [T, B, C, H, W], each sample from rest.

        Returns:
            Outputs [T, B, K], and what each layer of neurons fires, uint8 [T, B, C, H, W], by its name.
        """
        steps, samples = frames.shape[:2]
        raw = np.frombuffer(bytearray(self._run(["spikes", str(steps)], frames)), np.uint8)
        raw, found, at = raw.reshape(samples, steps, -1), {}, 0
        for name, (channels, height, width) in self.written.neurons:
            end = at + channels * height * width
            layer = raw[:, :, at:end].reshape(samples, steps, height, width, channels)
            found[name], at = layer.transpose(1, 0, 4, 2, 3), end
        outputs = np.ascontiguousarray(raw[:, :, at:]).view(REALS[self.written.real])
        return outputs.swapaxes(0, 1), found

    def answers(self, frames: Array) -> tuple[Array, Array]:
        """Return classes [B] and scores [B, K] for frames [T, B, C, H, W]."""
        return self._read(self._run(["frames", str(len(frames))], frames))

    def answered(self, events: Array) -> tuple[Array, Array]:
        """Return class [1] and scores [1, K] for events, with fields x, y, p and t in microseconds.

        Raises:
            UserError: an event is out of range or out of order.
        """
        packed = np.empty(len(events), [("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
        for name in "txyp":
            packed[name] = events[name]
        return self._read(self._started([], packed.tobytes()))

    def _run(self, words: Sequence[str], frames: Array) -> bytes:
        kind = "u1" if self.written.counts else REALS[self.written.real]
        return self._started(words, np.ascontiguousarray(frames.swapaxes(0, 1), kind).tobytes())

    def _started(self, words: Sequence[str], given: bytes) -> bytes:
        done = subprocess.run([*self.command, *words], input=given, capture_output=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise UserError(f"{self.written.source}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def _read(self, said: bytes) -> tuple[Array, Array]:
        rows = [line.split() for line in said.decode().splitlines()]
        scores = np.array([row[1:] for row in rows]).astype(REALS[self.written.real])
        return np.array([int(row[0]) for row in rows]), scores
