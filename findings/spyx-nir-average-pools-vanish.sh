#!/usr/bin/env bash
# spyx 1.0.0: average pools of a NIR file vanish, without a word.
#
# Guess, written down before the run: nir.AvgPool2d is the pool of most networks that come from PyTorch; what from_nir cannot
#   read it refuses.
# Seen: a node that it does not know becomes None, and None is left out of the network. A pool in front of a convolution is
#   simply gone: the network runs on maps of twice the size. If the end of the network is made for any size, such as another
#   convolution with neurons, there is never an error. (to_nir prints a warning for what it leaves out; from_nir does not.)
# Whom it hurts: whoever reads convolutional networks of snntorch, SpikingJelly or norse in spyx.
# What to do: count: len(model.layers) must be the number of nodes less two. Write SumPool2d in place of AvgPool2d, and divide
#   the weights behind it by the size of the window.
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

one = np.ones((1, 1, 1, 1), np.float32)
two = np.array([2, 2])
nodes = {
    "input": nir.Input(np.array([1, 4, 4])),
    "a": nir.Conv2d((4, 4), one, 1, 0, 1, 1, np.zeros(1, np.float32)),
    "pool": nir.AvgPool2d(two, two, np.array([0, 0])),
    "b": nir.Conv2d((2, 2), one, 1, 0, 1, 1, np.zeros(1, np.float32)),
    "output": nir.Output(np.array([1, 2, 2])),
}
names = list(nodes)
graph = nir.NIRGraph(nodes, list(zip(names, names[1:])))
model, y = from_nir(graph, jnp.ones((1, 1, 4, 4, 1)))
print("layers:", [type(layer).__name__ for layer in model.layers], "answer of shape", y.shape, "where 2 x 2 are due")
assert [type(layer).__name__ for layer in model.layers] == ["Conv", "Conv"], "changed: the pool is there"
assert y.shape == (1, 1, 4, 4, 1), "changed: another shape"
PY
