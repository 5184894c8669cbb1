.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
m ?= change

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 20

$(BIN)/.installed: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

install: $(BIN)/.installed ## the environment in .venv, from the lock file

demo: install ## everything on 127.0.0.1:8000 with demo data; Ctrl-C stops it
	@exec $(BIN)/nuanxin demo

# The servers that tests start find the application compiled. The files that take longest come first (tests/conftest).
test: export PYTHONDONTWRITEBYTECODE =
test: check ## lint, types, contracts and every test
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: install ## lint, format check, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: install ## mend format and what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

migrate: install ## bring the configured (or embedded) database up to date
	$(BIN)/nuanxin migrate

migration: install ## make migration m="why": a new migration from the models
	$(BIN)/python migrations/generate.py "$(m)"

bench: install ## the performance goals, as ratios
	$(BIN)/python -m bench.booking
	$(BIN)/python -m bench.ledger
	$(BIN)/python -m bench.registry_import
	$(BIN)/python -m bench.registry_reads

lock: install ## renew both lock files
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-header -q -c requirements.lock -o requirements-dev.lock

.PHONY: help install demo test check fix migrate migration bench lock
