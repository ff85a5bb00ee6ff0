# What a newcomer types: `make up` and `make test`. `make help` lists the rest.

PYTHON := .venv/bin/python
POLIS := .venv/bin/polis --config lab/polis.yaml
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

# What the machine needs: QEMU and OpenSSH for `polis up`; the rest builds and serves the lab.
PACKAGES := qemu-system-x86 qemu-utils openssh-client python3-venv mmdebstrap e2fsprogs docker-registry busybox-static gpg gpg-agent zstd shellcheck iproute2 lxd lxd-client dnsmasq-base uidmap iptables squashfs-tools

.DEFAULT_GOAL := help
.PHONY: dist docs help setup deps lab up down test test-unit test-e2e test-lasting test-multipass crash fuzz lint types schema lock bench bench-fleet bench-containers ci clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## Make the virtual environment, from the lock file

.venv/ready: requirements.lock pyproject.toml | deps
	python3 -m venv .venv
	.venv/bin/pip install --quiet --require-hashes --requirement requirements.lock
	.venv/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

deps: ## Install what the machine needs (Debian packages)
	@if missing=$$(for package in $(PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'install ok installed' || echo $$package; done); \
	  [ -n "$$missing" ]; then \
	    set -ex; \
	    $(SUDO) apt-get update --quiet=2; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $$missing; \
	fi

lab: setup ## Build the lab's VM image and start its registry
	$(PYTHON) -m lab up

up: lab ## Take a workspace from nothing to healthy, in the lab
	$(POLIS) up

down: setup ## Delete the workspace and stop the lab
	$(POLIS) --yes delete
	$(PYTHON) -m lab down

test: lint types docs test-unit crash fuzz test-e2e ## Everything that CI runs

test-unit: setup ## Fast tests: no VM
	$(PYTHON) -m pytest --numprocesses 2 tests/unit

# Thousands of small homes are made and removed: in memory, where there is some for it, that takes a fifth less time.
crash: setup ## Kills, power cuts, failures and races at every point of every command, on a simulated guest
	TMPDIR=$(firstword $(wildcard /dev/shm) /tmp) $(PYTHON) -m pytest --numprocesses 2 tests/crash

fuzz: setup ## Damaged and hostile input of every kind
	$(PYTHON) -m pytest --numprocesses 2 tests/fuzz

test-e2e: setup ## Tests on real VMs and real containers (more than half an hour)
	$(PYTHON) -m lab image
	$(PYTHON) -m lab packages
	$(PYTHON) -m pytest --numprocesses 3 --dist loadfile --durations 25 --verbose -m "not lasting" tests/contract tests/e2e

test-lasting: setup ## Tests on real VMs that CI leaves out: long ones, and what it runs in a container
	$(PYTHON) -m lab image
	$(PYTHON) -m lab packages
	$(PYTHON) -m pytest --verbose -m lasting tests/e2e

test-multipass: setup ## The drivers' contract on this machine's own Multipass
	@command -v multipass >/dev/null || { echo "not tested: multipass is not installed here"; exit 0; }; \
	  POLIS_TEST_MULTIPASS=real $(PYTHON) -m pytest tests/contract -k multipass-real

lint: setup ## Style
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	shellcheck $$(git ls-files '*.sh')

types: setup ## Types
	.venv/bin/mypy

docs: setup ## Build the documentation, from .site/index.html on; fails on a dead link
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet --strict

dist: setup ## Build wheel, source distribution and single file, twice, and use each as a user would
	$(PYTHON) -m release build
	$(PYTHON) -m release again
	$(PYTHON) -m release use

schema: setup ## Write state-schema.json anew
	$(PYTHON) -c 'from polis.store import schema; print(schema(), end="")' > state-schema.json

UV_COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links pyproject.toml

lock: setup ## Write requirements.lock and release/runtime.lock anew (needs uv)
	$(UV_COMPILE) --group dev --output-file requirements.lock
	$(UV_COMPILE) --constraint requirements.lock --output-file release/runtime.lock

bench: setup ## What a command costs, beside bare Python
	$(PYTHON) -m tests.bench

bench-fleet: setup ## What a fleet of 10 to 5000 costs, on simulated machines (many minutes)
	$(PYTHON) -m tests.bench.fleet

bench-containers: setup ## What a fleet costs beside a loop of the engine's own client, on a real LXD (many minutes)
	$(PYTHON) -m tests.bench.containers

ci: ## What CI runs
	.ci/run

clean: ## Remove what was built (not the workspaces)
	rm -rf .venv .lab .site .mypy_cache .ruff_cache .pytest_cache
