#!/usr/bin/env bash
# tonic 1.7.0: ToFrame for a sensor of one polarity writes p = 0 into the events that it is given.
#
# Guess, written down before the run: a transform returns something new, and leaves its argument as it was; the other
#   slicing transforms do.
# Seen: with sensor_size (700, 1, 1), as Tonic's own SHD and SSC have it, ToFrame sets p of every event of the caller's array
#   to 0. With two polarities the array stays as it was.
# Whom it hurts: who keeps events in memory and bins them more than once, or bins first and filters by polarity later: all
#   events are OFF from then on. Tonic's SHD gives p = 1 for every event before, and 0 after.
# What to do: give ToFrame a copy of the events.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check tonic==1.7.0 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import numpy as np
from tonic.transforms import ToFrame

kind = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])


def seen(polarities):
    events = np.array([(3, 0, 10, 1), (5, 0, 20, 1), (9, 0, 30, 1)], kind)
    ToFrame(sensor_size=(700, 1, polarities), n_time_bins=2)(events)
    print(f"{polarities} polarities: p of the caller's events is {events['p'].tolist()} afterwards, and was [1, 1, 1]")
    return events["p"].tolist()


assert seen(2) == [1, 1, 1], "changed: two polarities"
assert seen(1) == [0, 0, 0], "changed: the events stay as they were"
PY
