#!/usr/bin/env bash
# spikingjelly 2.0.0: the data set SpikingSpeechCommands lists the archives of another one, Spiking Heidelberg Digits.
#
# Guess, written down before the run: SpikingSpeechCommands lists ssc_train, ssc_valid and ssc_test, the three files that it
#   opens later.
# Seen: resource_url_md5() lists shd_train.h5.zip and shd_test.h5.zip, with their checksums. So the data set cannot be prepared
#   from what its own list says: the files that it opens are not in these archives.
# Whom it hurts: who follows the list (by script or by hand) downloads 20 spoken digits for 35 spoken commands.
# What to do: get the three ssc archives from zenkelab.org by hand, and unpack them yourself.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps spikingjelly==2.0.0
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
import ast
import pathlib
import sysconfig

# The list is read from the source, so that torch need not be installed.
source = pathlib.Path(sysconfig.get_paths()["purelib"], "spikingjelly/datasets/shd.py").read_text()
kind = next(
    node
    for node in ast.walk(ast.parse(source))
    if isinstance(node, ast.ClassDef) and node.name == "SpikingSpeechCommands"
)
texts = {node.value for node in ast.walk(kind) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
listed = sorted(text for text in texts if text.endswith(".h5.zip") and "/" not in text)
print("archives that it lists:", listed)
print("files that it opens begin with:", sorted(text for text in texts if text == "ssc_"))
assert "ssc_" in texts, "changed: it opens other files"
assert listed and all(name.startswith("shd_") for name in listed), "changed: other archives"
PY
