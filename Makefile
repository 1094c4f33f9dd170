# What people and machines call. Everything runs from .venv, which is made from the lock files when it is not there.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell uv --version >/dev/null 2>&1 && echo uv)
# Airflow starts a dozen processes: without bytecode each of them compiles for seconds.
unexport PYTHONDONTWRITEBYTECODE
GENERATED := config dashboards/generated docs/reference

# $(call install,<lock file>): a virtual environment with what the lock names and nothing else, and this checkout in it.
# The lock is whole, so nothing is resolved: pip, asked for an extra, may look past the version that is pinned.
define install
@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)" >&2; \
  $(if $(UV),uv venv --quiet --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV)); }
echo "installing $(1)" >&2
export VIRTUAL_ENV="$(CURDIR)/$(VENV)"
$(if $(UV),uv pip install --quiet,$(BIN)/pip install --quiet --disable-pip-version-check) --no-deps --require-hashes -r $(1) >&2
$(if $(UV),uv pip install --quiet,$(BIN)/pip install --quiet --disable-pip-version-check) --no-deps --no-build-isolation -e . >&2
touch $@
endef

.PHONY: help
help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# --- the platform ------------------------------------------------------------------------------------------------

$(VENV)/.ready: requirements/demo.lock pyproject.toml
	@PYTHON=$(PYTHON) .ci/tools demo
	$(call install,requirements/demo.lock)

$(VENV)/.ready-dev: requirements/dev.lock pyproject.toml
	@PYTHON=$(PYTHON) .ci/tools demo
	$(call install,requirements/dev.lock)
	touch $(VENV)/.ready

.PHONY: demo
demo: $(VENV)/.ready$(if $(filter-out embedded,$(STORE)),-dev) ## Process real data once and print what was observed [JSON=1] [STORE=elasticsearch]
	@exec $(BIN)/contrail demo --tied $(if $(JSON),--json) $(if $(STORE),--store $(STORE))

.PHONY: up
up: $(VENV)/.ready ## Start the platform and stay with it until Ctrl-C [PORT=8080]
	@exec $(BIN)/contrail up --tied $(if $(PORT),--port $(PORT))

.PHONY: down
down: $(VENV)/.ready ## Stop the platform
	@exec $(BIN)/contrail down

.PHONY: status
status: $(VENV)/.ready ## Show the health of each component
	@exec $(BIN)/contrail status

# --- the house ---------------------------------------------------------------------------------------------------

.PHONY: test
test: $(VENV)/.ready-dev ## Set up what the tests need, and run the whole suite [ARGS="-k relay"] [JOBS=4] [ORDER=7]
	@PYTHON=$(PYTHON) .ci/tools test
	exec $(BIN)/python -m pytest -n $(or $(JOBS),4) --dist loadgroup --no-loadscope-reorder -m "not slow" \
	  $(if $(ORDER),-p randomly --randomly-seed $(ORDER)) $(ARGS)

.PHONY: lint
lint: $(VENV)/.ready-dev ## Check style
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: prose
prose: $(VENV)/.ready-dev ## Check docstrings, what people see, and the docs for sentences that are hard to read
	@$(BIN)/python .ci/prose observability dags dashboards benchmarks tests $$(git ls-files '*.md')

.PHONY: docs
docs: $(VENV)/.ready-dev ## Build the docs as a site in dist/site; a link that leads nowhere fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: coverage
coverage: $(VENV)/.ready-dev ## Run the tests that need no server; branches of relay, watch and ledger have a floor [ARGS=tests/watch]
	@$(BIN)/python -m pytest -n $(or $(JOBS),4) --dist loadgroup --no-loadscope-reorder \
	  -m "not slow and not airflow and not elasticsearch and not browser and not aws" \
	  --cov --cov-report=term:skip-covered --cov-report=json:dist/coverage.json $(ARGS)
	$(if $(ARGS),,$(BIN)/python .ci/coverage dist/coverage.json)

.PHONY: mutation
mutation: $(VENV)/.ready-dev ## Change a sample of the core modules, one thing at a time; tests must notice [SEED=1] [SAMPLE=100]
	@exec $(BIN)/python .ci/mutation $(or $(SEED),1) $(or $(SAMPLE),100)

.PHONY: types
types: $(VENV)/.ready-dev ## Check types
	@$(BIN)/mypy

.PHONY: contracts
contracts: $(VENV)/.ready-dev ## Check that imports go one way
	@$(BIN)/lint-imports --no-cache

.PHONY: generate
generate: $(VENV)/.ready-dev ## Write the files that follow from the catalogue and the options
	@$(BIN)/contrail config template --write config/contrail.toml
	$(BIN)/python -m observability.cli.generated config
	$(BIN)/python -m observability.cli.reference docs/reference/commands.md
	$(BIN)/contrail alerts schema > .alerts.schema.new && mv .alerts.schema.new config/alerts.schema.json
	$(BIN)/contrail dashboards build
	home=$$(mktemp -d) && AIRFLOW_HOME="$$home" $(BIN)/python -W ignore -m observability.airflow.ui.access docs/reference/access.md && rm -rf "$$home"

.PHONY: check-generated
check-generated: generate ## Fail where a generated file differs from what is committed
	@if [ -n "$$(git status --porcelain -- $(GENERATED))" ]; then
	  git --no-pager diff --stat -- $(GENERATED)
	  git status --short -- $(GENERATED)
	  echo "generated files differ from what is committed: run make generate and commit them" >&2
	  exit 1
	fi

.PHONY: pictures
pictures: $(VENV)/.ready-dev ## Play a demo and the drills, and take the pictures of the docs (needs Chromium)
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT
	$(BIN)/contrail demo --tied --home "$$home"
	$(BIN)/python tests/airflow/ui/pictures.py "$$home" docs/pictures

.PHONY: chaos
chaos: $(VENV)/.ready-dev ## Run the long chaos and load tests as well
	@exec $(BIN)/python -m pytest -m "slow or not slow" --timeout 3600 $(ARGS)

.PHONY: soak
soak: $(VENV)/.ready-dev ## Keep 40 DAGs up for three hours and compare what is shown with what happened [MINUTES=15]
	@SOAK_MINUTES=$(MINUTES) exec $(BIN)/python -m benchmarks soak

.PHONY: soak-short
soak-short: $(VENV)/.ready-dev ## The soak in two minutes: 40 DAGs once, through midnight, without restarts
	@SOAK_MINUTES=2 exec $(BIN)/python -m benchmarks soak

.PHONY: fuzz
fuzz: $(VENV)/.ready-dev ## Throw bytes at each parser, and answers at what asks, guided by coverage [RUNS=10000000] [TARGET=log_lines]
	@while read -r target share; do
	  test -z "$(TARGET)" || test "$$target" = "$(TARGET)" || continue
	  echo "$$target: $$(( $(or $(RUNS),10000000) * share / 10000 )) executions"
	  $(BIN)/python tests/relay/fuzz/run.py $$target -runs=$$(( $(or $(RUNS),10000000) * share / 10000 )) \
	    -verbosity=0 -print_final_stats=1 2>&1 | grep -E 'executed|ERROR|Exception|Error' || exit 1
	done <<< $$'journal_frames 2900\ndatagrams 2000\nnames_of_files 2000\nstatsd_spool 1400\ntailed_journal 750\nlog_lines 500\ntailed_log 100\nmasking 200\nelasticsearch_sink 10\nelasticsearch_store 10\ncloudwatch_sink 20\ncloudwatch_store 2\notlp_sink 10\nairflow_api 1\nairflow_health 10\nrules_file 2\nsettings_file 10\nlog_template 10\nheaders 100\nmoments 100\naddresses 100\nterminal 100\notlp_bodies 100\notlp_requests 20\nmetrics_requests 20\nredis_answers 20\npostgresql_answers 5\ncgroup_files 20\nlinks_and_forms 50\nattempt_ids 100'

.PHONY: receivers
receivers: ## Build the Collector, Jaeger, vlagent, promtool and Prometheus for the tests and benchmarks that ask them (needs Go)
	@.ci/receivers

.PHONY: matrix
matrix: $(VENV)/.ready-dev ## Try each Airflow, Python and client that we say we work with (needs a package registry)
	@exec $(BIN)/python -m pytest -m slow --timeout 1800 tests/production/test_matrix.py $(ARGS)

.PHONY: bench
bench: $(VENV)/.ready-dev ## Take a figure next to its peer [NAME=log]; without NAME, list them
	@exec $(BIN)/python -m benchmarks $(or $(NAME),list)

.PHONY: audit
audit: $(VENV)/.ready-dev ## Look for known holes in what a production image consists of (needs the network)
	@$(BIN)/python .ci/audit requirements/production.lock

$(VENV)/sbom/.ready: requirements/sbom.lock $(VENV)/.ready-dev
	@$(PYTHON) -m venv $(VENV)/sbom
	$(VENV)/sbom/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/sbom.lock >&2
	touch $@

.PHONY: sbom
sbom: $(VENV)/sbom/.ready ## Write what a production image consists of to dist/sbom.json (CycloneDX)
	@mkdir -p dist
	$(VENV)/sbom/bin/cyclonedx-py requirements requirements/production.lock --output-reproducible --of JSON -o dist/sbom.json

.PHONY: lock
lock: ## Pin what pyproject.toml asks for, with hashes and without index addresses (needs uv)
	@pin() {
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --no-annotate pyproject.toml "$${@:2}" -o requirements/$$1.lock
	}
	pin demo --extra demo --group build
	pin production --extra production --group build
	pin dev --extra production --group dev
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --group pyproject.toml:peers -c requirements/dev.lock -o requirements/peers.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --group pyproject.toml:sbom -o requirements/sbom.lock

.PHONY: clean
clean: ## Remove what was made: the virtual environment, caches and the platform's home
	@test ! -x $(BIN)/contrail || $(BIN)/contrail down
	rm -rf $(VENV) .contrail .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
