# Everything runs in .venv, installed from requirements/dev.lock; Python 3.11 or newer, pip and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Without bytecode every import of Airflow takes two to five times as long.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo demo-statistics demo-ui chaos test lint unit integration lock clean

help: ## what can be done here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

install: $(INSTALLED) ## install everything into .venv

# uv installs the same lock in a fifth of pip's time; pip takes over where uv cannot reach the package index.
$(INSTALLED): requirements/uv.lock requirements/dev.lock pyproject.toml
	@echo "Installing into $(VENV) from requirements/dev.lock ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes --compile-bytecode -r requirements/dev.lock \
	  || $(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

demo: $(INSTALLED) ## run the main job on a real Airflow and print its report
	@$(BIN)/python -m devtools.demo $(ARGS)

demo-statistics: $(INSTALLED) ## the second job: parcels to one table of statistics, with failures that are mended
	@$(BIN)/python -m devtools.demo statistics $(ARGS)

demo-ui: $(INSTALLED) ## the same, and leave the Airflow UI up until Ctrl-C
	@$(BIN)/python -m devtools.demo --ui $(ARGS)

chaos: $(INSTALLED) ## kill everything at every step, and count what was started; ARGS=--long for more
	@$(BIN)/python -m devtools.chaos $(ARGS)

test: lint unit integration ## lint, type-check and run every test

lint: $(INSTALLED) ## ruff, mypy and the direction of the arrows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

unit: $(INSTALLED) ## tests that need no Airflow processes
	@$(BIN)/pytest -q -m "not integration"

integration: $(INSTALLED) ## tests against real Airflow processes
	@$(BIN)/pytest -q -m integration

lock: $(INSTALLED) ## resolve all dependencies again
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
	  --no-header requirements/uv.in -o requirements/uv.lock
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
	  --no-header pyproject.toml --extra simulator --extra geo --group dev -o requirements/dev.lock

clean: ## remove everything that was installed or built
	@rm -rf $(VENV) .demo build dist
