# Needs python3 (3.11 to 3.13) and make; everything else comes from the package registries into .venv and node_modules.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test up check bench replay races soak chaos setup lock clean

help:  ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: setup  ## the whole promise on this machine, in little more than a minute
	$(BIN)/python -m demo

up: setup  ## start the local cloud in the foreground
	$(BIN)/slipway up

test: setup  ## all tests
	$(BIN)/python -m pytest

check: setup  ## format, lint, types, import contracts, templates
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit/templates

bench: setup  ## the benchmarks, as ratios in one run
	$(BIN)/python -m benchmarks

RECORDINGS ?= ../shared/kube_golden
REAL := $(if $(API_SERVER),--api-server $(API_SERVER) $(if $(TOKEN),--token $(TOKEN)) $(if $(CA),--ca $(CA)))

replay: setup  ## recorded Kubernetes exchanges against the stand-in, or API_SERVER=URL TOKEN=… CA=FILE
	$(BIN)/python -m tests.contract.kubernetes_stand_in.replay --recordings $(RECORDINGS) $(REAL) $(REPLAY)

races: setup  ## two hundred races of requests and uploads with the idle ladder (RACES=NUMBER)
	SLIPWAY_RACES=$(or $(RACES),200) $(BIN)/python -m pytest -q tests/e2e/test_ladder_races.py

soak: setup  ## ten minutes of load with rollouts and killed model servers (SOAK=SECONDS)
	$(BIN)/python -m benchmarks.soak $(SOAK)

chaos: setup  ## fifty kills of the Functions host during twenty uploads (CHAOS_KILLS=N, CHAOS_SEED=N)
	CHAOS_KILLS=$(or $(CHAOS_KILLS),50) $(BIN)/python -m pytest -q tests/e2e/test_chaos.py

setup: $(VENV)/.installed node_modules/.installed  ## what the others need; done once

LOCK := $(BIN)/uv pip compile --quiet --universal --upgrade --no-header --no-annotate --no-emit-index-url
PEERS := benchmarks/request/peers/requirements
WORKER := tests/contract/azure_worker/requirements

lock: setup  ## pin the dependencies anew
	$(LOCK) --python-version 3.11 pyproject.toml -o requirements.txt
	$(LOCK) --python-version 3.11 -c requirements.txt --group dev pyproject.toml -o requirements-dev.txt
	$(LOCK) --python-version 3.13 -c requirements.txt $(WORKER).in -o $(WORKER).txt
	$(LOCK) --python-version 3.11 $(PEERS).in -o $(PEERS).txt

clean:  ## remove what was installed and built; the local cloud's data in .slipway stays
	rm -rf $(VENV) .venv-worker .cache node_modules build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
		f"Slipway needs Python 3.11, 3.12 or 3.13; {sys.executable} is {v[0]}.{v[1]}. Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/.requirements: requirements-dev.txt $(VENV)/.python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.requirements
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# npm comes with Node.js as a Python package: the machine's own Node.js, if any, is not asked.
node_modules/.installed: package-lock.json $(VENV)/.requirements
	$(BIN)/python -m localcloud.npm ci --omit=optional --ignore-scripts --no-progress
	touch $@
