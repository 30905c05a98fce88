# Every target works from a clean checkout: it makes the environment that it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PYTHON ?= python3
PY := .venv/bin/python

.PHONY: help
help:  ## list what can be made (this list)
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */\1\t/' | expand -t 14

.PHONY: env
env:  ## make .venv (torch, transformers, linters) and .venv-ttnn (the real ttnn); instant when up to date
	@$(PYTHON) tools/make_env.py dev ttnn

.PHONY: env-demo
env-demo:  ## make .venv with just what `make demo` needs: no torch
	@$(PYTHON) tools/make_env.py demo
