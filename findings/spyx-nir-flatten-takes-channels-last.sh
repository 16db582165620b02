#!/usr/bin/env bash
# spyx 1.0.0: a dense layer behind a convolution gets its inputs in another order than NIR says.
#
# Guess, written down before the run: spyx runs channels last and NIR is channels first; from_nir permutes kernels of
#   convolutions and constants of neurons, and the columns of the layer behind a Flatten as well.
# Seen: it permutes all but the latter. Flatten hands on height x width x channels, and the weights of the next layer are
#   for channels x height x width. Shapes fit, since the products are equal. With one channel, or one place, both orders
#   agree, so that a small test does not show it. to_nir leaves it out as well, so that a round trip within spyx is right,
#   and what others read of such a file is not.
# Whom it hurts: whoever moves a convolutional network between spyx and anything else through NIR: chance accuracy, no error.
# What to do: weight.reshape(-1, C, H, W).transpose(0, 2, 3, 1).reshape(weight.shape) of the layer behind the Flatten before
#   from_nir; the inverse after to_nir.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check spyx==1.0.0 jax==0.10.2 nir==1.0.8 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import os

os.environ["JAX_PLATFORMS"] = "cpu"
import jax.numpy as jnp
import nir
import numpy as np
from spyx.nir import from_nir

C, H, W = 2, 1, 2
identity = np.eye(C, dtype=np.float32).reshape(C, C, 1, 1)
weight = np.array([[1000.0, 100.0, 10.0, 1.0]], np.float32)
nodes = {
    "input": nir.Input(np.array([C, H, W])),
    "conv": nir.Conv2d((H, W), identity, 1, 0, 1, 1, np.zeros(C, np.float32)),
    "flatten": nir.Flatten({"input": np.array([C, H, W])}, 0, -1),
    "fc": nir.Linear(weight),
    "output": nir.Output(np.array([1])),
}
names = list(nodes)
graph = nir.NIRGraph(nodes, list(zip(names, names[1:])))
x = np.array([1.0, 2.0, 3.0, 4.0], np.float32).reshape(C, H, W)
_, y = from_nir(graph, jnp.asarray(x.transpose(1, 2, 0)[None, None]))
print("weights (1000, 100, 10, 1) times channels first (1, 2, 3, 4): 1234; spyx:", float(y.ravel()[0]))
assert float(y.ravel()[0]) == 1324.0, "changed: another order"
PY
