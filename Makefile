# Everything here bootstraps its own .venv from the lock files; nothing else needs to be installed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
PEERS := .venv-bench/bin

.DEFAULT_GOAL := help
.PHONY: help demo up test bench check lint format lock clean

help: ## List the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# pip compiles bytecode as it installs, uv only when told; without it every start is three times slower.
ifdef UV
INSTALL = uv pip install -q --python $(BIN)/python --compile-bytecode
INSTALL_PEERS = uv pip install -q --python $(PEERS)/python --compile-bytecode
VENV = uv venv -q --python $(PYTHON)
else
INSTALL = $(BIN)/python -m pip install -q --disable-pip-version-check
INSTALL_PEERS = $(PEERS)/python -m pip install -q --disable-pip-version-check
VENV = $(PYTHON) -m venv
endif

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Sluice needs Python 3.11 or newer; try: make PYTHON=python3.12" >&2; exit 1; }
	$(VENV) .venv

# The lock names every package, so nothing is to be resolved: --no-deps.
.venv/.installed: requirements.txt pyproject.toml | .venv/bin/python
	$(INSTALL) --no-deps --require-hashes -r requirements.txt
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed
	$(INSTALL) --no-deps --require-hashes -r requirements-dev.txt
	@touch $@

# What the benchmark compares with; in an environment of its own, where it cannot bind what Sluice needs.
.venv-bench/bin/python: | .venv/bin/python
	$(VENV) .venv-bench

.venv-bench/.installed: requirements-bench.txt | .venv-bench/bin/python
	$(INSTALL_PEERS) --no-deps --require-hashes -r requirements-bench.txt
	@touch $@

demo: .venv/.installed ## Import samples/customers.csv through the Prefect flow into an embedded PostgreSQL
	@$(BIN)/sluice import samples/customers.csv --dataset customers || [ $$? -eq 3 ] \
	|| $(BIN)/sluice imports --dataset customers --json | grep -q '"status": "completed' # it was imported already

up: .venv/.installed ## The service in the foreground: database, Prefect with its UI, worker, deployments, inbox
	@exec $(BIN)/python -m deployments.up

# The tests of services mostly wait, so they run beside the others, and are shown after them.
test: .venv/.installed-dev ## The whole test suite
	@log=$$(mktemp); trap "rm -f $$log" EXIT; failed=0; \
	$(BIN)/python -m pytest tests/engine > $$log 2>&1 & services=$$!; \
	$(BIN)/python -m pytest tests/unit tests/postgres || failed=$$?; \
	wait $$services || failed=$$?; \
	cat $$log; exit $$failed

bench: .venv/.installed .venv-bench/.installed ## Time imports against psql \copy and others; ARGS="--help" lists the options
	@$(BIN)/python -m tests.bench $(ARGS)

check: lint ## Format, lint, types and the fast tests
	$(BIN)/python -m pytest -q tests/unit -m "not slow"

lint: .venv/.installed-dev ## Format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/.installed-dev ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

LOCK = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -q

lock: ## Rewrite the lock files (needs uv)
	$(LOCK) pyproject.toml --extra build -o requirements.txt
	$(LOCK) pyproject.toml --extra dev --extra build -c requirements.txt -o requirements-dev.txt
	$(LOCK) pyproject.toml --extra image --extra build -c requirements.txt -o requirements-image.txt
	$(LOCK) --group bench -o requirements-bench.txt

clean: ## Remove the environment and the embedded data
	-$(BIN)/python -c 'from sluice.settings import Settings; from sluice.embedded import stop_embedded; stop_embedded(Settings.from_environment().home)'
	rm -rf .venv .venv-bench .sluice
