# Everything the project can do, in one word each. Needs Python 3.11 or newer, and make.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
LMS_PORT ?= 8001
# Test processes side by side (one more than two cores: those with browsers and servers mostly wait), and whatever else pytest should be told: make test PYTEST_ARGS="-k grades -x"
TEST_PROCESSES ?= 3
PYTEST_ARGS ?=
BENCH_ARGS ?=
CHAOS_ARGS ?=
PACKAGES := lti organizations events courses grades recordings launches api demo_lms lti_platform examples

# What the checks are asked about: a production environment, with keys made for this one run.
PRODUCTION := DEBUG=false BASE_URL=https://tool.example.org EMAIL_URL=smtp://localhost:25 \
	SECRET_KEY="$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))')" \
	FIELD_ENCRYPTION_KEYS="$$($(BIN)/python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())')"

.PHONY: help install demo test lint format bench chaos screenshots guides lock clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 22

install: $(VENV)/installed ## .venv with everything the other targets need

$(VENV)/installed: requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (PYTHON=/path/to/python3 names one)." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

demo: install ## the platform on :8000 with its worker, and a small LMS on :8001, until Ctrl-C
	@$(BIN)/python -m demo_lms.run --port $(PORT) --lms-port $(LMS_PORT)

test: install ## the whole suite; with DATABASE_URL and REDIS_URL set, on PostgreSQL and Redis
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadgroup $(PYTEST_ARGS)

lint: install ## ruff, mypy, templates, migrations, deployment checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(PRODUCTION) $(BIN)/mypy $(PACKAGES)
	@$(PRODUCTION) $(BIN)/python -m lti_platform.template_check
	@$(PRODUCTION) $(BIN)/python manage.py makemigrations --check --dry-run
	@$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING

format: install ## formats the code, and repairs what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## launches beside a bare view, growth, deliveries beside the ceiling (BENCH_ARGS=--full: a million rows)
	$(BIN)/python -m bench $(BENCH_ARGS)

chaos: install ## 2,000 grades and their webhooks while everything goes wrong (CHAOS_ARGS="--seed 1 --grades 200")
	$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

screenshots: install ## the pictures in docs/images
	$(BIN)/python docs/screenshots.py

guides: install ## docs/setup and docs/events.md, from what the platform itself shows and does
	@DEBUG=true $(BIN)/python manage.py write_setup_guides
	@DEBUG=true $(BIN)/python manage.py write_event_reference

PIP_COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

lock: install ## resolves pyproject.toml into requirements/*.txt, with hashes and without index addresses
	$(PIP_COMPILE) --upgrade --output-file requirements/base.txt pyproject.toml
	$(PIP_COMPILE) --upgrade --extra dev --constraint requirements/base.txt --output-file requirements/dev.txt pyproject.toml

clean: ## removes what the other targets made, the database of the demo included
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis
