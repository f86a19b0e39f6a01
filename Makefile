# Each target does all that it needs, on a new machine too: Python >= 3.11, git and make are enough.

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help repro test test-slow test-ray check fix bench bench-scale bench-gpu lock tiny-vlm

help:  ## this list
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

repro: .venv/installed  ## run every stage that is out of date
	dvc repro

test: .venv/installed  ## the test suite
	pytest

test-slow: .venv/installed  ## the pipelines from end to end through DVC, and what else takes long
	pytest -m slow

test-ray: .venv-ray/installed  ## the tests that start Ray, with Ray, in an environment of their own
	.venv-ray/bin/pytest -m ray

check: .venv/installed  ## formatting, lint, types; changes nothing
	ruff format --check .
	ruff check .
	mypy

fix: .venv/installed  ## format, and mend what the linter can
	ruff format .
	ruff check --fix .

bench: .venv/installed  ## ratios measured side by side, into reports/benchmarks.json
	python -m benchmarks

bench-scale: .venv/installed  ## what everything around the model costs, up to a million images (docs/scale.md)
	python -m benchmarks.scale

bench-gpu: .venv/installed  ## the scorer at InternVL2-8B's sizes, and an epoch of StanfordCars' size, on a GPU
	python -m benchmarks.gpu
	python -m benchmarks.gpu_training

preset: .venv/installed  ## make the params of a dataset of the paper yours: make preset NAME=oxford_pets
	python -m tools.preset $(NAME)

table-%: .venv/installed  ## a table of the paper on the dataset of params.yaml, such as table-3c (docs/paper.md)
	python -m tools.paper_tables $*

lock:  ## pin every dependency anew
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group dev --extra onnx --extra serve pyproject.toml --upgrade --quiet --output-file requirements.lock

tiny-vlm: .venv/installed  ## train the shipped multimodal LLM anew (up to an hour on two cores)
	python -m tools.tiny_vlm

# Written last, so that its existence means a complete environment.
.venv/installed: requirements.lock
	@command -v uv >/dev/null || $(PYTHON) -m pip install --quiet uv \
		|| { echo "make: neither uv nor pip is here; install uv, then run make again"; exit 1; }
	uv venv --quiet --allow-existing --python $(PYTHON) .venv
	uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --offline --editable .  # the command `makd`
	@touch $@

.venv-ray/installed: requirements.lock pyproject.toml .venv/installed
	uv venv --quiet --allow-existing --python $(PYTHON) .venv-ray
	uv pip sync --quiet --compile-bytecode --python .venv-ray/bin/python --require-hashes requirements.lock
	uv pip install --quiet --python .venv-ray/bin/python --constraint requirements.lock -r pyproject.toml --extra ray
	@touch $@
