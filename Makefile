# The commands of this checkout; `make help` lists them. Everything is made in .venv and build/.
# PYTHON chooses the interpreter that .venv is made of; pip's environment variables the index.
PYTHON ?= python3
# The torch to build for and to test with; which build of it, pip's environment variables choose.
USUAL_TORCH := 2.13.0
TORCH ?= $(USUAL_TORCH)
# `make check` tests with these, too.
OTHER_TORCHES ?= 2.14.1 2.15.0
# Arguments for pytest, e.g. `make test PYTEST_FLAGS="-x -k all_reduce"`.
PYTEST_FLAGS ?= -n auto
# Arguments for benchmarks/run.py, e.g. `make bench BENCH_FLAGS="--only operators --json new.json"`.
BENCH_FLAGS ?=

# Arguments for clients/run.py, e.g. `make clients CLIENTS_FLAGS="--only lightning"`.
CLIENTS_FLAGS ?=
# Arguments for benchmarks/forecast/score.py, e.g. `make forecast-score FORECAST_FLAGS="--only 43"`.
FORECAST_FLAGS ?=

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Another torch or interpreter than the usual has folders of its own, so that all stand side by side:
# .venv-2.14.1 and build/dev-2.14.1. The presets, CMakeLists.txt and tests read POLYRANK_VARIANT.
export POLYRANK_VARIANT := $(patsubst %,-%,$(filter-out $(USUAL_TORCH),$(TORCH)))$(patsubst \
  %,-%,$(filter-out python3,$(notdir $(PYTHON))))
VENV := .venv$(POLYRANK_VARIANT)
DEV := build/dev$(POLYRANK_VARIANT)
RELEASE := build/release$(POLYRANK_VARIANT)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# As torchrun sets it for its ranks. Test processes run side by side, and the tensors are small:
# more threads in each only get in the way.
ONE_THREAD := OMP_NUM_THREADS=1

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# --- set-up -------------------------------------------------------------------------------------

setup: $(VENV)/.setup ## Make .venv with torch and all tools
$(VENV)/.setup: pyproject.toml scripts/setup.sh scripts/print_requirements.py
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" VENV="$(VENV)" scripts/setup.sh
	touch $@

# The checkout as an installed package: its Python files are used where they are, and its extension
# is the one that the dev preset builds. No second compilation.
$(VENV)/.editable: $(VENV)/.setup pyproject.toml
	python -m pip install --quiet --no-build-isolation --no-deps --editable . \
	  -C wheel.cmake=false -C editable.mode=inplace
	touch $@

# --- build --------------------------------------------------------------------------------------

# Ninja configures again by itself when a CMake file changes, but does not know of the presets.
build/%$(POLYRANK_VARIANT)/.configured: CMakePresets.json | $(VENV)/.setup
	cmake --preset $*
	touch $@

package: $(VENV)/.editable $(DEV)/.configured # what Python needs, without the C++ tests
	cmake --build --preset dev --target polyrank_python
	CMAKE_INSTALL_MODE=COPY cmake --install $(DEV) --component python --prefix python >$(DEV)/install.log

build: package ## Build all, C++ tests included (preset dev)
	cmake --build --preset dev

demo: package ## Train two models in one process: on 64 ranks, and with DTensor and FSDP2 on 16
	polyrank run --world lockstep --ranks 64 examples/train_digits.py
	polyrank run --world lockstep --ranks 16 examples/llama/train.py

# --- wheels -------------------------------------------------------------------------------------

TORCHES := $(USUAL_TORCH) $(OTHER_TORCHES)
PIP_WHEEL := python -m pip wheel --quiet --no-build-isolation --no-deps --no-index

# One for each interpreter, with a compiled part for each torch: a name of its own for each would have to
# be known to whoever installs, and a part is 2 MB.
wheel: ## Make one wheel for all torches that are supported, and the sources' archive, in dist/
	for torch in $(TORCHES); do $(MAKE) wheel-part TORCH=$$torch; done
	python scripts/merge_wheels.py dist $(TORCHES:%=build/wheels/%/*.whl)
	python -c "from scikit_build_core.build import build_sdist; build_sdist('dist')"

# Its compiler is called as the presets' is, and with their options: ccache has what `make bench` compiled.
wheel-part: $(VENV)/.setup # of one torch
	rm -rf build/wheels/$(TORCH)
	CXX="$${CXX:-c++}" $(PIP_WHEEL) --wheel-dir build/wheels/$(TORCH) \
	  -C build-dir=build/wheel$(POLYRANK_VARIANT) -C cmake.define.POLYRANK_WERROR=ON .

# Each in a fresh environment, with a torch that pip fetches.
check-wheel: wheel ## Try the wheel beside each torch that is supported
	for torch in $(TORCHES); do python scripts/try_wheel.py --torch $$torch dist/*-$$(python -c \
	  'import sys; print("cp{}{}".format(*sys.version_info))')-*.whl; done

# --- tests --------------------------------------------------------------------------------------

test: build ## Run the C++ and the Python tests
	@[[ -x $(DEV)/tests/polyrank_core_tests ]] || { echo "The C++ tests are not built: install" \
	  "GoogleTest (Debian: libgtest-dev libgmock-dev), then make clean test." >&2; exit 1; }
	ctest --preset dev
	$(ONE_THREAD) python -m pytest $(PYTEST_FLAGS)

check: test lint check-asan check-tsan tidy check-torches check-wheel ## Everything: all sweeps, sanitizers, clang-tidy
	$(ONE_THREAD) POLYRANK_SWEEP=1 POLYRANK_SERVE=0 python -m pytest $(PYTEST_FLAGS)

check-torches: # one after the other: each is a whole build and all tests
	for torch in $(OTHER_TORCHES); do $(MAKE) test TORCH=$$torch; done

check-asan check-tsan: check-%: build/%$(POLYRANK_VARIANT)/.configured
	cmake --build --preset $*
	ctest --preset $*

# --- checks of the text -------------------------------------------------------------------------

CXX_FILES = $$(find cpp tests benchmarks examples \( -name '*.h' -o -name '*.cc' \) 2>/dev/null)

lint: $(DEV)/.configured ## Check format, style, types and layers; clang-tidy on changed files
	clang-format --dry-run -Werror $(CXX_FILES)
	ruff format --check
	ruff check
	mypy
	python scripts/check_layers.py
	python scripts/check_one_definition.py
	python scripts/check_test_twins.py
	python scripts/check_file_sizes.py
	python scripts/run_clang_tidy.py --build $(DEV) --changed

tidy: $(DEV)/.configured ## Run clang-tidy on all C++ files
	python scripts/run_clang_tidy.py --build $(DEV)

format: $(VENV)/.setup ## Format all C++ and Python files
	clang-format -i $(CXX_FILES)
	ruff format
	ruff check --fix --select I

# --- benchmarks ---------------------------------------------------------------------------------

# Puts the release build into the package for the time being; the next `make build` puts dev back.
bench: $(VENV)/.editable $(RELEASE)/.configured ## Measure, beside PyTorch's own simulator
	cmake --build --preset release --target polyrank_python polyrank_boxed_calls polyrank_work_loops \
	  polyrank_collective_loops polyrank_thread_soak polyrank_core_benchmark
	CMAKE_INSTALL_MODE=COPY cmake --install $(RELEASE) --component python --prefix python >$(RELEASE)/install.log
	$(RELEASE)/benchmarks/polyrank_core_benchmark
	python benchmarks/run.py --html build/bench/figures.html $(BENCH_FLAGS)

# --- documents ----------------------------------------------------------------------------------

clients: package ## Run other people's libraries on polyrank, beside gloo's processes
	python clients/run.py $(CLIENTS_FLAGS)

forecast-score: package ## Forecast memory and time of runs that were measured, and say how far off
	python benchmarks/forecast/score.py $(FORECAST_FLAGS)

docs: ## Render the C++ interface into build/docs/html
	@command -v doxygen >/dev/null || { echo "doxygen is not installed: install it (Debian: doxygen)," \
	  "then make docs." >&2; exit 1; }
	mkdir -p build
	doxygen docs/Doxyfile

site: $(VENV)/.setup ## Render the documents, with search, into build/site; a dead link fails
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict

clean: ## Remove what was built; .venv stays
	rm -rf build python/polyrank/compiled .venv*/.editable

.PHONY: help setup package build demo wheel wheel-part check-wheel test check check-torches check-asan check-tsan lint tidy format bench clients forecast-score docs site clean
