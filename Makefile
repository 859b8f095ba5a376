# make quickstart    sets up .venv and runs the quickstart sweep to its end
# make test          the same set-up plus the test tools, then linters, types and the whole suite
# make bench         the same set-up, then the measurements
# make chaos         the same set-up, then sweeps under 100 kills; CHAOS='--kills 20 --seed 7' for another plan
# PYTHON=python3.12 picks the interpreter; pip takes your own configuration (index, proxy, torch build).

.DELETE_ON_ERROR:
.PHONY: quickstart test bench chaos

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

quickstart: $(ready)
	@$(bin)/jit-sweep run quickstart

test: $(ready_to_test)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/python -m pytest

bench: $(ready_to_test)
	@$(bin)/python -m tests.bench

chaos: $(ready_to_test)
	@$(bin)/python -m tests.chaos $(CHAOS)

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
