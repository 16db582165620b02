#!/usr/bin/env bash
# nir 1.0.8: a node whose name holds a slash is written without a word, and the file cannot be read.
#
# Guess, written down before the run: the slash is escaped, or nir.write refuses the name.
# Seen: the node lands in an HDF5 group inside a group ("layers/0" becomes group "layers" with group "0" in it). nir.write
#   and the graph's own type check are content; nir.read raises KeyError: 'type', which names neither node nor slash.
#   Dots, spaces and letters beyond ASCII are fine.
# Whom it hurts: exporters from frameworks whose parameters are addressed by paths ("encoder/block_0/dense"), as in JAX;
#   the file is found broken only by whoever loads it.
# What to do: replace "/" in names before writing, and read every file back once.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check nir==1.0.8 numpy==2.4.6 h5py==3.16.0
cd "$dir"
venv/bin/python - <<'PY'
import nir
import numpy as np


def through_a_file(name):
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        name: nir.Linear(weight=np.eye(2, dtype=np.float32)),
        "output": nir.Output({"output": np.array([2])}),
    }
    nir.write("net.nir", nir.NIRGraph(nodes=nodes, edges=[("input", name), (name, "output")]))
    return nir.read("net.nir")


for name in ("layers.0", "layer 0", "schicht-ö"):
    assert name in through_a_file(name).nodes
    print(f"{name!r}: read back")
try:
    through_a_file("layers/0")
except KeyError as error:
    print("'layers/0': written, then KeyError on reading:", error)
else:
    raise SystemExit("changed: a slash is read back, or refused otherwise")
PY
