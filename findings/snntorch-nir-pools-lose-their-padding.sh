#!/usr/bin/env bash
# snntorch 1.0.0: export_to_nir writes every average pool without its padding.
#
# Guess, written down before the run: kernel, stride and padding of torch.nn.AvgPool2d are three numbers that nir.AvgPool2d
#   has, too, and all three are written.
# Seen: padding is written as (0, 0), whatever it is. Where the sizes then differ, nir's check of types stops the export with a
#   ValueError that names no pool. Where they do not, as with AvgPool2d(3, stride=3, padding=1) on 6 x 6 places (2 x 2 both
#   ways), the file is written without a word, and each of its windows lies one place further down and to the right.
# Whom it hurts: whoever exports a network with padded pools: everything behind such a pool answers otherwise.
# What to do: set node.padding of the exported graph before nir.write, or use a convolution with a stride in its place.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check snntorch==1.0.0 nir==1.0.8 nirtorch==2.6 torch==2.14.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import contextlib
import io
import warnings

import torch
from snntorch.export_nir import export_to_nir
from torch import nn

warnings.simplefilter("ignore")
x = torch.arange(36.0).reshape(1, 1, 6, 6)
pool = nn.AvgPool2d(3, stride=3, padding=1)
with contextlib.redirect_stdout(io.StringIO()):
    graph = export_to_nir(nn.Sequential(nn.Conv2d(1, 1, 1), pool), x, ignore_dims=[0])
(node,) = (n for n in graph.nodes.values() if type(n).__name__ == "AvgPool2d")
again = nn.AvgPool2d(3, stride=3, padding=tuple(int(n) for n in node.padding))
print("padding", pool.padding, "is written as", tuple(int(n) for n in node.padding))
print("before:", pool(x).flatten().tolist())
print("after: ", again(x).flatten().tolist())
assert tuple(node.padding) == (0, 0), "changed: the padding is written"
assert pool(x).shape == again(x).shape and not torch.equal(pool(x), again(x)), "changed: other windows"
PY
