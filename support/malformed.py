"""Malformed event files, configurations and run folders: each is read, or refused in a sentence.

Hypothesis draws whole files of the right kind with something wrong in them; atheris changes bytes of good
ones, led by which branches they reach. A ``UserError`` is the sentence. Any other exception, seconds without
an answer, or memory beyond a bound is a finding.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import shutil
import signal
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import strategies as st

import snnprune
from snnprune.common.errors import UserError
from snnprune.config import reading as settings
from snnprune.data import neuromorphic
from snnprune.data.events import reading
from snnprune.data.frames import to_frames
from snnprune.runs import checkpoint
from snnprune.runs import reading as run_files
from snnprune.runs.folder import RunFolder
from snnprune.training.table import comparison, shortfall
from support import damaged_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 5
"""Without an answer, and an input counts as a hang; others use the machine too."""

MEGABYTES = 600
"""That all inputs of a kind together may add to the peak."""

BLOCK = 500
"""Inputs in a row: hypothesis remembers what it has drawn, and its memory is not what is measured."""

LONGEST = 4000
"""Characters of a sentence, and it is none."""

STEPS = 4

# --- what is drawn

NUMBERS = [
    "",
    "null",
    "nan",
    ".inf",
    "-1",
    "0",
    "1e400",
    "9" * 5000,
    "0x" + "f" * 4000,
    "2001-02-31",
    "1:2:3",
    "true",
]
OTHERS = ["[]", "{}", "\0", "../../x", "/", "*a", "&a b", "!!python/name:os.system x", "<b>", "\u202e", "'"]
WORDS = st.sampled_from([*NUMBERS, *OTHERS, "- a", "$\\frac$"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, 2**64, 10**30, -(10**30)]),
    st.floats(),
    st.text(max_size=8),
    WORDS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
GARBAGE = st.binary(max_size=400)


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw ``content`` with a few bytes changed, cut out, put in or repeated."""
    out = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(out) - 1)))
        action = draw(st.integers(0, 3))
        if action == 0 and out:
            out[place] = draw(st.integers(0, 255))
        elif action == 1:
            del out[place : place + draw(st.integers(1, 40))]
        elif action == 2:
            out[place:place] = draw(st.binary(min_size=1, max_size=12))
        else:
            del out[place:]
    return bytes(out)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Draw a .npy file: numbers of any type and shape, headers that say something else, or other content."""
    kind = draw(
        st.sampled_from(["i2", "i8", "u8", "f4", "f8", "c8", "b1", "U3", "S4", "M8[us]", "V8", ">i4", "f2"])
    )
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 4, 4, 5, 30]), max_size=3))
    size = int(np.prod(shape, dtype=np.int64))
    if draw(st.booleans()):
        values = np.resize(np.array(draw(st.lists(st.integers(0, 40), min_size=1, max_size=8))), shape)
        with contextlib.suppress(TypeError, ValueError):
            values = values.astype(kind)
    else:
        raw = draw(st.binary(min_size=8, max_size=64))
        values = np.frombuffer(np.resize(np.frombuffer(raw, np.uint8), size * np.dtype(kind).itemsize), kind)
        values = values.reshape(shape)
    memory = io.BytesIO()
    np.save(memory, values, allow_pickle=False)
    content = memory.getvalue()
    if draw(st.integers(0, 3)) == 0:
        wrong = draw(st.sampled_from(["(4, 4)", "(10**9, 4)", "(1000000000000, 4)", "(-1, 4)", "()", "(4"]))
        content = content.replace(str(values.shape).encode(), wrong.encode(), 1)
    return draw(changed(content)) if draw(st.booleans()) else content


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Draw a file of N-MNIST: rows of five bytes, mostly inside the sensor, now and then not whole."""
    many = draw(st.integers(0, 60))
    seen = np.frombuffer(draw(st.binary(min_size=5, max_size=60)), np.uint8)
    rows = np.resize(seen, (many, 5)).copy()
    if draw(st.booleans()):
        rows[:, :2] %= 34
    if draw(st.integers(0, 5)) == 0:
        rows[:, 1] = 240  # the clock overflows
        rows = np.repeat(rows, draw(st.sampled_from([1, 50])), 0)
    return rows.tobytes() + draw(st.sampled_from([b"", b"", b"", b"\0", b"abc"]))


@st.composite
def configurations(draw: st.DrawFn) -> bytes:
    """Draw a YAML file: keys of a run with values of any kind, other keys, or no YAML."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(GARBAGE)
    if kind == 1:
        return draw(st.lists(WORDS, max_size=6)).__str__().encode("utf-8", "replace")
    sections: dict[Any, Any] = {}
    for key in draw(st.lists(st.sampled_from(sorted(settings.KEYS)), max_size=3)):
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = draw(VALUES)
    if draw(st.integers(0, 4)) == 0:
        sections[draw(SCALARS)] = draw(VALUES)
    if kind == 2:  # values as words of YAML, not as values
        lines = [f"{section}:\n" + "".join(f"  {k}: {draw(WORDS)}\n" for k in keys) if isinstance(keys, dict)
                 else f"{section}: {draw(WORDS)}\n" for section, keys in sections.items()]  # fmt: skip
        return "".join(lines).encode("utf-8", "replace")
    text = yaml.safe_dump(sections, allow_unicode=True).encode("utf-8", "replace")
    return draw(changed(text)) if kind == 3 else text


@st.composite
def damaged(draw: st.DrawFn, name: str, content: bytes) -> bytes:
    """Draw a file of a run with something wrong: bytes, values, keys, or all of it."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return draw(GARBAGE)
    if kind == 1 and name.endswith((".json", ".yaml")):
        return json.dumps(draw(VALUES)).encode("utf-8", "replace")
    if kind <= 4 and name.endswith((".json", ".yaml")):
        tree = json.loads(content) if name.endswith(".json") else yaml.safe_load(content)
        for _ in range(draw(st.integers(1, 3))):
            _mutate(draw, tree)
        text = json.dumps(tree) if name.endswith(".json") else yaml.safe_dump(tree)
        return text.encode("utf-8", "replace")
    return draw(changed(content))


def _mutate(draw: st.DrawFn, tree: Any) -> None:
    """Change, remove or add one entry somewhere in nested mappings."""
    while isinstance(tree, dict) and tree:
        key = draw(st.sampled_from(list(tree)))
        if isinstance(tree[key], dict) and tree[key] and draw(st.integers(0, 3)):
            tree = tree[key]
            continue
        if draw(st.integers(0, 2)) == 0:
            del tree[key]
        else:
            tree[key] = draw(VALUES)
        return


# --- what reads it


class Readers:
    """The package's readers, each as a function of bytes that somebody else wrote.

    Args:
        folder: to work in.
        whole: folder of a finished run, which the malformed ones are made of.
    """

    def __init__(self, folder: Path, whole: Path) -> None:
        self.folder = folder
        self.whole = {p.name: p.read_bytes() for p in whole.iterdir() if p.is_file() and p.suffix in SUFFIXES}
        self.whole |= {f"checkpoints/{p.name}": p.read_bytes() for p in (whole / "checkpoints").iterdir()}
        self.run = folder / "run"
        shutil.copytree(
            whole, self.run, ignore=shutil.ignore_patterns("figures", "tensorboard", "*.html", "*.png")
        )
        sets = (neuromorphic.NMNIST, neuromorphic.DVS_GESTURE, neuromorphic.POKER_DVS)
        self.sets = {source.name: (source, source.reader()) for source in sets}
        self.seeds = {str(seed): seed for seed in damaged_events.seeds()}
        for good in self.seeds.values():
            (folder / f"recording{good.suffix}").write_bytes(good.content)
            with contextlib.suppress(UserError):
                reading.read(folder / f"recording{good.suffix}", good.asked)
        looks = (self._resumed, self._evaluated, self._reported, self._loaded, self._configured)
        for look in looks:  # what is right is read, and takes its memory before anything is counted
            with contextlib.suppress(UserError):
                look()

    @property
    def recordings(self) -> list[str]:
        """The names of recordings that `events` reads."""
        return sorted({*self.sets, *self.seeds})

    def events(self, name: str, content: bytes) -> None:
        """Decode and bin a recording of a data set, or read a file of a format."""
        if name in self.seeds:
            good = self.seeds[name]
            damaged_events.look(self.folder / f"recording{good.suffix}", content, good.asked)
            return
        source, read = self.sets[name]
        path = self.folder / f"recording{'.bin' if name == 'nmnist' else '.npy'}"
        path.write_bytes(content)
        found = read(neuromorphic.Recording(path, 0))
        for binning in ("time", "count", "tonic"):
            frames = to_frames(found, STEPS, source.sensor, binning)
            assert frames.shape == (STEPS, *source.sensor)

    def configuration(self, content: bytes) -> None:
        """Read a configuration as `snnprune train --config FILE --print_config` does."""
        path = self.folder / "run.yaml"
        path.write_bytes(content)
        given = settings.read_file(path)
        config = settings.run_config(given)
        settings.chosen(given)
        yaml.safe_dump(asdict(config))

    def run_folder(self, name: str, content: bytes) -> None:
        """Read the folder of a run as resuming, evaluating, reporting and loading do, ``name`` being so."""
        path = self.run / name
        path.write_bytes(content)
        try:
            for look in self._readers_of(name):
                with contextlib.suppress(UserError):
                    look()
        finally:
            path.write_bytes(self.whole[name])

    def _readers_of(self, name: str) -> list[Callable[[], None]]:
        if name.startswith("checkpoints"):
            return [self._evaluated]
        return [self._loaded] if name.startswith("model") else [self._resumed, self._reported]

    def _configured(self) -> None:
        self.configuration(self.whole["config.yaml"])

    def _resumed(self) -> None:
        folder = RunFolder(self.run)
        folder.read_config()
        summary = folder.read_summary()
        if summary is not None:
            comparison([summary])
            shortfall(summary)

    def _evaluated(self) -> None:
        checkpoint.newest(RunFolder(self.run).checkpoints)

    def _reported(self) -> None:
        run_files.read_run(self.run).read_all()

    def _loaded(self) -> None:
        snnprune.load(self.run / "model", lambda: torch.nn.Linear(2, 2))


SUFFIXES = (".json", ".yaml", ".csv", ".safetensors")


class Hang(BaseException):
    """No answer within `SECONDS`; no reader may take it for its own."""


@contextlib.contextmanager
def bounded(seconds: int = SECONDS) -> Iterator[None]:
    """Let nothing inside take longer than so many seconds; a sentence is an answer."""

    def late(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except UserError as error:
        if not 0 < len(str(error)) < LONGEST:
            raise ValueError(f"a sentence of {len(str(error))} characters") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def kinds(readers: Readers) -> dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], None]]]:
    """Return what is drawn, and what reads it, of each kind of input."""
    files = st.sampled_from(sorted(readers.whole)).flatmap(
        lambda name: st.tuples(st.just(name), damaged(name, readers.whole[name]))
    )
    seeds = st.sampled_from(sorted(readers.seeds)).flatmap(
        lambda name: st.tuples(st.just(name), changed(readers.seeds[name].content))
    )
    recordings = st.one_of(
        seeds,
        st.tuples(st.just("nmnist"), st.one_of(streams(), GARBAGE)),
        st.tuples(st.sampled_from(["dvs-gesture", "poker-dvs"]), st.one_of(tables(), tables(), GARBAGE)),
    )
    return {
        "event files": (recordings, lambda drawn: readers.events(*drawn)),
        "configurations": (configurations(), readers.configuration),
        "run folders": (files, lambda drawn: readers.run_folder(*drawn)),
    }


def good_files(readers: Readers, kind: str) -> list[bytes]:
    """Return files that are right, each behind the byte that says which file it is to atheris's program."""
    if kind == "event files":
        rows = np.array([[3, 5, 1, 10], [4, 6, 0, 20]])
        memory = io.BytesIO()
        np.save(memory, rows)
        stream = bytes([3, 5, 128, 0, 10, 4, 6, 0, 0, 20])
        whole = {name: stream if name == "nmnist" else memory.getvalue() for name in readers.sets}
        whole |= {name: seed.content for name, seed in readers.seeds.items()}
        return [bytes([i]) + whole[name] for i, name in enumerate(readers.recordings)]
    if kind == "configurations":
        return [
            b"\0" + readers.whole["config.yaml"],
            b"\0data: {name: nmnist, time_steps: 4}\ntrain: {lr: 1e-2}\n",
        ]
    return [bytes([i]) + readers.whole[name] for i, name in enumerate(sorted(readers.whole))]


def hunt(readers: Readers, kind: str, count: int, start: int = 0) -> int:
    """Draw ``count`` inputs of a kind, have them read, and return by how many bytes the peak memory rose.

    Raises:
        Exception: whatever a reader raised that is no sentence; hypothesis prints the smallest input for it.
    """
    before = _peak()
    for done in range(0, count, BLOCK):
        _hunt(readers, kind, min(BLOCK, count - done), start + done)
    return _peak() - before


def _hunt(readers: Readers, kind: str, count: int, start: int) -> None:
    drawn, read = kinds(readers)[kind]

    @seed(start)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn)
    def each(given_input: Any) -> None:
        with bounded():
            read(given_input)

    each()


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
