.DEFAULT_GOAL := help
SHELL := bash
PY := .venv/bin/python
BIN := .venv/bin
export HF_HUB_OFFLINE := 1
# Exact arithmetic is asked for, which a board does not have; what needs the real ttnn starts it by itself.
export TTMLC_BACKEND := emulator

help: ## Show what there is to do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

env: ## Make .venv (numbers) and .venv-ttnn (the real ttnn), or find them made
	@tools/env.sh

env-numbers:
	@tools/env.sh numbers

env-demo:
	@tools/env.sh demo

env-chat:
	@tools/env.sh chat

demo: env-demo ## Compile an encoder, load real weights, search sentences by meaning
	@$(PY) examples/semantic_search.py

export ASK ?= What is the capital of France?
chat: env-chat ## Ask a small language model; ASK='...' is the question, ARGS=--sample draws the words
	@env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(PY) examples/chat.py "$$ASK" $(ARGS)

finetune: env-demo ## Fine-tune the encoder on film reviews; ARGS='--against transformers' beside PyTorch (make env first)
	@env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(PY) examples/finetune_reviews.py $(ARGS)

train: env-demo ## Train a small GPT-2 on prose from nothing; ARGS='--against transformers' beside PyTorch (make env first)
	@env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(PY) examples/train_gpt2.py $(ARGS)

test: env ## The fast tests, with their time
	@start=$$SECONDS; $(PY) -m pytest -q -n 2 --dist worksteal -m 'not deep' && echo "fast tests: $$((SECONDS - start)) s"

test-deep: env ## The whole matrix
	@start=$$SECONDS; $(PY) -m pytest -q -n 2 --dist worksteal -m deep && echo "deep tests: $$((SECONDS - start)) s"

lint: env-numbers ## Style, types, architecture, canonical specs
	$(PY) tools/check_tree.py
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=compiler:runtime $(BIN)/mypy --strict generated/*.py
	$(BIN)/lint-imports
	$(BIN)/ttmlc fmt --check specs
	$(BIN)/ttmlc check specs/models/*.spec

bench: env-numbers ## Ratios against peers, in one run; JSON in benchmarks/results.json
	@env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(PY) benchmarks/run.py

generated: env-numbers ## Emit the checked-in modules anew
	@for spec in specs/models/*.spec; do $(BIN)/ttmlc compile $$spec -o generated || exit 1; done

golden: env-numbers ## Rewrite golden files; review the difference
	$(PY) -m pytest -q --update-golden tests

clean: ## Remove what tests and tools leave behind
	rm -rf out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build

.PHONY: help env env-numbers env-demo env-chat demo chat finetune train test test-deep lint bench generated golden clean
