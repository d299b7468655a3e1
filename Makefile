# Every target makes what it needs: the only requirements are Python >= 3.11, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread per process: claims run in parallel processes, and the matrices are small.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1

.PHONY: verify figures benchmarks mutants seeds test test-browser lint types clean

verify: $(VENV)/.installed
	$(BIN)/attndyn verify --out results

benchmarks: $(VENV)-benchmarks/.installed
	$(VENV)-benchmarks/bin/python -m benchmarks

figures: $(VENV)/.installed
	$(BIN)/attndyn figures --out results/figures

mutants: $(VENV)/.installed-test
	$(BIN)/python -m tests.mutation

seeds: $(VENV)/.installed
	$(BIN)/python docs/make_seeds.py

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest

# Needs chromium and chromedriver on the machine: apt-get install chromium chromium-driver
test-browser: $(VENV)/.installed-browser
	$(BIN)/python -m pytest tests/browser/report_in_chromium.py

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: $(VENV)/.installed-lint
	mkdir -p build/typing
	ln -sfn ../.. build/typing/attndyn
	cd build/typing && ../../$(BIN)/mypy --config-file ../../setup.cfg -p attndyn --exclude '(^|/)(build|tests|docs|benchmarks|examples)/'

clean:
	rm -rf $(VENV) $(VENV)-benchmarks build results *.egg-info .import_linter_cache

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)-benchmarks/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-benchmarks
	$(VENV)-benchmarks/bin/python -m pip install --quiet --editable '.[benchmarks]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.created setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-browser: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,browser]'
	touch $@

$(VENV)/.installed-lint: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@
