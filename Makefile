# Everything that a person or a machine runs. `make help` lists it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

PYTHON ?= python3
# Only an interpreter that is here: nothing but packages is ever fetched.
export UV_PYTHON_DOWNLOADS := never
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := .venv/bin
READY := .venv/.ready
SOURCES := src tests examples

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: tour
tour: $(READY) ## watch one change become a row, a span event and a log record, and see it proven
	@$(RUN)/auditspan tour

.PHONY: test
test: $(READY) collector ## every test that needs no Docker, on a real PostgreSQL and a real collector
	@$(RUN)/pytest $(PYTEST_ARGS)

.PHONY: up
up: $(READY) ## run the whole stack in the foreground: service, worker, collector
	@$(RUN)/auditspan up

.PHONY: collector
collector: $(READY) ## find the OpenTelemetry collector, or build it once and keep it
	@$(RUN)/python -m auditspan_service.collector get

.PHONY: check
check: lint types validate ## lint, types and the collector's configuration

.PHONY: lint
lint: $(READY) ## style and mistakes
	@$(RUN)/ruff check $(SOURCES)
	@$(RUN)/ruff format --check $(SOURCES)

.PHONY: fmt
fmt: $(READY) ## format, and mend what can be mended
	@$(RUN)/ruff check --fix $(SOURCES)
	@$(RUN)/ruff format $(SOURCES)

.PHONY: types
types: $(READY) ## check the types, strictly
	@$(RUN)/mypy

.PHONY: validate
validate: collector ## have the collector itself check its configuration
	@bin=$$($(RUN)/python -m auditspan_service.collector get 2>/dev/null) \
	  && $$bin validate --config otel-collector.yaml && echo "otel-collector.yaml is valid"

.PHONY: image
image: ## build the container image
	docker build --tag auditspan:local .

.PHONY: clean
clean: ## remove what was built; data under .auditspan stays
	rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache dist

$(READY): pyproject.toml uv.lock $(filter .uv/bin/uv,$(UV))
	@echo "installing the environment in .venv" >&2
	@$(UV) sync --frozen --all-extras --compile-bytecode --quiet --python $(PYTHON)
	@touch $@

.uv/bin/uv:
	@echo "getting uv, the tool underneath" >&2
	@$(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check uv
