# One environment for everything, in .venv; `make demo` and `make test` need nothing but Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := bcdseg tests benchmarks training examples

.PHONY: demo test check format clean

demo: $(VENV)/demo.done ## outline and classify the sample scans
	$(BIN)/bcdseg predict data/sample --out demo-output --overwrite

test: $(VENV)/dev.done ## run all tests
	$(BIN)/python -m pytest

check: $(VENV)/dev.done ## format, lint, types, import direction
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/dev.done ## put the code into shape
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean:
	rm -rf $(VENV) demo-output build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Installed again only when the requirements change.
$(VENV)/demo.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/demo.done
