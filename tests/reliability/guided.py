"""Atheris changes bytes of good files, led by the branches of the package that they reach.

    python -m tests.reliability.guided KIND WHOLE RUNS

A process of its own, because the package has to be instrumented while it is imported, and libFuzzer ends its
process. Exit code 0: nothing was found.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["snnprune.data", "snnprune.common.document", "snnprune.config.reading", "snnprune.report"]
):
    from support import malformed


def main() -> None:
    kind, whole, runs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    folder = Path(tempfile.mkdtemp(prefix="snnprune-atheris-"))
    readers = malformed.Readers(folder, whole)
    corpus = folder / "corpus"
    corpus.mkdir()
    names = sorted(readers.whole)
    recordings = readers.recordings

    def read(content: bytes) -> None:
        """Take the first byte for which file it is, the rest for what is in it."""
        if not content:
            return
        with malformed.bounded():
            if kind == "event files":
                readers.events(recordings[content[0] % len(recordings)], content[1:])
            elif kind == "configurations":
                readers.configuration(content[1:])
            else:
                readers.run_folder(names[content[0] % len(names)], content[1:])

    for number, good in enumerate(malformed.good_files(readers, kind)):
        (corpus / str(number)).write_bytes(good)
    options = [
        f"-runs={runs}",
        "-max_len=20000",
        "-timeout=0",
        "-verbosity=0",
        "-seed=1",
        "-len_control=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
