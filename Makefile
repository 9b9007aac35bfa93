# What a user does, in one word each: `make demo`, `make test`. Everything lives in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := --directory runs/demo --configfile workflow/presets/demo.yaml
# All but the ablations and the search.
TARGETS := tables figures results/config.yaml

# What the user has set for other projects counts here only where it says from which index
# packages come and how to reach it.
KEPT := $(addprefix PIP_,INDEX_URL EXTRA_INDEX_URL NO_INDEX FIND_LINKS TRUSTED_HOST PROXY CERT \
	CLIENT_CERT TIMEOUT DEFAULT_TIMEOUT RETRIES CACHE_DIR NO_CACHE_DIR CONFIG_FILE \
	KEYRING_PROVIDER DISABLE_PIP_VERSION_CHECK ROOT_USER_ACTION)
unexport $(filter-out $(KEPT),$(filter PIP_%,$(.VARIABLES)))
unexport PYTHONHOME PYTHONPATH PYTHONOPTIMIZE PYTHONWARNINGS SNAKEMAKE_PROFILE
# pip.conf may say these, too.
PIP = PIP_NO_DEPS=0 PIP_REQUIRE_HASHES=0 PIP_DRY_RUN=0 $(BIN)/python -I -m pip install --quiet \
	--no-user --root=/ --no-binary=:none:
HERE := --target= --prefix='$(CURDIR)/$(VENV)'

# A home that cannot be written has no room for caches.
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
export XDG_CACHE_HOME ?= $(CURDIR)/.cache
endif

# Whole files to each process, in the order of tests/conftest.py.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# Two real recordings and the script that gives the second the layout of a session file.
RECORDINGS := ../shared/recordings
CONVERTER := ../shared/tools/to_reaching_mat.py
RECORDED := paper_tables/per_session.tex paper_tables/coopt.tex

# What runs the checks on a GPU: PYTHON where the user names one, else that of .venv if it is there.
DEVICE ?= cuda
OUT ?= build/gpu.json
GPU_PYTHON = $(if $(filter file,$(origin PYTHON)),$(or $(wildcard $(BIN)/python),$(PYTHON)),$(PYTHON))

.PHONY: recordings demo firmware test test-long lint docs format schema lock bench gpu

## The whole workflow on synthetic sessions, in runs/demo.
demo: $(VENV)/runtime
	$(BIN)/snakemake --cores all --quiet rules reason host $(DEMO) -- $(TARGETS)
	$(BIN)/snakemake $(DEMO) --report report.html -- $(TARGETS)
	@echo
	@echo "Synthetic data, small budgets: what follows shows the workflow, not the paper's figures."
	@echo "On sessions this short the order of the systems says nothing about recordings."
	@echo "  tables   runs/demo/paper_tables/   (coopt.tex, .csv, .md, ...)"
	@echo "  figures  runs/demo/figures/"
	@echo "  report   runs/demo/report.html"

## Fixed-point decoders of the demo as C on emulated microcontrollers, see docs/firmware.md: another
## run by RUN="--directory runs/mine --configfile mine.yaml".
RUN ?= $(DEMO)
firmware: $(VENV)/runtime
	$(BIN)/snakemake --cores all --quiet rules reason host $(RUN) -- paper_tables/deployment.md \
		figures/deployment.pdf

## Every system on two real recordings, three seeds on the short one: hours on two cores. See
## docs/recording.md; another folder is given by RECORDINGS=FOLDER.
recordings: $(VENV)/runtime runs/converted/contdata95.mat
	$(BIN)/snakemake --cores all --quiet rules reason host --directory runs/short-recording \
		--configfile workflow/presets/recording.yaml \
		--config folder=$(RECORDINGS) -- $(RECORDED)
	$(BIN)/snakemake --cores all --quiet rules reason host --directory runs/long-recording \
		--configfile workflow/presets/recording.yaml workflow/presets/long-recording.yaml \
		--config folder=runs/converted -- $(RECORDED)

runs/converted/contdata95.mat: | $(VENV)/runtime
	mkdir -p $(@D)
	$(BIN)/python $(CONVERTER) contdata95 $(RECORDINGS)/contdata95.mat $@.part
	mv $@.part $@

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

## Whether everything works on an NVIDIA GPU, in nine minutes, see docs/gpu.md. Installs nothing:
## `make gpu PYTHON=python3`; on the CPU, `make gpu DEVICE=interpreter`. WRITE_DOCS=yes writes
## docs/budget.md.
gpu:
	$(GPU_PYTHON) benchmarks/gpu --device $(DEVICE) --out $(OUT) $(if $(WRITE_DOCS),--write-docs)

## After changing config.yaml or the models in src/spikereach/config/.
schema: $(VENV)/runtime
	$(BIN)/python workflow/schemas/write.py
	$(BIN)/python benchmarks/gpu/stand_ins.py

## After changing dependencies in pyproject.toml or requirements/dev.in.
lock: $(VENV)/dev
	$(BIN)/python requirements/lock.py

# Whether .venv can be used: one that was begun and not finished, or whose Python has since gone,
# is mended.
WHOLE := $(BIN)/python -I -m pip --version >/dev/null 2>&1
ifneq ($(shell $(WHOLE) && echo yes),yes)
.PHONY: $(VENV)/runtime
endif

$(VENV)/runtime: requirements/runtime.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("spikereach needs \
	Python 3.11 or newer; this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	@$(WHOLE) || $(BIN)/python -I -m ensurepip >/dev/null 2>&1 || \
		$(PYTHON) -m venv --clear $(VENV) || { \
		echo "error: $(PYTHON) cannot make $(VENV): install what it lacks for that (Debian and" \
		"Ubuntu: apt install $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % \
		sys.version_info[:2])')), then run make again" >&2; exit 1; }
	$(PIP) $(HERE) --requirement requirements/runtime.lock
	$(PIP) $(HERE) --no-deps --editable .
	touch $@

$(VENV)/dev: $(VENV)/runtime requirements/dev.lock
	$(PIP) $(HERE) --requirement requirements/dev.lock
	touch $@

$(VENV)/peers: $(VENV)/runtime requirements/bench.txt
	rm -rf $@ && mkdir $@
	@grep -v '^#' requirements/bench.txt | while read -r peer; do \
		$(PIP) --no-deps --prefix= --target $@ "$$peer" || \
		echo "absent from the benchmarks: $$peer"; done
	touch $@
