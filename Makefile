# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv first, if there is none: `make demo` installs
# what running needs, and `make test` adds what tests need besides.
#
#   make demo PYTHON=python3.12                                  another Python (3.11, 3.12 or 3.13)
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu   another source for torch alone: here its CPU build
#   make demo ARGS="cell=lstm"                                   more arguments: Hydra overrides, or pytest's (make test)
#   make test JOBS=8                                             tests in 8 processes instead of 2

PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
FRESH := $(VENV)-release
RUNNING := $(VENV)/.installed
TESTING := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --no-compile
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)
export PYTHONDONTWRITEBYTECODE :=
export PYTHONOPTIMIZE :=
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)

.PHONY: help demo test test-quick test-cpus lint audit release torture bench bench-quick

help:
	@echo 'make demo   train the default model on the embedded corpus, score it, and translate with it (minutes)'
	@echo 'make test   the tests (minutes)'
	@echo 'make test-quick  the unit tests that are not slow, of many cases two: for the loop of editing and testing'
	@echo 'make test-cpus  the numerical tests again, as on an older CPU and with either library of matrix products'
	@echo 'make lint   ruff and mypy'
	@echo 'make audit  known vulnerabilities of the locked versions (asks the advisory database over the network)'
	@echo 'make release  sdist and wheel, their metadata checked, and the wheel tried in a fresh environment'
	@echo 'make torture  break it on purpose: kill training and translating; attacks, dirty text (experiments/reliability)'
	@echo 'make bench  how fast this machine trains and searches (experiments/throughput); bench-quick: five minutes'

demo: $(RUNNING)
	$(BIN)/seq2seq demo $(ARGS)

# A file of tests stays in one process, for its fixtures; the files of long tests come first, so that both end together.
test: $(TESTING)
	$(PYTEST) --dist loadfile --no-loadscope-reorder $(ARGS)

test-quick: $(TESTING)
	$(PYTEST) --dist worksteal --quick $(ARGS)

# Kernels differ between CPUs and libraries; what is promised must not. SEQ2SEQ_PRODUCTS=onednn takes small products, too.
NUMERICAL := $(PYTEST) -m 'numerical and not slow'
PRODUCTS := tests/unit/nn/test_matmul.py tests/unit/inference/test_stepper.py tests/unit/nn/contexts/test_attention_through_time.py \
    tests/unit/models/test_models.py tests/unit/inference/test_translator.py tests/system/test_formats.py

test-cpus: $(TESTING)
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 $(NUMERICAL) $(ARGS)
	SEQ2SEQ_PRODUCTS=torch $(NUMERICAL) $(PRODUCTS) $(ARGS)
	SEQ2SEQ_PRODUCTS=onednn $(NUMERICAL) $(PRODUCTS) $(ARGS)

lint: $(TESTING)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

audit: $(TESTING)
	$(BIN)/python -m pip_audit --strict --disable-pip --no-deps --requirement constraints.txt $(ARGS)

release: $(TESTING)
	rm -rf dist $(FRESH)
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	'$(PYTHON)' -m venv $(FRESH)
	$(subst $(BIN),$(FRESH)/bin,$(PIP)) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(subst $(BIN),$(FRESH)/bin,$(PIP)) -c constraints.txt hatchling setuptools setuptools-scm
	$(subst $(BIN),$(FRESH)/bin,$(PIP)) -c constraints.txt --no-build-isolation dist/*.whl
	$(FRESH)/bin/python experiments/release.py CITATION.cff
	rm -rf $(FRESH)

torture: $(TESTING)
	$(BIN)/python -m experiments.reliability.kill $(ARGS)
	OMP_NUM_THREADS=1 $(BIN)/python -m experiments.reliability.kill_translation --kills 100
	OMP_NUM_THREADS=1 $(BIN)/python -m experiments.reliability.kill_translation --everywhere --chunk 40
	OMP_NUM_THREADS=1 $(BIN)/python -m experiments.reliability.fuzz --minutes 10
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit/bundle/test_attacks.py tests/system/test_dirty_text.py \
	    tests/unit/models/test_numerical_torture.py tests/unit/training/configuration/test_schema.py tests/system/test_large_files.py

bench: $(RUNNING)
	$(BIN)/python -m experiments.throughput.run $(ARGS)

bench-quick: $(RUNNING)
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
# Bytecode is made of what is imported, then (--no-compile): making it of everything takes longer than all the rest.
$(RUNNING): constraints.txt pyproject.toml | $(BIN)/python
	$(PIP) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP) -c constraints.txt hatchling setuptools setuptools-scm
	$(PIP) -c constraints.txt --no-build-isolation -e .
	@touch $@

$(TESTING): $(RUNNING)
	$(PIP) -c constraints.txt --no-build-isolation -e '.[dev,sweep,tune,export,serve]'
	@touch $@
