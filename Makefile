# Callboard's chores. People, README and CI call the same targets; `make help` lists them.
#
# Every target sets up what it needs: a virtual environment in .venv, Callboard itself (editable) and the
# developers' tools. Name another interpreter with `make PYTHON=python3.13 …`.

.DEFAULT_GOAL := help
.NOTPARALLEL:
unexport PYTHONHOME PYTHONPATH

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
PIP := $(PY) -m pip --disable-pip-version-check --quiet

# The first Python that is new enough; looked for only when the environment has to be made.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)

WORKERS ?= auto
ARGS ?=
PINS ?= constraints.txt
DIR ?= tests/core/histories
DEMO_INPUT ?=
BENCH ?=
N ?=
PEERS ?=
INSTALL ?=
JSON ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: $(READY) ## make .venv and install everything into it (again, when pyproject.toml has changed)

.PHONY: demo
demo: $(READY) ## run a real pipeline, offline; DEMO_INPUT=folder reads your own documents
	@$(PY) docs/examples/demo.py $(if $(DEMO_INPUT),"$(DEMO_INPUT)")

.PHONY: test
test: $(READY) ## run the tests; ARGS="tests/core -k joins" runs a part
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

.PHONY: check
check: $(READY) ## everything that reads the code without running it
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-logo

.PHONY: format
format: $(READY) ## put the code in order, and the generated parts of the documents
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .
	@$(PY) docs/generate.py

.PHONY: histories
histories: $(READY) ## run golden histories; DIR=folder names others than our own
	@$(PY) tests/core/run_histories.py "$(DIR)"

.PHONY: bench
bench: $(READY) ## measure; BENCH=fanout N=10000 runs one, PEERS="dbos luigi" others beside us (INSTALL=1 gets them)
	@BENCH="$(BENCH)" N="$(N)" $(PY) bench/$(if $(PEERS),peers.py $(PEERS) $(if $(INSTALL),--install),bench.py) \
		$(if $(JSON),--json)

.PHONY: upgrade
upgrade: ## take the newest release of every library and tool, and write them down in constraints.txt
	@rm -rf $(VENV)
	@$(MAKE) --no-print-directory setup PINS=/dev/null
	@{ echo "# What the tests were last run with; written by make upgrade."; $(PIP) freeze --exclude-editable; } > constraints.txt
	@touch $(READY)

.PHONY: clean
clean: ## remove what these targets have made
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage*

# ── the environment ─────────────────────────────────────────────────────────────────────────────────────

$(READY): pyproject.toml constraints.txt | $(PY)
	@echo "installing Callboard and its tools into $(VENV) (a minute, once)" >&2
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --upgrade --constraint $(PINS) --editable . --group dev
	@touch $@

# Debian keeps ensurepip in a package of its own; without it no environment can be made.
$(PY):
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found. Install one, or name it:" \
		"make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing python$$version-venv, which $(PYTHON) needs to make a virtual environment" >&2; \
			export DEBIAN_FRONTEND=noninteractive; \
			apt-get -qq update >/dev/null && apt-get -qq install --no-install-recommends -y "python$$version-venv" >/dev/null; \
		else \
			echo "$(PYTHON) cannot make a virtual environment: its module ensurepip is missing." >&2; \
			echo "On Debian and Ubuntu: sudo apt-get install python$$version-venv, then run make again." >&2; \
			exit 1; \
		fi; }
	@$(PYTHON) -m venv --clear $(VENV)
