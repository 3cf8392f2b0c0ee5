# One environment for everything, in .venv; `make demo` and `make test` need nothing but Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := bcdseg tests benchmarks training examples docs
# Silences a notice about the next major version of mkdocs, which pyproject.toml excludes.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

.PHONY: demo test check docs docs-serve format clean

demo: $(VENV)/demo.done ## outline and classify the sample scans
	$(BIN)/bcdseg predict data/sample --out demo-output --overwrite

test: $(VENV)/dev.done ## run all tests
	$(BIN)/python -m pytest

check: $(VENV)/dev.done ## format, lint, types, import direction, the documentation
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(MKDOCS) build --quiet

docs: $(VENV)/dev.done ## build the site into site/; what is missing, broken or undocumented fails
	$(MKDOCS) build

docs-serve: $(VENV)/dev.done ## show the site, built anew when a page changes
	$(MKDOCS) serve

format: $(VENV)/dev.done ## put the code into shape
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean:
	rm -rf $(VENV) demo-output site build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Installed again only when the requirements change.
$(VENV)/demo.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/demo.done
