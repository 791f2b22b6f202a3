# The two commands of the README are `make demo` and `make test`; each sets up what it needs in .venv, and nothing elsewhere.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# Closed forms, rules, configuration, records: what a change is most often about. No training, no browser, few processes.
FAST := canvas config doctor_evidence doctor_rules doctor_signal house initialize judge keyed metrics \
  optimizer period record schedule tail transfer vgg
FAST_TESTS := $(wildcard $(foreach name,$(FAST),tests/test_$(name).py tests/test_trials_$(name).py))

# A process a core. A file's tests stay together, but for what a process without work takes from the other's end.
IN_PARALLEL := -n auto --dist worksteal

BENCHMARKS := throughput loading overhead probe theory verdict_table

.PHONY: help demo test test-fast test-one lint types docs bench campaigns gallery clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

demo: $(VENV)/.ready  ## train VGG-B on handwritten digits, then write its report
	$(BIN)/trainability train

test: $(VENV)/.ready-dev  ## run the whole test suite
	$(BIN)/python -m pytest $(IN_PARALLEL)

test-fast: $(VENV)/.ready-dev  ## the tests that together take less than a minute
	$(BIN)/python -m pytest $(IN_PARALLEL) -m 'not slow' $(FAST_TESTS)

test-one: $(VENV)/.ready-dev  ## one file or one test: make test-one T=tests/test_house.py
	@test -n "$(T)" || { echo "name a test: make test-one T=tests/test_house.py::test_the_root_keeps_few_files" >&2; exit 2; }
	$(BIN)/python -m pytest $(T)

lint: $(VENV)/.ready-dev  ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-dev  ## static types
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.ready-docs  ## the pages of docs/ with a reference from the docstrings, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.ready-dev  ## run the benchmarks in turn, and write benchmarks/results/ (those that need data or hours are run by hand)
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py; done

campaigns: $(VENV)/.ready-dev  ## 1,500 kills and 100,000 damaged inputs; goes on where it was stopped, writes benchmarks/results/campaigns.json
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m campaigns

gallery: $(VENV)/.ready  ## make the pictures of README and docs/gallery.md anew, from real runs (needs chromium)
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python docs/gallery/make.py

clean:  ## remove the environment
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[lab]'
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs,tensorboard,wandb,lightning,transformers,cluster]'
	@touch $@

$(VENV)/.ready-docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@
