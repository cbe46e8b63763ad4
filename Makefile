# make sweep and make test do everything on a fresh machine: each sets up .venv by itself.

PYTHON ?= python3
BIN := .venv/bin
export MLFLOW_DISABLE_TELEMETRY := true

# of make sweep: SEEDS=50  ONLY="loss epochs"  JOBS=2  SETTLE=1  MAX_SEEDS=2000
SWEEP := $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS)) \
	$(if $(SETTLE),--settle) $(if $(MAX_SEEDS),--max-seeds $(MAX_SEEDS))

.PHONY: help sweep report status verify calibrate ui test lint format setup
.DELETE_ON_ERROR:

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

sweep: .venv/run.stamp  ## train and track what is not tracked yet, write reports/summary.html
	$(BIN)/qwerties sweep $(ONLY) $(SWEEP)

report: .venv/run.stamp  ## write reports/summary.html from the store alone
	$(BIN)/qwerties report

status: .venv/run.stamp  ## what is planned, tracked, missing
	$(BIN)/qwerties status

verify: .venv/run.stamp  ## check the store, retrain some networks with the notebook's loop (NETWORKS=20)
	$(BIN)/qwerties verify $(if $(NETWORKS),--networks $(NETWORKS))

calibrate: .venv/run.stamp  ## measure on trained networks whether the verdicts keep their promises (minutes)
	$(BIN)/python -m qwerties.calibration $(if $(POOL),--pool $(POOL)) $(if $(FAMILIES),--families $(FAMILIES)) $(if $(JOBS),--jobs $(JOBS))

ui: .venv/run.stamp  ## browse the runs in MLflow, on 127.0.0.1 (PORT=5000)
	$(BIN)/qwerties ui $(if $(PORT),--port $(PORT))

test: .venv/test.stamp  ## run the tests
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: .venv/lint.stamp  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/lint.stamp  ## lay the code out
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: .venv/run.stamp  ## only set up .venv

.venv/run.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "qwerties needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	@echo "setting up .venv, once; PyTorch is large"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -c constraints.txt -e .
	@touch $@

.venv/test.stamp: .venv/run.stamp
	$(BIN)/python -m pip install -c constraints.txt --group test
	@touch $@

.venv/lint.stamp: .venv/run.stamp
	$(BIN)/python -m pip install -c constraints.txt --group lint
	@touch $@
