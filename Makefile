# Two commands: `make leaderboard` and `make test`. Each sets up what it needs.
# All targets are phony: a folder is named bench.
.PHONY: leaderboard claims verify kernels test test-slow test-every bench gpu lint install clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ROOMS := bench methods tasks reports tracr_ground_truth circuitmark
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal --max-worker-restart 0 --durations 15
# Of the methods of which recoveries are expected (tracr_ground_truth/expectations.json), those that CI has time for.
EXPECTED := eap eap_ig acdc acdc_screened edge_pruning discogp

# A recovery that is lost (exit code 3) is shown; it takes nothing from the board.
leaderboard: install
	$(BIN)/circuitmark run --config configs/default.yaml -j 2 --out results
	$(BIN)/circuitmark verify-tracr --quick $(addprefix -m ,$(EXPECTED)) -j 2 --out results || [ $$? -eq 3 ]

# The papers' claims on the embedded model, a results folder per question: hours, resumed where it stopped.
claims: install
	for config in configs/claims/*.yaml; do \
		folder=$$(basename $$config .yaml | cut -d- -f1); \
		$(BIN)/circuitmark run --config $$config -j 2 --out claims/$$folder || exit 1; \
	done

# Every program's truth is proved. Methods are held to the two of the Edge Pruning paper under this CPU's kernels by the
# slow tests, and by `make kernels` under the plainest ones.
verify: install
	$(BIN)/circuitmark verify-tracr -m random_edges -j 2 --out results/verify

# First those of engine and methods with every annotated shape and type checked; then all others, among them those that
# hand over what is no such thing on purpose.
SHAPED := tests/test_engine tests/test_discovery tests/test_methods
UNSHAPED := tests/test_engine/test_pretend_device.py tests/test_discovery/test_any_discovery.py \
	tests/test_discovery/test_checked.py
test: install
	CIRCUITMARK_SHAPES=1 $(PYTEST) $(SHAPED) $(addprefix --ignore ,$(UNSHAPED))
	$(PYTEST) $(filter-out $(SHAPED),$(wildcard tests/test_*)) $(UNSHAPED)

# Tests of a file share what one worker measured. Files come in order: pytest-xdist would put those of a single test last,
# which take longest.
SLOW = $(sort $(shell grep -rl "mark.slow" tests --include="test_*.py"))
test-slow: install
	$(PYTEST) --dist loadfile --no-loadscope-reorder -m "slow and not every" $(SLOW)

# What CI leaves out: slow tests on all programs, other pages' commands, clusters, more kills. An hour or more.
test-every: install
	CIRCUITMARK_KILLS=20 $(PYTEST) -m "every or slow" tests/test_runs/test_kills.py
	$(PYTEST) -m every --deselect tests/test_runs/test_kills.py

# Rounding differs between CPUs: what must not hang on it, under the plainest kernels that this one has.
kernels: export ATEN_CPU_CAPABILITY = default
kernels: export MKL_ENABLE_INSTRUCTIONS = SSE4_2
kernels: install
	$(PYTEST) tests/test_house/test_golden.py
	$(BIN)/circuitmark verify-tracr $(addprefix -m ,$(EXPECTED)) -p x_proportion -p reverse --method-seeds 4 -j 2 \
		--out results/verify

bench: install
	@mkdir -p results
	$(BIN)/python -m pytest tests/speed --benchmark-only --benchmark-json=results/bench_raw.json
	$(BIN)/python tests/speed/collect.py results/bench_raw.json results/bench.json
	$(BIN)/python tests/speed/memory.py results/memory.json

# Needs torch and numpy, installs nothing: make gpu PYTHON=python3.12
gpu:
	$(PYTHON) tests/gpu/run.py all --out results/gpu

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Installs again only when what is installed has changed. All is compiled, on all cores, but for templates in packages that
# are no Python: where Python is told to write no bytecode (PYTHONDONTWRITEBYTECODE), each process would take eight seconds
# to compile what it imports.
install:
	@if ! cmp -s $(STAMP) pyproject.toml 2>/dev/null || [ constraints.txt -nt $(STAMP) ]; then \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
			|| { echo "circuitmark needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }; \
		set -e; [ -d $(VENV) ] || $(PYTHON) -m venv $(VENV); \
		$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt "pip>=25.1"; \
		$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt torch; \
		$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --group dev --editable ".[tracr,gguf,dask]"; \
		$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib $(ROOMS) || true; \
		cp pyproject.toml $(STAMP); \
	fi

clean:
	rm -rf $(VENV) results claims .pytest_cache .mypy_cache .ruff_cache
