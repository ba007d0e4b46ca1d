# Everything runs in .venv, installed from requirements/dev.lock; Python 3.11 or newer, pip and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The coming Airflow has an environment of its own.
NEXT_VENV := .venv-3.4
NEXT_INSTALLED := $(NEXT_VENV)/.installed
# So has the last public client that speaks Batch Processing V1, which tests run.
V1_VENV := .venv-sentinelhub-3.11.1
V1_INSTALLED := $(V1_VENV)/.installed

# Without bytecode every import of Airflow takes two to five times as long.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install install-3.4 demo demo-statistics demo-ui chaos chaos-3.4 clicks watcher fuzz test lint unit unit-3.4 \
  integration lock clean

help: ## what can be done here
	@grep -hE '^[a-z0-9.-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

install: $(INSTALLED) $(V1_INSTALLED) ## install everything into .venv
	@if command -v npm > /dev/null; then $(BIN)/python -P -m devtools.client_in_js; fi

# uv installs the same lock in a fifth of pip's time; pip takes over where uv cannot reach the package index.
$(INSTALLED): requirements/uv.lock requirements/dev.lock pyproject.toml
	@echo "Installing into $(VENV) from requirements/dev.lock ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes --compile-bytecode -r requirements/dev.lock \
	  || $(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

install-3.4: $(NEXT_INSTALLED) ## the same with Airflow 3.4, into .venv-3.4

$(NEXT_INSTALLED): requirements/airflow-3.4.lock pyproject.toml | $(INSTALLED)
	@echo "Installing into $(NEXT_VENV) from requirements/airflow-3.4.lock ..."
	@test -x $(NEXT_VENV)/bin/python || $(BIN)/python -m venv $(NEXT_VENV)
	@$(BIN)/uv pip install -q --python $(NEXT_VENV)/bin/python --require-hashes --compile-bytecode \
	  -r requirements/airflow-3.4.lock
	@$(NEXT_VENV)/bin/pip install -q --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(V1_INSTALLED): requirements/sentinelhub-3.11.1.lock | $(INSTALLED)
	@$(BIN)/python -m devtools.client_of_v1
	@touch $@

demo: $(INSTALLED) ## run the main job on a real Airflow and print its report
	@$(BIN)/python -m devtools.demo $(ARGS)

demo-statistics: $(INSTALLED) ## the second job: parcels to one table of statistics, with failures that are mended
	@$(BIN)/python -m devtools.demo statistics $(ARGS)

demo-ui: $(INSTALLED) ## the same, and leave the Airflow UI up until Ctrl-C
	@$(BIN)/python -m devtools.demo --ui $(ARGS)

chaos: $(INSTALLED) ## inject faults at every step, and verify what was started; ARGS=--long for more
	@$(BIN)/python -m devtools.chaos $(ARGS)

chaos-3.4: $(NEXT_INSTALLED) ## what a clear does on Airflow 3.4, which forgets the state of a task that is cleared
	@$(NEXT_VENV)/bin/python -m devtools.chaos --runs 0 --quick --actions clear $(ARGS)

clicks: $(INSTALLED) ## what a user's clicks create, start and cost, on a real Airflow
	@$(BIN)/python -m devtools.clicks $(ARGS)

watcher: $(INSTALLED) ## a watcher of the catalog reports each acquisition once, although its triggerer is killed
	@$(BIN)/python -m devtools.watcher $(ARGS)

fuzz: $(INSTALLED) ## odd requests: the simulator answers none with 500, and preflight agrees about each
	@$(BIN)/python -m devtools.fuzz $(ARGS)

test: lint unit integration ## lint, type-check and run every test

lint: $(INSTALLED) ## ruff, mypy and the direction of the arrows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

unit: $(INSTALLED) $(V1_INSTALLED) ## tests that need no Airflow processes
	@$(BIN)/pytest -q -n auto --maxprocesses 4 --dist worksteal -m "not integration"

unit-3.4: $(NEXT_INSTALLED) $(V1_INSTALLED) ## the same on Airflow 3.4
	@$(NEXT_VENV)/bin/pytest -q -n auto --maxprocesses 4 --dist worksteal -m "not integration" $(ARGS)

integration: $(INSTALLED) ## tests against real Airflow processes
	@$(BIN)/pytest -q -m integration

# The last one takes what it shares with dev.lock in the same versions, which are installed from uv's cache.
lock: $(INSTALLED) ## resolve all dependencies again
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
	  --no-header requirements/uv.in -o requirements/uv.lock
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
	  --no-header pyproject.toml --all-extras --group dev -o requirements/dev.lock
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
	  --no-header pyproject.toml requirements/airflow-3.4.in --all-extras --group dev \
	  -o requirements/airflow-3.4.lock
	@sed -n -e '/^sentinelhub==/d' -e 's/^\([a-z0-9].*\) \\$$/\1/p' requirements/dev.lock | \
	  $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
	  --no-header requirements/sentinelhub-3.11.1.in -c - -o requirements/sentinelhub-3.11.1.lock

clean: ## remove everything that was installed or built
	@rm -rf $(VENV) $(NEXT_VENV) $(V1_VENV) .node-sentinelhub-js .demo build dist
