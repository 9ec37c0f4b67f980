# The commands to know: demo test check sim bench docs. They need Python 3.11 to 3.13, make and a package registry.

PYTHON ?= python3
SEEDS ?= 500
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced

.PHONY: demo test test-all check sim bench docs e2e clean

demo: $(STAMP)
	$(BIN)/parsec demo

test: $(STAMP)
	$(BIN)/pytest tests/unit tests/simulation tests/conformance tests/integration tests/e2e

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_tidy.py

sim: $(STAMP)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

bench: $(STAMP)
	$(BIN)/python -m bench

docs: $(STAMP)
	$(BIN)/python -m docs

$(STAMP): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "Python %d.%d is not supported: this needs 3.11, 3.12 or 3.13 (set PYTHON=python3.12, say)" % v)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	@UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --quiet --locked --inexact
	@touch $@

clean:
	rm -rf $(VENV) .parsec .make
