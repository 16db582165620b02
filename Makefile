# Each target makes what it needs: make, and python3 >= 3.11 with venv, are all that has to be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLING := $(VENV)/.installing
WITH_DOCS := $(VENV)/.installed-docs

.PHONY: help demo test test-slow lint docs

help:
	@echo 'make demo       train, prune and compare on the data that comes with the package (under 3 minutes)'
	@echo 'make test       the tests that take seconds'
	@echo 'make test-slow  the tests that take minutes'
	@echo 'make lint       ruff and mypy'
	@echo 'make docs       the documents as pages, into site/'

demo: $(INSTALLED)
	$(BIN)/snnprune train

# Workers share the processors: networks of tests are too small for threads of their own. A worker that dies ends the
# run: with another one in its place, the rest of its file would be waited for for ever.
TESTING := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --max-worker-restart 0

# The tests of a file share what they trained, so a file stays with one worker; slow ones are hundreds in one file.
# In the order of their names, as those with few tests are the long ones.
test: $(INSTALLED)
	$(TESTING) --dist loadfile --no-loadscope-reorder -m 'not slow'

test-slow: $(INSTALLED)
	$(TESTING) --dist worksteal -m slow

lint: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

docs: $(WITH_DOCS)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo 'site/index.html'

$(WITH_DOCS): $(INSTALLED)
	@$(BIN)/python -m pip install --disable-pip-version-check --editable '.[docs]'
	@touch $(WITH_DOCS)

# An install that was killed leaves $(INSTALLING) behind, and may leave half a package: begin again then. One
# that failed (no network, say) was undone by pip itself, and what was installed before stays of use.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'snnprune needs Python 3.11 or newer: make PYTHON=python3.12 ...' >&2; exit 1; }
	@if [ -e $(INSTALLING) ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m venv --clear $(VENV) || \
		{ echo 'no virtual environment could be made: on Debian, apt install python3-venv' >&2; exit 1; }; fi
	@touch $(INSTALLING)
	@$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev]'; \
		code=$$?; rm -f $(INSTALLING); exit $$code
	@touch $(INSTALLED)
