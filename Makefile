# What a user does, in one word each: `make demo`, `make test`. Everything lives in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := --directory runs/demo --configfile workflow/presets/demo.yaml
# All but the ablations and the search.
TARGETS := tables figures results/config.yaml

# Whole files to each process, in the order of tests/conftest.py.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-long lint docs format schema lock bench

## The whole workflow on synthetic sessions, in runs/demo.
demo: $(VENV)/runtime
	$(BIN)/snakemake --cores all --quiet rules reason host $(DEMO) -- $(TARGETS)
	$(BIN)/snakemake $(DEMO) --report report.html -- $(TARGETS)
	@echo
	@echo "Synthetic data, small budgets: what follows shows the workflow, not the paper's figures."
	@echo "  tables   runs/demo/paper_tables/   (coopt.tex, .csv, .md, ...)"
	@echo "  figures  runs/demo/figures/"
	@echo "  report   runs/demo/report.html"

## The test suite, random campaigns in their short versions.
test: $(VENV)/dev
	$(PYTEST) -m "not long"

## The campaigns whole: many kills, thousands of damaged files, each kernel for each kind of GPU.
test-long: $(VENV)/dev
	$(PYTEST) -m long

lint: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/codespell
	$(BIN)/hadolint Containerfile

## The documents as pages, in build/docs.
docs: $(VENV)/dev
	$(BIN)/mkdocs build

format: $(VENV)/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile workflow

## Side by side with other libraries, see docs/benchmarks.md: `make bench`, or single rows by
## `make bench ROWS="load train-tinyRSNN"`.
bench: $(VENV)/peers
	$(BIN)/python benchmarks/run.py $(ROWS)

## After changing the models in src/spikereach/config/.
schema: $(VENV)/runtime
	$(BIN)/python workflow/schemas/write.py

## After changing dependencies in pyproject.toml or requirements/dev.in.
lock: $(VENV)/dev
	$(BIN)/python requirements/lock.py

$(VENV)/runtime: requirements/runtime.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("spikereach needs \
	Python 3.11 or newer; this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements/runtime.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/dev: $(VENV)/runtime requirements/dev.lock
	$(BIN)/python -m pip install --quiet --requirement requirements/dev.lock
	touch $@

$(VENV)/peers: $(VENV)/runtime requirements/bench.txt
	rm -rf $@ && mkdir $@
	@grep -v '^#' requirements/bench.txt | while read -r peer; do \
		$(BIN)/python -m pip install --quiet --no-deps --target $@ "$$peer" || \
		echo "absent from the benchmarks: $$peer"; done
	touch $@
