# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv first, if there is none.
#
#   make demo PYTHON=python3.12                                  another Python (3.11, 3.12 or 3.13)
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu   another source for torch alone: here its CPU build
#   make demo ARGS="cell=lstm"                                   more arguments: Hydra overrides, or pytest's (make test)

PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)

.PHONY: help demo test lint audit torture bench bench-quick

help:
	@echo 'make demo   train the default model on the embedded corpus, score it, and translate with it (minutes)'
	@echo 'make test   the tests'
	@echo 'make lint   ruff and mypy'
	@echo 'make audit  known vulnerabilities of the locked versions (asks the advisory database over the network)'
	@echo 'make torture  break it on purpose: kill training and translating; attacks, dirty text (experiments/reliability)'
	@echo 'make bench  how fast this machine trains and searches (experiments/throughput); bench-quick: five minutes'

demo: $(STAMP)
	$(BIN)/seq2seq demo $(ARGS)

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

audit: $(STAMP)
	$(BIN)/python -m pip_audit --strict --disable-pip --no-deps --requirement constraints.txt $(ARGS)

torture: $(STAMP)
	$(BIN)/python -m experiments.reliability.kill $(ARGS)
	OMP_NUM_THREADS=1 $(BIN)/python -m experiments.reliability.kill_translation --kills 100
	OMP_NUM_THREADS=1 $(BIN)/python -m experiments.reliability.kill_translation --everywhere --chunk 40
	OMP_NUM_THREADS=1 $(BIN)/python -m experiments.reliability.fuzz --minutes 10
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit/test_attacks.py tests/system/test_dirty_text.py \
	    tests/unit/test_numerical_torture.py tests/unit/test_configuration.py tests/system/test_large_files.py

bench: $(STAMP)
	$(BIN)/python -m experiments.throughput.run $(ARGS)

bench-quick: $(STAMP)
	$(BIN)/python -m experiments.throughput.run --quick $(ARGS)

$(BIN)/python:
	@command -v '$(PYTHON)' > /dev/null || { echo 'make: there is no $(PYTHON): install Python 3.11, 3.12 or 3.13,' \
	    'or name one with PYTHON=...' >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo \
	    "make: $(PYTHON) is $$('$(PYTHON)' --version 2>&1), but 3.11, 3.12 or 3.13 is needed:" \
	    'name one with PYTHON=...' >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2> /dev/null || { echo 'make: $(PYTHON) has no venv module:' \
	    'install it (Debian and Ubuntu: apt install python3-venv) and call make again' >&2; exit 1; }
	'$(PYTHON)' -m venv $(VENV)

# torch comes first and alone (--no-deps): its own index need not have the locked versions of what it depends on. The
# build tools (those of setuptools for antlr4 and seqeval, which have no wheel) come before the project: pip would take
# unlocked ones otherwise.
$(STAMP): constraints.txt pyproject.toml | $(BIN)/python
	$(PIP) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP) -c constraints.txt hatchling setuptools setuptools-scm
	$(PIP) -c constraints.txt --no-build-isolation -e '.[dev,sweep,tune,export]'
	@touch $@
