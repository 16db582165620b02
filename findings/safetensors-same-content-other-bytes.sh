#!/usr/bin/env bash
# safetensors 0.8.0: the same tensors with the same metadata give other bytes in another process.
#
# Guess, written down before the run: a format made for hashing and comparing model files writes equal content as equal bytes.
# Seen: with two or more entries of metadata their order in the header changes from process to process (the header is made
#   of a hash map with a random seed), so the SHA-256 of the file changes. With one entry or none it is stable; tensors are
#   sorted and never differ.
# Whom it hurts: benches and papers that tell "the same network" by a checksum of model.safetensors, caches keyed by it,
#   tests that a resumed run ends with the same file bit for bit.
# What to do: put one entry into the metadata (a JSON object holds the rest), or hash tensors rather than files.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$dir"
cat > save.py <<'PY'
import hashlib
import json
import sys

import numpy as np
from safetensors.numpy import save

about = {"dt": "1e-3", "steps": "10", "sensor": "34x34", "classes": "10"}
metadata = {"one": {"about": json.dumps(about)}, "four": about}[sys.argv[1]]
print(hashlib.sha256(save({"weight": np.ones((3, 2), np.float32)}, metadata)).hexdigest()[:16])
PY
for entries in one four; do
    for _ in $(seq 12); do venv/bin/python save.py "$entries"; done | sort | uniq -c > "$entries"
    echo "metadata with $entries: $(wc -l < "$entries") different files in 12 processes"
done
[ "$(wc -l < one)" -eq 1 ] || { echo "changed: one entry is not stable"; exit 1; }
[ "$(wc -l < four)" -gt 1 ] || { echo "changed: four entries are stable now"; exit 1; }
