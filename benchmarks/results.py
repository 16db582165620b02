"""Train a configuration and its dense twin with several seeds, and print the table for docs/results.md.

Every run is an ordinary `snnprune train`, in a folder of its own: finished runs are not trained again, killed
ones go on.

    python benchmarks/results.py --config configs/nmnist/dpap.yaml --seeds 0 1 2 -- --data.root FOLDER
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from spread import spread


def main() -> int:
    arguments, rest = split(sys.argv[1:])
    folders = {seed: arguments.out / f"seed{seed}" for seed in arguments.seeds}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        codes = list(pool.map(lambda seed: train(arguments.config, seed, folders[seed], rest), folders))
    if any(codes):
        return 1
    pruned = [summary(folder) for folder in folders.values()]
    dense = [summary(folder / "dense") for folder in folders.values()]
    print("\n".join(table(dense, pruned)))
    return 0


def split(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return our own arguments, and those behind `--`, which are for `snnprune train`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--out", type=Path, default=Path("runs/results"))
    cut = words.index("--") if "--" in words else len(words)
    return parser.parse_args(words[:cut]), words[cut + 1 :]


def train(config: Path, seed: int, folder: Path, rest: list[str]) -> int:
    words = ["train", "--config", str(config), "--train.seed", str(seed), "--train.threads", "1", *rest]
    command = [sys.executable, "-m", "snnprune", *words, "--out", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    print(f"seed {seed}: exit {done.returncode} {done.stderr.strip()}", file=sys.stderr)
    return done.returncode


def summary(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return read


def table(dense: list[dict[str, Any]], pruned: list[dict[str, Any]]) -> list[str]:
    first = pruned[0]
    lines = [
        f"Versions: {', '.join(f'{k} {v}' for k, v in first['versions'].items())}; "
        f"seeds {', '.join(str(s['seed']) for s in pruned)}; mean ± standard deviation.",
        "",
        f"| | dense | {first['method']} |",
        "| --- | ---: | ---: |",
    ]

    def row(name: str, read: Any, form: str = "{:.2f}") -> None:
        both = [spread([read(s) for s in runs], form) for runs in (dense, pruned)]
        lines.append(f"| {name} | {both[0]} | {both[1]} |")

    row("test accuracy, last epoch (%)", lambda s: 100 * s["accuracy"])
    row("test accuracy, best epoch on validation (%)", lambda s: 100 * s["accuracy_at_best"])
    row("best epoch on validation", lambda s: s["best_epoch"], "{:.1f}")
    row("weights pruned (%)", lambda s: 100 * s["pruning_rate"])
    for layer in first["layers"]:
        row(
            f"of {layer} ({first['layers'][layer]['dense']:,} weights)",
            lambda s, n=layer: 100 * s["layers"][n]["pruned"],
        )
    for name, (_, size) in first["neurons_left"].items():
        row(f"neurons left of {name} (of {size})", lambda s, n=name: s["neurons_left"][n][0], "{:.1f}")
    row("MACs per sample (M)", lambda s: s["macs_left"] / 1e6)
    row("training time (s)", lambda s: s["seconds"], "{:.0f}")
    gains = [100 * (p["accuracy"] - d["accuracy"]) for d, p in zip(dense, pruned, strict=True)]
    lines += [
        "",
        f"Difference in accuracy, pruned - dense, by seed: {', '.join(f'{g:+.2f}' for g in gains)} points.",
    ]
    return lines


if __name__ == "__main__":
    sys.exit(main())
