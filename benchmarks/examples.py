"""Run every example and print, for docs/custom-snn.md, its length and what it says.

python benchmarks/examples.py [--only NAME ...]
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = {path.stem: path for path in sorted((Path(__file__).parents[1] / "examples").glob("*.py"))}


def length(example: Path) -> int:
    return len(example.read_text(encoding="utf-8").splitlines())


def shows(example: Path) -> str:
    """Return the example's docstring, which is one sentence."""
    return ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or ""


def run(example: Path) -> subprocess.CompletedProcess[str]:
    """Run an example on one thread, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [sys.executable, str(example)],
            check=False,
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )


def table(examples: list[Path]) -> list[str]:
    rows = [f"| [`{e.name}`](../examples/{e.name}) | {length(e)} | {shows(e)} |" for e in examples]
    return ["| example | lines | what it shows |", "| --- | ---: | --- |", *rows]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog=Path(__file__).name, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(EXAMPLES), default=list(EXAMPLES))
    examples = [EXAMPLES[name] for name in parser.parse_args().only]
    print("\n".join(table(examples)), flush=True)
    failed = False
    for example in examples:
        done = run(example)
        failed |= done.returncode != 0
        said = done.stdout if done.returncode == 0 else done.stderr
        print(f"\n`{example.name}` prints\n\n```text\n{said.strip()}\n```", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
