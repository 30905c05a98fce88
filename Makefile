# Every target works from a clean checkout: it makes the environment that it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# what runs before there is an environment
PYTHON ?= python3
BIN := .venv/bin
# workers of pytest; more than the cores only fight over BLAS
JOBS ?= 2

# $(call timed,NAME) COMMAND: runs it and prints how long it took, whether it passed or not
timed = TIMEFORMAT='$(1): %0R s'; time

.PHONY: help
help:  ## list what can be made (this list)
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */\1\t/' | expand -t 14

.PHONY: env
env:  ## make .venv (torch, transformers, linters) and .venv-ttnn (the real ttnn); instant when up to date
	@$(PYTHON) tools/make_env.py dev ttnn

.PHONY: env-dev
env-dev:
	@$(PYTHON) tools/make_env.py dev

.PHONY: env-demo
env-demo:  ## make .venv with just what the demo needs: no torch
	@$(PYTHON) tools/make_env.py demo

.PHONY: demo
demo: env-demo  ## compile BERT, load real MiniLM weights, search a dozen sentences; under a minute
	@$(BIN)/python examples/semantic_search.py

.PHONY: test
test: env  ## the fast tier: under ten minutes
	@$(call timed,make test) $(BIN)/python -m pytest -q -n $(JOBS) -m "not deep"

.PHONY: test-deep
test-deep: env  ## the deep tier: the whole matrix, wheels, slow parity
	@$(call timed,make test-deep) $(BIN)/python -m pytest -q -n $(JOBS) -m deep

LINTS := lint-ruff lint-format lint-types lint-imports lint-specs lint-tree
.PHONY: lint $(LINTS)
lint: env-dev  ## ruff, formatting, mypy --strict, import arrows, specs in canonical form, forbidden words
	@$(call timed,make lint) $(MAKE) --keep-going $(LINTS)
lint-ruff:
	@$(BIN)/ruff check --quiet .
lint-format:
	@$(BIN)/ruff format --quiet --check . || { echo "run 'make format'" && false; }
lint-types:
	@$(BIN)/mypy
lint-imports:
	@$(BIN)/lint-imports --no-logo
lint-specs:
	@$(BIN)/ttmlc fmt --check specs
lint-tree:
	@$(BIN)/python tools/check_tree.py

.PHONY: format
format: env-dev  ## let ruff and `ttmlc fmt` lay out the code and the specs
	@$(BIN)/ruff check --quiet --fix-only . && $(BIN)/ruff format --quiet .
	@$(BIN)/ttmlc fmt specs

.PHONY: generated
generated: env-demo  ## emit generated/ again from the shipped specs; review the diff
	@$(BIN)/ttmlc compile specs/models/bert.spec -o generated

.PHONY: golden
golden: generated env-dev  ## generated/ and every golden file of the tests; review the diff
	@$(BIN)/python -m pytest -q -n $(JOBS) -m "not deep" tests/compiler --update-golden
	@git --no-pager diff --stat -- generated tests

.PHONY: bench
bench: env-dev  ## time ours against Transformers; writes benchmarks/results.json; never a pass or a fail
	@$(BIN)/python benchmarks/run.py

.PHONY: wheel
wheel: env-dev  ## build the wheel into dist/
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

.PHONY: clean
clean:  ## remove what was built and every cache; the environments stay
	@rm -rf out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find compiler runtime generated tests tools examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
