# esrgan-lightning: `make demo` and `make test` set up everything they need.
PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
# A folder with Set5/HR/… to evaluate the demo on; without it the held-out photos serve.
BENCHMARK_SETS ?= $(wildcard ../shared/data)
DEMO_MINUTES ?= 5
PYTEST_ARGS ?=
# Containers set it to stay small; every process would compile torch and Lightning anew, for 20 s more.
unexport PYTHONDONTWRITEBYTECODE
# From Python 3.12 on it costs little to trace lines; before, as much as four fifths of the quick tests' time.
CHEAP_TRACING := $(shell $(PYTHON) -c 'import sys; print("yes" if sys.version_info >= (3, 12) else "")')
COVERAGE ?= $(CHEAP_TRACING)
export COVERAGE_CORE ?= $(if $(CHEAP_TRACING),sysmon,ctrace)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint type format wheel bench docs site notebooks lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## the virtual environment .venv with every dependency and the commands in .venv/bin

# The stamp is newer than what it was made from, so that a second call has nothing to do.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "$(PYTHON) is no Python 3.11 to 3.13: name one, make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv && $(BIN)/uv --version | grep -q "$(UV_VERSION)" || $(BIN)/python -m pip install -q uv==$(UV_VERSION)
	$(BIN)/uv pip sync -q -p $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install -q -p $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup  ## train both stages on embedded photos, evaluate, interpolate, draw runs/demo/comparison.png
	$(BIN)/esrgan demo --minutes $(DEMO_MINUTES) $(if $(BENCHMARK_SETS),--sets-root $(BENCHMARK_SETS))

# One test process for each core, each of one thread: the networks in tests are too small for more.
test: setup  ## every test; for a part of them: PYTEST_ARGS="-m 'not slow' --no-cov"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup \
		$(if $(COVERAGE),--cov --cov-report=term --cov-fail-under=90) $(PYTEST_ARGS)

lint: setup  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: setup  ## mypy --strict
	$(BIN)/mypy

format: setup  ## mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: setup  ## build dist/*.whl and dist/*.tar.gz, the same bytes wherever a commit is built
	rm -rf build dist
	umask 022; SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*

bench: setup  ## every benchmark at its quick size
	@set -e; for script in $(sort $(wildcard benchmarks/[a-z]*.py)); do \
		$(BIN)/python $$script $$(grep -qe --quick $$script && echo --quick); done

notebooks: setup  ## execute the notebooks at a small size
	$(BIN)/python -m pytest tests/test_notebooks.py

docs: site  ## the site, and a test of each command and block of code in README.md and docs/
	$(BIN)/python -m pytest tests/test_readme.py

site: setup  ## the documentation as a site in build/site, without a dead link
	$(BIN)/mkdocs build --strict

# All extras but pi, whose licence is noncommercial: dev names the others.
lock: $(STAMP)  ## renew requirements.lock from pyproject.toml
	$(BIN)/uv pip compile -q pyproject.toml --extra dev --extra notebooks --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o requirements.lock

clean:  ## remove the environment, builds and caches (runs/ stays)
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage htmlcov
