#!/usr/bin/env bash
# nir 1.0.8: nodes come back in the order of their names as text, not in the order of the network.
#
# Guess, written down before the run: a dict of nodes is read back in the order in which it was written, as edges are.
# Seen: a chain of twelve layers named 0 ... 11 comes back as 0, 1, 10, 11, 2, ... 9, input, output. Edges keep their order.
#   With fewer than ten layers the two orders agree, so a test on a small network does not show it.
# Whom it hurts: readers that walk graph.nodes.values() to build a chain of layers, or pair nodes with a list of layers:
#   from the eleventh layer on, shapes clash at best, and where all layers are alike weights are silently in the wrong place.
# What to do: follow the edges from the Input node; or name nodes with leading zeros.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check nir==1.0.8 numpy==2.4.6 h5py==3.16.0
cd "$dir"
venv/bin/python - <<'PY'
import nir
import numpy as np

names = [str(i) for i in range(12)]
nodes = {"input": nir.Input({"input": np.array([2])})}
nodes |= {name: nir.Linear(weight=np.full((2, 2), float(name), np.float32)) for name in names}
nodes |= {"output": nir.Output({"output": np.array([2])})}
chain = list(nodes)
nir.write("net.nir", nir.NIRGraph(nodes=nodes, edges=list(zip(chain, chain[1:]))))
read = nir.read("net.nir")
print("written:", chain)
print("read:   ", list(read.nodes))
assert list(read.nodes) == sorted(chain), "changed: no longer sorted by name"
assert read.edges == list(zip(chain, chain[1:])), "changed: edges in another order"
PY
