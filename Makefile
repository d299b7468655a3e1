# Every target makes what it needs: the only requirements are Python >= 3.11, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread per process: claims run in parallel processes, and the matrices are small.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1
# Tests start hundreds of processes: where Python is told to keep no bytecode, each would compile the package anew.
export PYTHONDONTWRITEBYTECODE :=

# `make check` tests what has changed since this revision.
SINCE ?= $(shell git merge-base HEAD origin/main 2> /dev/null || echo HEAD)
PARALLEL := -n auto --dist worksteal

# Where pyenv keeps its interpreters, for uv to find them.
PYENV := $(wildcard $(HOME)/.pyenv/versions/3.*/bin)
SPACE := $(subst ,, )
export PATH := $(PATH):$(subst $(SPACE),:,$(PYENV))
PYTHONS ?= 3.11 3.12 3.13

.PHONY: verify figures images benchmarks mutants seeds check test test-lowest test-pythons test-browser test-gallery test-torch test-notebooks test-site notebooks release lint types packages site clean

verify: $(VENV)/.installed
	$(BIN)/attndyn verify --out results

benchmarks: $(VENV)-benchmarks/.installed
	$(VENV)-benchmarks/bin/python -m benchmarks

figures: $(VENV)/.installed
	$(BIN)/attndyn figures --out results/figures

# Runs the notebooks of the documentation anew, and writes what they show into them.
notebooks: $(VENV)/.installed-notebooks
	$(BIN)/python docs/make_notebooks.py

# The same in a kernel, compared with what the files show; `make test` does it without a kernel.
test-notebooks: $(VENV)/.installed-notebooks
	$(BIN)/python docs/make_notebooks.py --check

# Builds wheel and source distribution, and tests what they install; `make release TESTS=all` runs every test, and
# `make release ONLY=build` looks only into the files.
TESTS ?= quick
release: $(VENV)/.installed-release
	$(BIN)/python -m tests.upkeep.release --tests $(TESTS) $(if $(ONLY),--only $(ONLY))

mutants: $(VENV)/.installed-test
	$(BIN)/python -m tests.mutation

seeds: $(VENV)/.installed
	$(BIN)/python docs/make_seeds.py

# The inner loop: under a minute.
check: lint types
	$(BIN)/python -m tests.upkeep.changed --since $(SINCE) $(PARALLEL)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PARALLEL)

# The oldest dependencies that setup.cfg promises, and each Python that is at hand.
test-lowest: $(VENV)-lowest/.installed
	$(MAKE) quick BIN=$(VENV)-lowest/bin

test-pythons: $(VENV)/.installed-lint
	for version in $(PYTHONS); do \
	  if $(BIN)/uv python find --no-python-downloads $$version > /dev/null 2>&1; \
	  then $(MAKE) $(VENV)-$$version/.installed && $(MAKE) quick BIN=$(VENV)-$$version/bin || exit 1; \
	  else echo "Python $$version is not at hand"; fi; \
	done

# What breaks with a dependency or a Python: numbers and warnings, and after them the fast claims.
QUICK := tests/test_task.py tests/models tests/runtime/test_time_axis.py tests/simulate/attention \
  tests/simulate/sufficient_statistics tests/simulate/test_trajectory.py tests/theory/moments \
  tests/theory/linear_attention/test_rank_one.py tests/theory/linear_attention/test_merged.py \
  tests/theory/symbolic/loss tests/compare/metrics tests/compare/test_overlays.py tests/cli/test_cli.py

.PHONY: quick
quick:
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(QUICK)
	$(BIN)/python -W error -m attndyn verify --tier fast --out build/$(patsubst .%/bin,%,$(BIN))

# The documentation, in build/site: pages, reference, gallery. Nothing is fetched once the environment is made.
# While you write: make site SPHINXOPTS="-D plot_gallery=0", which leaves the gallery's scripts alone.
SPHINXOPTS ?= -W --keep-going
site: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -n -j 2 $(SPHINXOPTS) -b html -d build/doctrees docs build/site
	$(BIN)/python docs/linkcheck.py build/site

# Needs chromium and chromedriver on the machine: apt-get install chromium chromium-driver
test-browser: $(VENV)/.installed-browser
	$(BIN)/python -m pytest tests/browser/report_in_chromium.py tests/browser/explorer_in_chromium.py \
	  tests/browser/wings_in_chromium.py

# The site that `make site` has built, in the same browser.
test-site: $(VENV)/.installed-browser
	$(BIN)/python -m pytest tests/browser/site_in_chromium.py

# Every script of the gallery, and the pictures of pages that come from them.
test-gallery: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 0 tests/docs/gallery_runs.py

images: $(VENV)/.installed
	$(BIN)/python docs/make_images.py

# The networks that are trained with PyTorch, an extra. `make test-torch TORCH=python3` uses an interpreter that has it,
# with pytest and what the package depends on; without it PyTorch is installed into an environment of its own.
TORCH ?= $(VENV)-torch/bin/python
LACKS = import sys; from importlib.util import find_spec; \
  missing = [name for name in ('pytest', 'scipy', 'torch') if not find_spec(name)]; \
  sys.exit(f'make test-torch: $(TORCH) lacks {missing[0]}; leave TORCH out, and PyTorch is installed' if missing else 0)
test-torch: $(if $(filter $(VENV)-torch/%,$(TORCH)),$(VENV)-torch/.installed)
	@$(TORCH) -c "$(LACKS)"
	mkdir -p build/typing
	ln -sfn ../.. build/typing/attndyn
	PYTHONPATH=build/typing $(TORCH) -m pytest tests/torch/networks_in_torch.py

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

# The list of packages in setup.cfg, from the folders.
packages:
	$(PYTHON) -m tests.upkeep.packages

types: $(VENV)/.installed-lint
	mkdir -p build/typing
	ln -sfn ../.. build/typing/attndyn
	cd build/typing && ../../$(BIN)/mypy --config-file ../../setup.cfg -p attndyn --exclude '(^|/)(build|tests|docs|benchmarks|examples)/'

clean:
	rm -rf $(VENV) $(VENV)-* build results *.egg-info .import_linter_cache

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	touch $@

# With what every claim needs: without python-flint those of the level "certified" say that they were not checked.
$(VENV)/.installed: $(VENV)/.created setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[certified]'
	touch $@

$(VENV)-benchmarks/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-benchmarks
	$(VENV)-benchmarks/bin/python -m pip install --quiet --editable '.[benchmarks]'
	touch $@

$(VENV)-torch/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-torch
	$(VENV)-torch/bin/python -m pip install --quiet --editable '.[test,torch]' || { echo "make test-torch: PyTorch could \
	not be installed; where you have it, make test-torch TORCH=python3 names the interpreter"; exit 1; }
	touch $@

$(VENV)-lowest/.installed: $(VENV)/.installed-lint
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-lowest
	$(BIN)/uv pip install --quiet --python $(VENV)-lowest --resolution lowest-direct -r pyproject.toml --extra test
	$(BIN)/uv pip install --quiet --python $(VENV)-lowest --no-deps --editable .
	touch $@

$(VENV)-3.%/.installed: $(VENV)/.installed-lint
	$(BIN)/uv venv --quiet --clear --no-python-downloads --python 3.$* $(VENV)-3.$*
	$(BIN)/uv pip install --quiet --python $(VENV)-3.$* --editable '.[test]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.created setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.created setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-browser: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,browser]'
	touch $@

$(VENV)/.installed-notebooks: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,notebooks]'
	touch $@

$(VENV)/.installed-release: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,release]'
	touch $@

$(VENV)/.installed-lint: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@
