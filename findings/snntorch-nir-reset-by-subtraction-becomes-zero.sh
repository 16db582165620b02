#!/usr/bin/env bash
# snntorch 1.0.0: reset by subtraction, the default of its neurons, becomes a reset to zero on the way through NIR.
#
# Guess, written down before the run: nir.LIF has one kind of reset, to v_reset. So export_to_nir refuses neurons that are
#   reset by subtraction, or says that it changes them.
# Seen: it writes v_reset = 0 without a word, and import_from_nir, "the inverse of export_to_nir", makes neurons that are
#   reset to zero. An input of 2.5 at a threshold of 1 fires in two steps before, and in one afterwards. The reset
#   that comes a step late (reset_delay=True, another default) becomes one that comes at once.
# Whom it hurts: whoever trains with snntorch's defaults and shares the network as NIR: every reader, snntorch among them,
#   runs another network, with fewer spikes.
# What to do: train with reset_mechanism="zero" and reset_delay=False where the network is to leave as NIR.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check snntorch==1.0.0 nir==1.0.8 nirtorch==2.6 torch==2.14.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import contextlib
import io
import warnings

import snntorch
import torch
from snntorch.export_nir import export_to_nir
from snntorch.import_nir import import_from_nir
from torch import nn

warnings.simplefilter("ignore")
FRAMES = [2.5, 0.0, 0.0, 0.0, 0.0]


def spikes(net):
    seen, state = [], None
    for frame in FRAMES:
        out = net(torch.tensor([[frame]]), *([state] if state else []))
        out, state = out if isinstance(out, tuple) else (out, None)
        seen.append(int(out[0, 0]))
    return seen


layer = nn.Linear(1, 1, bias=False)
layer.weight.data.fill_(1.0)
neurons = snntorch.Leaky(beta=torch.full((1,), 0.9), threshold=torch.ones(1), init_hidden=True)
assert neurons.reset_mechanism == "subtract" and neurons.reset_delay, "changed: another default"
net = nn.Sequential(layer, neurons)
before = spikes(net)
with contextlib.redirect_stdout(io.StringIO()):
    graph = export_to_nir(net, torch.zeros(1, 1), ignore_dims=[0])
    again = import_from_nir(graph)
(node,) = (n for n in graph.nodes.values() if type(n).__name__ == "LIF")
after = spikes(again)
print("before:", before, "written: v_reset", node.v_reset.tolist(), "after:", after)
assert node.v_reset.tolist() == [0.0], "changed: another reset is written"
assert before == [1, 1, 0, 0, 0], "changed: other spikes before"
assert after == [1, 0, 0, 0, 0], "changed: other spikes after"
PY
