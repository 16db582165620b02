#!/usr/bin/env bash
# nir 1.0.8: a write that raises has already destroyed the file that was there.
#
# Guess, written down before the run: a graph that cannot be written is refused before the old file is touched.
# Seen: nir.write opens the path for writing, puts nodes and edges in, and meets the metadata last. A value that HDF5
#   has no type for (None, say: "no label known") raises TypeError, and what is left at the path is the torso of the new
#   graph. nir.read then fails with KeyError: 'type'. The file of the run before is gone.
# Whom it hurts: scripts that export after every epoch or every sweep to the same name, and add metadata by hand.
# What to do: write to another name in the same folder, read that back, then rename; leave None out of metadata.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check nir==1.0.8 numpy==2.4.6 h5py==3.16.0
cd "$dir"
venv/bin/python - <<'PY'
import nir
import numpy as np


def graph(metadata):
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        "fc": nir.Linear(weight=np.eye(2, dtype=np.float32)),
        "output": nir.Output({"output": np.array([2])}),
    }
    return nir.NIRGraph(nodes=nodes, edges=[("input", "fc"), ("fc", "output")], metadata=metadata)


nir.write("net.nir", graph({"epoch": 1}))
assert sorted(nir.read("net.nir").nodes) == ["fc", "input", "output"]
try:
    nir.write("net.nir", graph({"epoch": 2, "label": None}))
except TypeError as error:
    print("write raises TypeError:", error)
else:
    raise SystemExit("changed: the metadata was written")
try:
    nir.read("net.nir")
except KeyError as error:
    print("the file of epoch 1 can no longer be read: KeyError:", error)
else:
    raise SystemExit("changed: the old file is still whole")
PY
