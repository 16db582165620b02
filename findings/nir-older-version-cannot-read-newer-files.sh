#!/usr/bin/env bash
# nir 1.0.4, the newest that sinabs 3.1.3 allows, cannot read a file that nir 1.0.8 writes.
#
# Guess, written down before the run: between 1.0.4 and 1.0.8 files stay readable both ways; neurons got an optional v_reset
#   in between, which older versions leave aside where it is its default, 0.
# Seen: nir writes v_reset for every neuron, also where nobody gave one, and the old version hands each entry of the file
#   to the constructor: TypeError: LIF.__init__() got an unexpected keyword argument 'v_reset'. The file says which version
#   wrote it (nir.read_version); nothing compares it. The other way round, old files are read.
# Whom it hurts: whoever writes with the current nir, for a colleague with sinabs: pip keeps nir at 1.0.4 there, because of
#   "nir<=1.0.4", and no file of current tools can be read.
# What to do: when writing, delete the datasets "v_reset" that are 0 (h5py), which means the same to all versions. When
#   reading, do the same to a copy.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check nir==1.0.8 numpy==2.4.6 h5py==3.16.0
cd "$dir"
venv/bin/python - <<'PY'
import nir
import numpy as np

nodes = {
    "input": nir.Input(np.array([1])),
    "neurons": nir.LIF(tau=np.ones(1), r=np.ones(1), v_leak=np.zeros(1), v_threshold=np.ones(1)),
    "output": nir.Output(np.array([1])),
}
names = list(nodes)
nir.write("net.nir", nir.NIRGraph(nodes, list(zip(names, names[1:]))))
PY
python3 -m venv old
old/bin/pip install --quiet --disable-pip-version-check nir==1.0.4 numpy==2.4.6 h5py==3.16.0
old/bin/python - <<'PY'
import h5py
import nir

print("written by nir", nir.read_version("net.nir") if hasattr(nir, "read_version") else "1.0.8")
try:
    nir.read("net.nir")
except TypeError as error:
    print("TypeError:", error)
    assert "'v_reset'" in str(error), "changed: another error"
else:
    raise SystemExit("changed: the old version reads the file")
with h5py.File("net.nir", "r+") as file:
    del file["node/nodes/neurons/v_reset"]
print("without v_reset:", list(nir.read("net.nir").nodes))
PY
