PYTHON ?= python3
PIP_FLAGS ?=
PYTEST_FLAGS ?=
BASE ?= ../models/qwen-0.5b
BIN := .venv/bin
RECORDING := bench/recordings/qwen-coder.jsonl.gz
DEMO_FLAGS ?=
BENCH_FLAGS ?= --out docs/example-dashboard-bench.txt
NIGHT_FLAGS ?= --limit 1100 --out docs/example-night.txt
GSM8K ?= ../shared/data/routing/gsm8k_gpt4_vs_mixtral.jsonl.gz

.DEFAULT_GOAL := help
.PHONY: help install demo test test-browser test-vllm check format lock bench-gateway bench-routing bench-night
.PHONY: bench-dashboard report-labels screenshots readme clean

help: ## Say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: .venv/installed ## Make .venv with the locked dependencies

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Stepdown needs Python 3.11 or newer; try: make install PYTHON=python3.12"; exit 1; }
	@echo "Installing into .venv (one to two minutes) ..."
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## Run the whole loop on recorded traffic, then leave the proxy and the dashboard running
	$(BIN)/stepdown replay $(RECORDING) --settings bench/demo.toml --home .stepdown/demo --stay $(DEMO_FLAGS)

test: install ## Run the tests; those in a browser, and of real training and serving, only where those are installed
	$(BIN)/python -m pytest -q -n auto $(PYTEST_FLAGS)

test-browser: install ## Run the tests of the dashboard in a real browser (needs Debian's chromium)
	$(BIN)/python -m pytest -q -n auto -m browser $(PYTEST_FLAGS)

.vllm/installed: requirements-vllm.txt
	@echo "Installing vLLM and a trainer into .vllm (some minutes) ..."
	$(PYTHON) -m venv --clear .vllm
	.vllm/bin/python -m pip install -q --disable-pip-version-check $(PIP_FLAGS) -r requirements-vllm.txt
	.vllm/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	@touch $@

test-vllm: install .vllm/installed ## Run the tests that train a real student and serve it on a real vLLM
	STEPDOWN_TRAINER_PYTHON=$(CURDIR)/.vllm/bin/python $(BIN)/python -m pytest -q -m trainer $(PYTEST_FLAGS)

check: install ## Lint, types, and the contracts between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: install ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install ## Resolve the dependencies anew (needs uv)
	uv pip compile --universal --generate-hashes --extra providers --extra postgres --extra otel --group dev --no-annotate --no-header \
		-q -U pyproject.toml -o requirements.lock

bench-gateway: install ## Requests a second and added latency of the proxy, beside a direct call
	$(BIN)/python -m bench.gateway

bench-routing: install ## Quality of the router on recorded outcomes: make bench-routing FILES="a.jsonl.gz b.jsonl.gz"
	$(BIN)/python -m bench.routing $(FILES)

bench-night: install .vllm/installed ## A night with real models: make bench-night BASE=FOLDER, a Qwen2.5 0.5B checkpoint
	$(BIN)/python -m bench.night --base $(BASE) --python .vllm/bin/python --recording $(RECORDING) $(NIGHT_FLAGS)

bench-dashboard: install ## Server time of each page of the dashboard over a ledger of 1,000,000 requests
	$(BIN)/python -m bench.dashboard $(BENCH_FLAGS)

screenshots: install ## Make the README's pictures of the dashboard anew (needs Debian's chromium)
	$(BIN)/python -m bench.screenshots

report-labels: install ## The labellers' own error: make report-labels GSM8K=gsm8k_gpt4_vs_mixtral.jsonl.gz
	$(BIN)/python -m bench.labels --gsm8k $(GSM8K)

readme: install ## Make the README's chart and printed results anew
	$(BIN)/python -m bench.readme $(README_FLAGS)

clean: ## Remove what was made, the environment and the demo's ledger included
	rm -rf .venv .vllm .stepdown build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
