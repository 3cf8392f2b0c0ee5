# One environment for everything, in .venv; `make demo` and `make test` need nothing but Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := bcdseg tests benchmarks training examples scripts docs
# A process per core, at most four: each needs some 3 GB. Each of them, and each program that a test starts, would compile the
# library again if the environment forbade to keep what was compiled.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal
# Silences a notice about the next major version of mkdocs, which pyproject.toml excludes.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

.PHONY: demo test test-all gpu check fuzz audit-pins sbom licences docs docs-serve docs-version format clean

demo: $(VENV)/demo.done ## outline and classify the sample scans
	$(BIN)/bcdseg predict data/sample --out demo-output --overwrite

test: $(VENV)/dev.done ## run all tests but the slow ones
	$(PYTEST) -m "not slow"

test-all: $(VENV)/dev.done ## run all tests; print the slowest, and which lines none runs
	$(PYTEST) --cov --cov-report term:skip-covered --durations 30 --durations-min 5

gpu: $(VENV)/dev.done ## on a machine with a CUDA device: run the tests that need one, and print one table of speeds
	$(BIN)/python -m pytest -m gpu -q
	$(BIN)/python benchmarks/gpu.py --out gpu.md

check: $(VENV)/dev.done ## format, lint, types, import direction, the documentation
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(MKDOCS) build

FUZZ_SECONDS ?= 600
fuzz: $(VENV)/dev.done ## read mutated files with each reader for FUZZ_SECONDS; files that break a reader are put into fuzz-failures/
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS)

audit-pins: $(VENV)/dev.done ## look up known vulnerabilities of the installed dependencies
	$(BIN)/python scripts/supply_chain.py audit

sbom: $(VENV)/dev.done ## write the bill of materials of the installed dependencies, dist/bcdseg.cdx.json (CycloneDX)
	$(BIN)/python scripts/supply_chain.py sbom dist/bcdseg.cdx.json

licences: $(VENV)/dev.done ## print the licence of each installed dependency
	$(BIN)/python scripts/supply_chain.py licences

docs: $(VENV)/dev.done ## build the site into site/; what is missing, broken or undocumented fails
	$(MKDOCS) build

docs-serve: $(VENV)/dev.done ## serve the site, and rebuild it when a page changes
	$(MKDOCS) serve

docs-version: $(VENV)/dev.done ## commit the site of this version to the branch gh-pages of this clone, as the latest one; push it to publish
	PATH="$(abspath $(BIN)):$$PATH" NO_MKDOCS_2_WARNING=1 mike deploy --update-aliases $$($(BIN)/python -c "import bcdseg; print('.'.join(bcdseg.__version__.split('.')[:2]))") latest
	PATH="$(abspath $(BIN)):$$PATH" NO_MKDOCS_2_WARNING=1 mike set-default latest

format: $(VENV)/dev.done ## format the code, and fix what ruff can fix
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean:
	rm -rf $(VENV) demo-output fuzz-failures site build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Installed again only when the requirements change.
$(VENV)/demo.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/demo.done
