#!/usr/bin/env bash
# sinabs 3.1.3: LIF neurons behind a convolution cannot be read from NIR, IF neurons can.
#
# Guess, written down before the run: the shapes of neurons do not matter to from_nir, as they do not for nir.IF.
# Seen: it asks `any(node.v_leak) != 0`, Python's any over a numpy array, where (v_leak != 0).any() was meant. That works for
#   one axis. Behind a convolution v_leak has three, as NIR's type check wants it, and any() raises ValueError: The truth
#   value of an array with more than one element is ambiguous. The message names no node.
# Whom it hurts: whoever reads a convolutional network of LIF neurons in sinabs. That IF neurons work (they are not asked)
#   makes it look like a fault of the file.
# What to do: before from_nir, for each nir.LIF: node.v_leak = node.v_leak.ravel(). It is not used for anything else.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check sinabs==3.1.3 nir==1.0.4 nirtorch==2.0.2 torch==2.14.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import warnings

warnings.simplefilter("ignore")
import nir
import numpy as np
import sinabs.nir


def graph(neurons):
    nodes = {"input": nir.Input(np.array([1, 2, 2])), "neurons": neurons, "output": nir.Output(np.array([1, 2, 2]))}
    names = list(nodes)
    return nir.NIRGraph(nodes, list(zip(names, names[1:])))


ones = np.ones((1, 2, 2), np.float32)
print("IF: ", type(sinabs.nir.from_nir(graph(nir.IF(ones, ones)), batch_size=1)).__name__)
lif = nir.LIF(tau=10 * ones, r=ones, v_leak=0 * ones, v_threshold=ones)
try:
    sinabs.nir.from_nir(graph(lif), batch_size=1)
except ValueError as error:
    print("LIF: ValueError:", error)
    assert "ambiguous" in str(error), "changed: another error"
else:
    raise SystemExit("changed: LIF neurons of three axes are read")
lif.v_leak = lif.v_leak.ravel()
print("LIF with v_leak.ravel():", type(sinabs.nir.from_nir(graph(lif), batch_size=1)).__name__)
PY
