#!/usr/bin/env bash
# snntorch 1.0.0: export_to_nir writes every average pool without its padding.
#
# Guess, written down before the run: kernel, stride and padding of torch.nn.AvgPool2d are three numbers that nir.AvgPool2d
#   has, too, and all three are written.
# Seen: padding is written as (0, 0), whatever it is. AvgPool2d(2, padding=1) makes 3 x 3 places of 4 x 4, and 2 x 2 after the
#   round trip: of other windows, so that no value is the same. Where a stride makes both sizes equal, as
#   AvgPool2d(3, stride=2, padding=1) on 5 x 5 does not but a global mean behind it hides, nothing is said at all.
# Whom it hurts: whoever exports a network with padded pools, such as a ResNet's stem: an error about shapes in the next
#   linear layer at best, and other answers where an average over all places follows.
# What to do: pad by hand, as nn.ZeroPad2d and a pool without padding do not reach NIR either: use a strided convolution; or
#   set node.padding of the exported graph before nir.write.
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
from snntorch.export_nir import _extract_snntorch_module
from torch import nn

warnings.simplefilter("ignore")
pool = nn.AvgPool2d(2, stride=2, padding=1)
with contextlib.redirect_stdout(io.StringIO()):
    node = _extract_snntorch_module(pool)
x = torch.arange(16.0).reshape(1, 1, 4, 4)
again = nn.AvgPool2d(node.kernel_size, node.stride, tuple(node.padding))
print("padding", pool.padding, "is written as", tuple(node.padding))
print("before:", pool(x).flatten().tolist())
print("after: ", again(x).flatten().tolist())
assert tuple(node.padding) == (0, 0), "changed: the padding is written"
assert pool(x).shape != again(x).shape, "changed: the same shape"
PY
