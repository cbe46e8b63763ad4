# make sweep and make test do everything on a fresh machine: each sets up .venv by itself.

PYTHON ?= python3
BIN := .venv/bin
export MLFLOW_DISABLE_TELEMETRY := true

# of make sweep: SEEDS=50  MAX_SEEDS=2000  SETTLE=primary|all|none  ONLY="loss epochs"  JOBS=2  DEVICE=auto  DRY_RUN=1
#   BACKEND=dask SCHEDULER=tcp://127.0.0.1:8786
SWEEP := $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS)) \
	$(if $(SETTLE),--settle $(SETTLE)) $(if $(DRY_RUN),--dry-run) $(if $(MAX_SEEDS),--max-seeds $(MAX_SEEDS)) $(if $(DEVICE),--device $(DEVICE)) \
	$(if $(BACKEND),--backend $(BACKEND)) $(if $(SCHEDULER),--scheduler $(SCHEDULER))

.PHONY: help sweep map report status verify calibrate bench ui test test-fast lint format docs setup
.DELETE_ON_ERROR:

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

sweep: .venv/run.stamp $(if $(filter dask,$(BACKEND)),.venv/cluster.stamp)  ## train and track what is not tracked yet, write reports/summary.html
	$(BIN)/qwerties sweep $(ONLY) $(SWEEP)

map: .venv/run.stamp  ## spread two settings over a picture (X= Y= X_RANGE=1e-3:1 Y_RANGE= SIZE=100 SEEDS=2 SHOW=gain JOBS= MAP="--epochs 500")
	$(BIN)/qwerties map $(if $(X),--x $(X)) $(if $(Y),--y $(Y)) $(if $(X_RANGE),--x-range=$(X_RANGE)) \
		$(if $(Y_RANGE),--y-range=$(Y_RANGE)) $(if $(X_SCALE),--x-scale $(X_SCALE)) $(if $(Y_SCALE),--y-scale $(Y_SCALE)) \
		$(if $(SIZE),--size $(SIZE)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SHOW),--show $(SHOW)) $(if $(JOBS),--jobs $(JOBS)) $(MAP)

report: .venv/run.stamp  ## write reports/summary.html from the store alone
	$(BIN)/qwerties report

status: .venv/run.stamp  ## what is planned, tracked, missing
	$(BIN)/qwerties status

verify: .venv/run.stamp  ## check the store, retrain some networks with the notebook's loop (NETWORKS=20)
	$(BIN)/qwerties verify $(if $(NETWORKS),--networks $(NETWORKS))

calibrate: .venv/run.stamp  ## measure error rate and price of the intervals beside Student's t, on trained networks (POOL=20000 SEQUENCES=5000; minutes)
	$(BIN)/python -m benchmarks.calibration $(if $(POOL),--pool $(POOL)) $(if $(SEQUENCES),--sequences $(SEQUENCES)) $(if $(JOBS),--jobs $(JOBS))

bench: .venv/bench.stamp  ## measure side by side with other ways (PARTS="training tracking network server growth map gpu tuning sweep", REPEATS=3, QUICK=1; about eleven minutes)
	$(BIN)/python -m benchmarks $(PARTS) $(if $(REPEATS),--repeats $(REPEATS)) $(if $(QUICK),--quick)

ui: .venv/run.stamp  ## browse the runs in MLflow, on 127.0.0.1 (PORT=5000)
	$(BIN)/qwerties ui $(if $(PORT),--port $(PORT))

PYTEST = $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: .venv/test.stamp  ## run all tests
	$(PYTEST)

test-fast: .venv/test.stamp  ## run the tests that need no server, no browser and not much time
	$(PYTEST) -m "not slow and not server and not browser"

docs: .venv/test.stamp  ## refresh the generated parts of the documentation from this code and the store of `make sweep`
	$(BIN)/python docs/refresh.py

lint: .venv/lint.stamp  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: .venv/lint.stamp  ## lay the code out
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: .venv/run.stamp  ## only set up .venv

# .venv holds the path of its folder: it is set up again where the folder was moved or copied
MOVED := $(shell test "$$(cat .venv/folder 2>/dev/null)" = "$$(pwd -P)" || echo moved)

.PHONY: moved
moved:
	@rm -rf .venv

# pip's output is shown only where it fails
define install
	@$(BIN)/python -m pip install -c constraints.txt $(1) > .venv/pip.log 2>&1 || { cat .venv/pip.log; exit 1; }
	@touch $@
endef

.venv/run.stamp: pyproject.toml constraints.txt $(MOVED)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "qwerties needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	@echo "setting up .venv, once; PyTorch is large, this takes a few minutes"
	@$(PYTHON) -m venv .venv
	@pwd -P > .venv/folder
	@$(BIN)/python -m pip install --upgrade pip > .venv/pip.log 2>&1 || { cat .venv/pip.log; exit 1; }
	$(call install,-e .)

.venv/cluster.stamp: .venv/run.stamp
	$(call install,-e '.[cluster]')

.venv/bench.stamp: .venv/run.stamp
	$(call install,-e '.[bench]')

.venv/test.stamp: .venv/run.stamp
	@echo "installing what the tests need, once"
	$(call install,--group test)

.venv/lint.stamp: .venv/run.stamp
	@echo "installing what the checks need, once"
	$(call install,--group lint)
