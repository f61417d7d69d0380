# What a person and CI run. Everything is installed into .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
UV_VERSION := 0.11.33
# A proxy's certificate is in the system's store, not in uv's own.
export UV_SYSTEM_CERTS := 1

STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-long faults soak check audit sbom bench docs pictures lock wheel-test lowest-test clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, this is %d.%d." % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

demo: $(STAMP) ## Run a real AI deployment on a real Prefect server, and show what came of it
	@$(BIN)/python -m examples.deploy_model.demo

test: $(STAMP) ## Run the tests, with coverage
	@# In their order: by number of tests the long ones, which are few, would come last and alone.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long" --cov --cov-report=term

test-long: $(STAMP) ## Run the tests that take minutes; one builds a collector, and needs Go
	$(BIN)/python -m pytest -m long

faults: $(STAMP) ## Provoke every fault, and write docs/reliability.md from what came of it
	$(BIN)/python -m pytest -n 2 --dist loadfile -m fault --faults-to=.faults.json
	$(BIN)/python docs/reliability.py --from .faults.json

soak: $(STAMP) ## The long faults for longer: a hundred kills of whole bridges, minutes of events
	BRIDGE_KILLS=100 FLOOD_ROUNDS=120 $(BIN)/python -m pytest -s -m fault \
	  tests/integration/test_bridge_kills.py tests/faults/test_flood.py

audit: $(STAMP) ## Look the locked dependencies up among known vulnerabilities; needs the network
	$(UV) tool run --from pip-audit pip-audit --require-hashes --disable-pip -r requirements.lock

sbom: $(STAMP) ## Write dist/sbom.json, what a release is made of, as CycloneDX
	@mkdir -p dist
	@# Not in .venv: what it brings makes each import of Prefect a second longer.
	$(UV) tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py environment \
	  --output-reproducible --of JSON -o dist/sbom.json $(BIN)/python

check: $(STAMP) ## Lint, types, import direction, dependencies, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry .
	$(BIN)/python docs/generate.py --check
	$(BIN)/prefect-otel-status render --out dashboards --check
	$(BIN)/prefect-otel-status lint examples

bench: $(STAMP) ## Measure a status, and the bridge, each against what it is compared with
	$(BIN)/python -m benchmarks.status_cost
	$(BIN)/python -m benchmarks.metrics_cost
	$(BIN)/python -m benchmarks.bridge_throughput
	$(BIN)/python -m benchmarks.encoding_cost
	$(BIN)/python -m benchmarks.memory_cost
	$(BIN)/python -m benchmarks.import_cost
	$(BIN)/python -m benchmarks.bridge_million
	$(BIN)/python -m benchmarks.bridge_latency
	$(BIN)/python -m benchmarks.bridge_server_cost
	$(BIN)/python -m benchmarks.status_page

docs: $(STAMP) ## Generate reference pages, dashboards and the stack's configuration; build the site
	$(BIN)/prefect-otel-status render --out dashboards
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

lock: $(STAMP) ## Resolve the locked and the lowest dependencies anew
	$(UV) pip compile --quiet --upgrade pyproject.toml --all-extras --group dev --universal --python-version 3.10 \
	  --generate-hashes --no-emit-index-url --no-header -o requirements.lock
	$(UV) pip compile --quiet --upgrade pyproject.toml --resolution lowest-direct --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -o requirements-lowest.lock

pictures: $(STAMP) ## Photograph the status page anew for the docs; needs Chromium, takes ten seconds
	$(BIN)/python docs/screenshots.py

wheel-test: $(STAMP) ## Test the built wheel in a clean environment, not the checkout
	@.ci/wheel-test requirements.lock

lowest-test: $(STAMP) ## The same with the lowest supported Prefect
	@.ci/wheel-test requirements-lowest.lock

clean: ## Remove what was installed and made
	rm -rf $(VENV) .demo dist build site .faults.json site .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache
