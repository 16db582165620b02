#!/usr/bin/env bash
# bitsandbytes 0.50.2: in an 8-bit optimiser a moment of exactly zero has no code of its own: 131, or 0, by its neighbours.
#
# Guess, written down before the run: rows that never get a gradient keep the code whose table entry is nearest to zero, and
#   all have the same code.
# Seen: rows without gradients hold code 131 where others of their block of 256 have moments, and code 0 where the whole
#   block has none; by the table (qmap1) code 0 stands for about -1 times the largest of the block, 131 for 2e-5 of it. Zeros
#   written into the codes, as a mask of pruned weights does, mean "the most negative moment there is".
# Whom it hurts: whoever masks, prunes or counts zeros in the state of an 8-bit optimiser: what is dead gets the largest
#   momentum of its block, and begins to move at the next step.
# What to do: never multiply codes: write the code of the table's entry nearest to zero, and look at absmax for whole blocks;
#   or leave the state alone and mask the weights after each step.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check bitsandbytes==0.50.2 torch==2.14.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
from importlib import metadata

import bitsandbytes as bnb
import torch

print("bitsandbytes", metadata.version("bitsandbytes"), "torch", torch.__version__)


def codes(trained):
    """Return the codes of the first moment in rows that never have a gradient, and the table of codes."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(128, 64))  # four rows are a block of 256 numbers
    optimizer = bnb.optim.Adam8bit([weight], lr=1e-3)
    for _ in range(3):
        weight.grad = torch.randn(128, 64) * trained[:, None]
        optimizer.step()
    state = optimizer.state[weight]
    return sorted(set(state["state1"].view(128, 64)[~trained].flatten().tolist())), state["qmap1"]


rows = torch.arange(128)
mixed, table = codes(rows % 2 == 0)
whole, _ = codes(rows < 64)
print("rows without gradients, in blocks with others:", mixed, "| in blocks of their own:", whole)
print("by the table:", {code: round(float(table[code]), 5) for code in sorted({*mixed, *whole})})
nearest = int(table.abs().argmin())
print("code nearest to zero in the table:", nearest, "=", float(table[nearest]))
assert nearest not in mixed and 0 in whole and float(table[0]) < -0.9, "changed: zero has one code"
PY
