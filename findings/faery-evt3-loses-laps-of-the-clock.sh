#!/usr/bin/env bash
# faery 0.7.1: a sparse EVT3 recording that it wrote itself comes back with a different length.
#
# Guess, written down before the run: what the library writes to Prophesee's EVT3 it reads back, as it does with EVT2 and
#   DAT; the clock of EVT3 laps every 16.8 s, and a writer knows that.
# Seen: 41 events, one each second, span 40 s when written. Read back, EVT2 and DAT span 40 s; EVT3 spans less: the laps in
#   which fewer words of time stand than the decoder expects are lost, and no error or warning says so.
# Whom it hurts: who converts or stores recordings of a quiet scene in EVT3: bins of time, rates and labels by time shift.
# What to do: convert to EVT2, DAT or ES instead, or compare the span before and after.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check faery==0.7.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import faery
import numpy as np

events = np.zeros(41, dtype=faery.EVENTS_DTYPE)
events["t"] = np.arange(41) * 1_000_000
events["x"], events["y"], events["on"] = np.arange(41), np.arange(41), np.arange(41) % 2 == 0

spans = {}
for name, more in (("evt2.raw", {"version": "evt2"}), ("dat.dat", {}), ("evt3.raw", {"version": "evt3"})):
    faery.events_stream_from_array(events, dimensions=(346, 260)).to_file(name, **more)
    back = faery.events_stream_from_file(name).to_array()
    spans[name] = int(back["t"][-1] - back["t"][0])
    print(f"{name:9} {len(back)} events, span {spans[name]:>10,} us")
assert spans["evt2.raw"] == spans["dat.dat"] == 40_000_000, "changed: EVT2 or DAT"
assert spans["evt3.raw"] != 40_000_000, "changed: EVT3 keeps its laps"
PY
