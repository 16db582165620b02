#!/usr/bin/env bash
# snntorch 1.0.0: a recurrent layer that leaves for NIR and comes back gets its input through the recurrent weights.
#
# Guess, written down before the run: import_from_nir is the inverse of export_to_nir, as its docstring says, and an RLeaky
#   fires the same spikes afterwards.
# Seen: the export is right: its edges lead from the layer in front to the neurons. The import folds the neurons and their
#   feedback W into a graph within the graph, whose input it ties to W, and makes a plain Leaky of the neurons. They get
#   W (x + y) where they got x + W y: units that the feedback does not reach stay silent, and nothing is said.
#   Read from a file, the same network may raise AttributeError: 'GraphModule' object has no attribute 'items' instead. nir
#   sorts nodes by name, and where a layer in front comes before "input" ("0", "fc"), nirtorch 2.6 builds the inner
#   graph twice.
# Whom it hurts: whoever keeps a trained recurrent network as NIR: it comes back as another network, or not at all, by
#   the names of its layers.
# What to do: build the RLeaky by hand, and copy the weights from the nodes "NAME.lif" and "NAME.w_rec", which are right.
#   Compare spikes before and after in any case.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
  snntorch==1.0.0 nir==1.0.8 nirtorch==2.6 torch==2.14.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import contextlib
import io
import warnings
from collections import OrderedDict

import nir
import snntorch
import torch
from snntorch.export_nir import export_to_nir
from snntorch.import_nir import import_from_nir
from torch import nn

warnings.simplefilter("ignore")
FRAMES = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 1.0]]])


def network(front):
    """Two neurons: the first passes its spike to the second, one step later."""
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.eye(2)
    loop = snntorch.RLeaky(
        beta=0.5, threshold=0.5, linear_features=2, init_hidden=True, reset_mechanism="zero", reset_delay=False
    )
    loop.recurrent.weight.data = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    loop.recurrent.bias.data.zero_()
    return nn.Sequential(OrderedDict([(front, layer), ("loop", loop)]))


def written(front):
    with contextlib.redirect_stdout(io.StringIO()):
        graph = export_to_nir(network(front), FRAMES[0], ignore_dims=[0])
    nir.write(f"{front}.nir", graph)
    loop = {(front, "loop.lif"), ("loop.lif", "loop.w_rec"), ("loop.w_rec", "loop.lif")}
    assert set(graph.edges) == {*loop, ("input", front), ("loop.lif", "output")}, "changed: other edges are written"
    assert graph.nodes["loop.w_rec"].weight.tolist() == [[0, 0], [1, 0]], "changed: other weights are written"
    return graph


def spikes(graph):
    with contextlib.redirect_stdout(io.StringIO()):
        net = import_from_nir(graph)
    seen, state = [], None
    for frame in FRAMES:
        out, state = net(frame, state)
        seen.append(out[0].int().tolist())
    return seen


before = network("fc")
expected = [before(frame)[0].int().tolist() for frame in FRAMES]
print("as trained:               ", expected)
assert expected == [[1, 0], [0, 1], [0, 0], [0, 1]]
for front in ("fc", "layer"):
    found = spikes(written(front))
    print(f"kept in memory,   {front!r:>7}:", found)
    assert found == [[0, 1], [0, 0], [0, 0], [0, 0]], "changed: the input goes another way"
written("layer")
found = spikes(nir.read("layer.nir"))
print("read from a file, 'layer':", found)
assert found == [[0, 1], [0, 0], [0, 0], [0, 0]], "changed: the input goes another way"
try:
    spikes(nir.read("fc.nir"))
except AttributeError as error:
    print("read from a file,    'fc': AttributeError:", error)
    assert "'items'" in str(error), "changed: another error"
else:
    raise SystemExit("changed: a layer whose name comes before 'input' is read")
PY
