# make demo: sets everything up and runs the main job. make test: sets everything up and tests.
# make test-all: all that takes longer, too.
# make docs: sets everything up and builds the site in build/site.
# make build: makes the source distribution and the wheel, dist/, and checks what indexes show.
# make versions: tests with each Python of PYTHONS, and with the lowest version of each dependency.
# make bench: sets everything up and measures speed and memory; DEVICE=cuda on a GPU.
# make gpu: sets everything up and does all that a GPU is wanted for; started again, it goes on.
# GPU_OPTIONS="--minutes 60 --data Task04_Hippocampus" are those of `python -m benchmarks.gpu run`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEVICE ?= cpu
WORK ?= gpu
PYTHONS ?= 3.10 3.11 3.12 3.13 3.14
# A file of pip's.
CONSTRAINTS ?=
PIP := $(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
GPU_OPTIONS ?=

.PHONY: demo test quick test-all versions lint docs build bench gpu clean

# Rebuilt when the metadata or the start-up file changes; the code itself is installed editable.
$(VENV)/.demo: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) --editable ".[test]"
	@# The surface metrics are compared with MONAI's; without its dependencies, so that torch stays.
	$(PIP) --no-deps "monai>=1.6"
	touch $@

demo: $(VENV)/.demo
	$(BIN)/nnunet-attention demo -o demo

# A worker for each core, on which torch's threads would only wait for each other. A file's tests
# stay together, for they share what is costly to make. A worker that crashes ends the run: with
# another one in its place xdist would wait for ever at the end.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile \
	--no-loadscope-reorder --max-worker-restart 0

# What takes a quarter of an hour on two cores: all quick tests, and the main job on real data.
test: $(VENV)/.test lint quick

quick: $(VENV)/.test
	$(PYTEST) -m "main or not slow and not exhaustive"

# Everything, real SLURM jobs and trainings of minutes too, with how much of the code it runs: a
# whole run in November 2026 ran 98 % of the lines.
test-all: $(VENV)/.test lint
	$(PYTEST) -m "" --cov --cov-fail-under 97

$(VENV)/.docs: $(VENV)/.demo
	$(PIP) --editable ".[docs]"
	touch $@

# The reference is of the package as it is installed: trainers/ and plans/ stand elsewhere here.
docs: $(VENV)/.docs
	rm -rf build  # where an old build would add modules that are gone
	$(PIP) --no-deps --no-build-isolation --target build/package .
	@# Not --quiet, which hides the warnings that --strict counts.
	$(BIN)/mkdocs build --strict
	du -sh build/site

build: $(VENV)/.demo
	$(PIP) build twine
	rm -rf build dist  # where an old build would add modules that are gone
	@# The wheel is made from the source distribution, and so shows that it is whole.
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

# What is not there is left out, and named at the end; what fails does not stop the others. The
# lowest versions are tested with the first Python that is there, and may warn: what is old warns of
# what has become old since.
versions: $(VENV)/.demo
	@failed=; missing=; \
	for version in $(PYTHONS); do \
		if ! python$$version -c "" 2> /dev/null; then missing="$$missing $$version"; continue; fi; \
		$(MAKE) quick PYTHON=python$$version VENV=.venv-$$version || failed="$$failed $$version"; \
		lowest="$${lowest:-$$version}"; \
	done; \
	if [ -n "$$lowest" ]; then \
		$(BIN)/python .ci/lowest.py > $(VENV)/lowest.txt && \
		PYTEST_ADDOPTS="-W default" $(MAKE) quick PYTHON=python$$lowest \
			VENV=.venv-lowest CONSTRAINTS=$(VENV)/lowest.txt || failed="$$failed lowest-versions"; \
	fi; \
	echo "not here, and not tested:$${missing:- none}; failed:$${failed:- none}"; \
	[ -z "$$failed" ]

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.performance --device $(DEVICE)
	$(BIN)/python -m benchmarks.resampling --device $(DEVICE)

gpu: $(VENV)/.test
	$(BIN)/python -m benchmarks.gpu run -w $(WORK) $(GPU_OPTIONS)

lint: $(VENV)/.test
	$(BIN)/oxlint --deny-warnings nnunet_attention docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo build dist *.egg-info
