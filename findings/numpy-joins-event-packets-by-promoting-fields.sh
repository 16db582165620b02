#!/usr/bin/env bash
# numpy 2.4.6: joining packets of events, structured arrays of one and the same type, takes three times as long as their bytes.
#
# Guess, written down before the run: arrays whose types are identical are joined as their bytes are, so both take the same
#   time but for a small overhead.
# Seen: numpy.concatenate promotes the fields of each array with those before it, in Python (numpy._core._internal), though
#   the type is the same object: about 5 us an array. 30,000 packets of 100 events, as AEDAT4 files hold them, take 3.1 times
#   (from 2.9 to 5.7) as long as copies of their bytes joined and viewed as events, with the same result.
# Whom it hurts: readers of event cameras' packets, which join small structured arrays: it was a third of the time that
#   reading an AEDAT4 file took here.
# What to do: join bytes (b"".join of memory views) and view the whole once with numpy.frombuffer; or join views as void
#   of the same size.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import statistics
import time

import numpy as np

print("numpy", np.__version__)
EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("padding", "V3")])
whole = np.zeros(3_000_000, EVENT)
whole["t"] = np.arange(len(whole))
packets = [np.frombuffer(part.tobytes(), EVENT) for part in np.split(whole, 30_000)]


def joined():
    return np.concatenate(packets)


def by_bytes():
    return np.frombuffer(b"".join(packet.tobytes() for packet in packets), EVENT)


def seconds(make):
    begun = time.perf_counter()
    found = make()
    took = time.perf_counter() - begun
    assert found.dtype == EVENT and (found["t"] == whole["t"]).all()
    return took


ratios = [seconds(joined) / seconds(by_bytes) for _ in range(7)]
print(f"concatenate / bytes joined: {statistics.median(ratios):.1f} (from {min(ratios):.1f} to {max(ratios):.1f})")
assert statistics.median(ratios) > 2, "changed: structured arrays are joined as fast as their bytes"
PY
