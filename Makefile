# Bidwright: `make help` lists what can be done. Needs make and Python 3.11 or newer, nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo cluster kill-schedulers env images up stop logs smoke debian-engine down test lint check debian faults score contract challenge docs compare sbom audit bench lock \
  assets screenshots clean

PYTHON ?= python3
SOURCE ?= simulator
DATA ?=
DAYS ?= 7
ONCE ?=
FULL ?=
ROWS ?=
TESTS ?= tests
RECORD ?=
STRICT ?=

PY := .venv/bin/python
UV := .venv/bin/uv
CODE := ml monitoring feature_repo dags plugins local benchmarks tests

# Without bytecode files every Airflow process would compile everything again.
unexport PYTHONDONTWRITEBYTECODE
export VIRTUAL_ENV := $(CURDIR)/.venv

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/installed  ## the locked environment in .venv, and the command .venv/bin/bidwright

.venv/installed: requirements.txt requirements-bootstrap.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}: make PYTHON=python3.11")'
	$(PY) -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.txt
	$(UV) pip sync --quiet --require-hashes --compile-bytecode requirements-bootstrap.txt requirements.txt
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: install  ## the whole lifecycle on this machine: SOURCE=simulator | SOURCE=hotel_bookings DATA=<folder>; ONCE=1 stops at the end
	@$(PY) -m local demo --source '$(SOURCE)' --data '$(DATA)' --days '$(DAYS)' $(if $(ONCE),--once)

cluster: install  ## the production topology from processes on loopback, and a market day through it; DAYS=3; ONCE=1 ends everything
	@$(PY) -m local cluster --days '$(if $(filter command line environment,$(origin DAYS)),$(DAYS),1)' $(if $(ONCE),--once)

kill-schedulers: install  ## DAYS=10 market days through a cluster, a scheduler killed on each; nothing may be skipped or doubled; MARKET=demo has champions
	@$(PY) -m local cluster --kill-schedulers --days '$(if $(filter command line environment,$(origin DAYS)),$(DAYS),10)' $(if $(MARKET),--market '$(MARKET)')

env: install  ## write .env: strong random secrets for `make cluster` and the containers; refuses to overwrite; ADD=1 adds what a new version asks for
	@$(PY) -m local env $(if $(ADD),--add)

# Containers (docs/stack.md). `make stop` ends what `make up` started, and so does `make down`.
PROFILES ?= core
SCHEDULERS ?= 2
SERVICES ?=

images: install  ## fetch the wheels and build the images; PROFILES=local without a registry
	@$(PY) -m local.containers images --profiles '$(PROFILES)'

up: install  ## build and start the containers; PROFILES='core observability spark' or local; SCHEDULERS=1; needs .env (make env)
	@$(PY) -m local.containers up --profiles '$(PROFILES)' --schedulers $(SCHEDULERS)

stop: install  ## stop and remove the containers of `make up`; their volumes stay
	@$(PY) -m local.containers stop --profiles '$(PROFILES)'

logs: install  ## what the containers say; SERVICES='scheduler-1 postgres'
	@$(PY) -m local.containers logs --profiles '$(PROFILES)' $(SERVICES)

smoke: install debian-engine  ## the stack in real containers: built, a market day lived through, each kind stopped and started, taken down; SPARK=1, REGISTRY=1
	@$(PY) -m local.containers smoke $(if $(filter command line environment,$(origin SCHEDULERS)),--schedulers $(SCHEDULERS)) $(if $(SPARK),--spark) $(if $(REGISTRY),--registry)

# An engine, Compose and debootstrap; only where nothing of the kind answers, and never started as a service.
debian-engine:
	@docker version > /dev/null 2>&1 || { command -v dockerd && command -v debootstrap && { command -v docker-compose || docker compose version; }; } > /dev/null 2>&1 \
	  || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update -qq \
	  && RUNLEVEL=1 apt-get install -qq --yes --no-install-recommends docker.io docker-compose debootstrap > /dev/null; } \
	  || echo "no Docker engine here, and no right to install one"

down: install  ## stop what `make demo`, `make cluster` or `make up` left running
	@$(PY) -m local down

test: lint check  ## everything that .ci/run runs: lint, types, tests; TESTS=tests/dags for one room

lint: install  ## ruff: rules and format
	.venv/bin/ruff check --quiet $(CODE)
	.venv/bin/ruff format --quiet --check $(CODE)

check: install debian
	.venv/bin/mypy
	MYPYPATH=dags:plugins .venv/bin/mypy --explicit-package-bases --allow-untyped-decorators --allow-subclassing-any dags plugins
	$(PY) -m pytest $(TESTS)

# The browser of the end-to-end test, the Redis of the online store's, the servers of the cluster's, the Prometheus of the dashboard's. Where they cannot be
# installed these tests skip and say so. The packages start no server: each test starts its own.
DEBIAN := chromium redis-server postgresql-15 haproxy git libfaketime prometheus
debian:
	@{ command -v chromium && command -v redis-server && command -v haproxy && command -v prometheus && ls /usr/lib/postgresql/*/bin/initdb /usr/lib/*/faketime/libfaketime.so.1; } > /dev/null 2>&1 \
	  || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update -qq \
	  && { mkdir -p /etc/postgresql-common; test -e /etc/postgresql-common/createcluster.conf \
	    || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf; } \
	  && RUNLEVEL=1 apt-get install -qq --yes --no-install-recommends $(DEBIAN) > /dev/null; } \
	  || echo "not all of $(DEBIAN) are here, and no right to install them: their tests will be skipped"

faults: install debian  ## the fault campaign against real servers, into docs/faults.md: minutes; FULL=1 takes hours; ROWS='R4 R5' for some; REPEATS=10 ADD=1 for a part
	@$(PY) -m tests.faults.campaign --page docs/faults.md $(if $(FULL),--full) $(if $(ROWS),--only $(ROWS)) $(if $(REPEATS),--repeats $(REPEATS)) $(if $(ADD),--add)

score: install debian  ## the ML Test Score: runs the tests that hold its items, then shows it; fewer than 6 of 7 in a section is a failure
	$(PY) -m pytest --quiet -m ml_test_score $(TESTS) || true
	.venv/bin/bidwright ml-test-score --at-least 6

contract: install  ## contract tests of every market source and every model
	$(PY) -m pytest --quiet tests/contract tests/models/test_model_contract.py

challenge: install  ## planted bad candidates, each of which the gates must stop, and good ones, which must pass: minutes
	.venv/bin/bidwright challenge

docs: install  ## that docs, settings, commands, runbooks and code say the same
	$(PY) -m pytest --quiet tests/house

# Benchmarks whose figures have a peer in the same run, and do not take long; RUN='training_set' for another.
RUN ?= tree_engines
compare: install  ## benchmarks against their history: 10 % of the advantage over the peer lost is a failure; RECORD=1 adds the run
	$(PY) -m benchmarks.compare $(addprefix --run ,$(RUN)) $(if $(RECORD),--record)

# Tools that look at the installation from outside are no part of it.
.venv-tools/installed: requirements-tools.txt | install
	$(PYTHON) -m venv --clear .venv-tools
	$(UV) pip sync --quiet --python .venv-tools/bin/python --require-hashes requirements-tools.txt
	touch $@

sbom: install .venv-tools/installed  ## build/sbom.cdx.json: what is installed, as CycloneDX 1.6, checked against its schema
	@mkdir -p build
	.venv-tools/bin/cyclonedx-py environment --pyproject pyproject.toml --sv 1.6 --of JSON --output-reproducible --validate \
	  -o build/sbom.cdx.json $(PY)
	@$(PY) -m local.sbom build/sbom.cdx.json requirements.txt

audit: install .venv-tools/installed  ## build/audit.json: known vulnerabilities of the lock, and what could not be looked up; STRICT=1 for a release
	@$(PY) -m local.audit --tool .venv-tools/bin/pip-audit --lock requirements.txt --out build/audit.json $(if $(STRICT),--strict)

bench: install  ## every benchmark, one line of JSON each
	@$(PY) -m benchmarks --json

lock: install  ## resolve requirements.in anew
	$(UV) pip compile --quiet --upgrade requirements.in --universal --python-version 3.11 --generate-hashes -o requirements.txt
	printf 'setuptools>=77\n%s\n' "$$(grep -o '^uv==[0-9.]*' requirements.txt)" | $(UV) pip compile --quiet - --universal \
	  --python-version 3.11 --generate-hashes --no-annotate --no-header -o requirements-bootstrap.txt
	$(UV) pip compile --quiet --upgrade requirements-tools.in --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-header -o requirements-tools.txt

assets: install  ## fetch the vendored scripts again from the npm registry and compare
	@$(PY) -m local.assets

screenshots: install  ## pictures of every page into docs/images, from the working folder that `make demo ONCE=1` left
	@$(PY) -m local.screenshots --home .bidwright --to docs/images

clean: down  ## stop everything and forget the demo's working folder
	rm -rf .bidwright
