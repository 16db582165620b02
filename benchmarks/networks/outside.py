"""What was tried with others' loops, trainers and networks: the tables of docs/custom-snn.md.

    python -m benchmarks.networks.outside [--only NAME ...] [--write docs/custom-snn.md]

Every verdict is computed. "exact" means: in a loop, the same masks and, to rounding, the same weights as the
plain loop `model(x)`, in float64; of a network, half of each population is cut, and both networks give the
same outputs. "not pruned" and "refused" come with the sentence that a user reads. Packages that are not
installed are left out, and named.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import about, parser
from support.markdown import table
from support.outside.fits import FITS
from support.outside.verdicts import answered, verdict
from support.outside.ways import LOOPS
from support.outside.wrapped_layers import TRIALS as LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterable

BEGIN, END = "<!-- tried -->\n", "<!-- /tried -->"
"""Where the tables stand in the page."""

LIBRARIES = {
    "SpikingJelly": ("spikingjelly", ("spikingjelly_neurons", "spikingjelly_layers")),
    "snntorch": ("snntorch", ("snntorch_networks",)),
    "norse": ("norse", ("norse_networks",)),
    "sinabs": ("sinabs", ("sinabs_networks",)),
    "PyTorch": ("torch", ("torch_networks",)),
}
"""Package and tables of `support.outside`, by the name of the library."""


def sections(only: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """Return names and verdicts of each part of the table."""
    wanted = [word.lower() for word in only]

    def chosen(name: str) -> bool:
        return not wanted or any(word in name.lower() for word in wanted)

    parts: dict[str, list[tuple[str, str]]] = {}
    for title, trials in (("Training loops", LOOPS), ("Lightning: trainers and callbacks", FITS)):
        parts[title] = [(name, answered(trial)) for name, trial in trials.items() if chosen(name)]
    parts["Norms, wrappers and computed weights"] = [
        (t.name, verdict(t)) for t in LAYERS.values() if chosen(t.name)
    ]
    for title, (package, names) in LIBRARIES.items():
        try:
            importlib.import_module(package)
        except ImportError:
            print(f"{title} is left out: pip install {package}", file=sys.stderr)
            continue
        trials = [
            t for name in names for t in importlib.import_module(f"support.outside.{name}").TRIALS.values()
        ]
        rows = [(trial.name, verdict(trial)) for trial in trials if chosen(trial.name)]
        parts[f"{title} {metadata.version(package)}: neurons and layers"] = rows
    return {title: rows for title, rows in parts.items() if rows}


def grouped(rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return one row for each verdict, with all that it is given to; "exact" comes first."""
    by_verdict: dict[str, list[str]] = {}
    for name, said in rows:
        by_verdict.setdefault(said, []).append(name)
    return sorted(
        ((said, "; ".join(names)) for said, names in by_verdict.items()), key=lambda row: row[0] != "exact"
    )


def main() -> None:
    """Try everything, and print or write the tables."""
    arguments = parser(__doc__)
    arguments.add_argument("--only", nargs="+", default=(), help="rows whose name has one of these in it")
    arguments.add_argument("--write", type=Path, help="file of the page")
    args = arguments.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = sections(args.only)
    parts = [f"**{title}**\n\n{table(':verdict | :of', grouped(rows))}" for title, rows in found.items()]
    text = "\n\n".join([*parts, f"Made with {about()}."])
    if args.write is None:
        print(text)
    else:
        page = args.write.read_text(encoding="utf-8")
        before, begin, rest = page.partition(BEGIN)
        _, end, after = rest.partition(END)
        args.write.write_text(f"{before}{begin}\n{text}\n\n{end}{after}", encoding="utf-8")
    wrong = [name for rows in found.values() for name, said in rows if "WRONG" in said]
    if wrong:
        sys.exit(f"neither exact nor refused: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
