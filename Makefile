# PYTHON=python3.12 picks the interpreter; pip takes your own configuration (index, proxy, torch build).

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help quickstart check types unit lint format test suite long bench chaos simulate

in_range = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
ifeq ($(strip $(PYTHON)),)
PYTHON := $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell $(name) -c '$(in_range)' 2>/dev/null && echo $(name))))
endif

print_minor = import sys; print("%d.%d" % sys.version_info[:2])
minor := $(if $(PYTHON),$(shell $(PYTHON) -c '$(print_minor)' 2>/dev/null))
constraints := constraints/py$(subst .,,$(minor)).txt
bin := .venv/bin
ready := .venv/ready-$(minor)
ready_to_test := .venv/ready-to-test-$(minor)

help:  ## print this list
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

quickstart: $(ready)  ## set up .venv and run the quickstart sweep to its end
	@$(bin)/jit-sweep run quickstart

check: lint  ## what to run while you write: lint, types and the fast unit tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target types unit

types: $(ready_to_test)
	$(bin)/mypy

unit: $(ready_to_test)
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -n 2 --dist loadfile -m "not slow" tests/unit tests/test_layers.py

lint: $(ready_to_test)  ## ruff's rules and its formatting
	$(bin)/ruff check .
	$(bin)/ruff format --check .

format: $(ready_to_test)  ## let ruff mend and format every file
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

test: lint  ## lint, types and the suite, with Ray, PostgreSQL, S3 and MLflow
	@$(MAKE) --no-print-directory --jobs=2 types suite

suite: $(ready_to_test)
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long"

long: $(ready_to_test)  ## the tests that `make test` leaves out: a minute and more each, for before a release
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m long

bench: $(ready_to_test)  ## the measurements
	@$(bin)/python -m tests.bench

chaos: $(ready_to_test)  ## sweeps under 100 kills; CHAOS='--kills 20 --seed 7' for another plan
	@$(bin)/python -m tests.chaos $(CHAOS)

simulate: $(ready_to_test)  ## verdicts of drawn sweeps, then sweeps played from seeds; SIMULATE='--seconds 3600 --first 5000' for others, or longer
	@OMP_NUM_THREADS=1 $(bin)/python -m tests.simulation.verdict_rates
	@OMP_NUM_THREADS=1 $(bin)/python -m tests.simulation.promotion_rates
	@OMP_NUM_THREADS=1 $(bin)/python -m tests.simulation $(SIMULATE)

$(ready): pyproject.toml $(wildcard $(constraints))
	$(call install,.)
	@touch $@

$(ready_to_test): pyproject.toml $(wildcard $(constraints))
	$(call install,.[test])
	@touch $@ $(ready)

# An environment of another minor version, or a broken one, is made anew.
define install
@$(call checked_python)
@test "$$($(bin)/python -c '$(print_minor)' 2>/dev/null)" = $(minor) || $(PYTHON) -m venv --clear .venv
@echo "Installing into .venv with $(constraints); the first time takes a minute or more."
@$(bin)/python -m pip install --quiet --disable-pip-version-check -c $(constraints) -e '$(1)'
endef

# One line and exit status 2 where the interpreter cannot be used.
define checked_python
$(if $(PYTHON),,$(error no Python 3.11, 3.12 or 3.13 on PATH: install one, or name it, as in `make PYTHON=/path/to/python3.12`))\
$(if $(minor),,$(error PYTHON=$(PYTHON) does not run: name a Python 3.11, 3.12 or 3.13))\
$(if $(wildcard $(constraints)),,$(error Python must be 3.11, 3.12 or 3.13, got $(minor) from PYTHON=$(PYTHON): name another, as in `make PYTHON=python3.12`))\
$(if $(shell $(PYTHON) -c 'import ensurepip, venv' 2>&1),$(error Python $(minor) lacks its venv module: sudo apt-get install python$(minor)-venv))\
true
endef
