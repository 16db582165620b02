#!/usr/bin/env bash
# samna 0.48.6 (needed by sinabs 3.1.3): what the index holds is a stand-in, whose import runs pip and replaces itself.
#
# Guess, written down before the run: a package that pip has installed is there, and importing it changes nothing on disk.
# Seen: the wheel is a few kilobytes. `import samna` calls `pip install --force-reinstall samna==0.48.6` with the index of its
#   makers, in the environment that runs, and then loads what came. Where that index cannot be reached, the import raises
#   CalledProcessError, after minutes of retries; a lock file, a hash check or an audit of the index sees the stand-in only.
#   (Here pip is not run: its command is caught.)
# Whom it hurts: clusters without a way out, images that are built once and read only, and whoever runs sinabs.backend.dynapcnn
#   (Speck) in such a place. sinabs itself imports without samna.
# What to do: install the real package with --index-url of the makers while the environment is built, and import it once
#   there.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check samna==0.48.6
cd "$dir"
venv/bin/python - <<'PY'
import pathlib
import subprocess
import sys

called = []


def caught(words, *_args, **_more):
    called.append([str(word) for word in words])
    raise SystemExit(7)


subprocess.check_call = caught
try:
    import samna  # noqa: F401
except SystemExit as stop:
    assert stop.code == 7
size = sum(f.stat().st_size for f in pathlib.Path(sys.prefix).glob("lib/*/site-packages/samna/*.py"))
print("import samna, of", size, "bytes, calls:", *called[0][1:6])
assert called and {"pip", "install", "--force-reinstall"} <= set(called[0]), "changed: the import runs something else"
PY
