# Two targets do everything on a fresh Debian 12: `make demo` and `make test`.
# What the machine needs is installed by them and cached outside the tree.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
export RECPROXY_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/recproxy
# One virtual environment for each tree, lock file and interpreter.
KEY := $(shell { cat requirements-dev.txt; echo "$(CURDIR)"; $(PYTHON) -VV; } 2>/dev/null | sha256sum | cut -c1-12)
VENV := $(RECPROXY_CACHE)/venv-$(KEY)
BIN := $(VENV)/bin
NATIVE := $(wildcard rtp/*.c rtp/*.h) rtp/_build.py setup.py pyproject.toml
SIP := $(wildcard tools/pjsua2/*.c tools/pjsua2/*.h tools/pjsua2/*.i tools/pjsua2/*.sh tools/pjsua2/*.py)
PYTEST = $(BIN)/pytest -p no:cacheprovider

.PHONY: help dev console demo scale-demo test lint unit interop pbx faults load soak test-native fuzz wheel-test states clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

system: ## install the Debian packages that are missing
	@tools/system.sh
.PHONY: system

$(VENV)/.locked: requirements-dev.txt | system
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "recproxy needs Python 3.11 or later")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked Python packages"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/.sip: $(SIP) $(VENV)/.locked
	@wheel=$$(tools/pjsua2/build.sh $(BIN)/python) && $(BIN)/pip install -q --disable-pip-version-check --no-deps --force-reinstall "$$wheel"
	@touch $@

$(VENV)/.native: $(NATIVE) $(VENV)/.locked
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

console: | system ## the web console, from recproxy/console/src
	@tools/console.sh

dev: $(VENV)/.locked $(VENV)/.sip $(VENV)/.native console ## everything to run from this tree
	@ln -sfn $(VENV) $(RECPROXY_CACHE)/venv

demo: dev ## record a real call on loopback, open it, and see one expire
	@$(BIN)/python tools/demo/demo.py

scale-demo: dev ## two nodes behind Kamailio, one is killed (root; a few minutes)
	@bench/setup.sh
	@$(BIN)/python tools/demo/scale.py

test: lint unit interop pbx test-native faults load ## all tests

lint: dev ## ruff, mypy --strict, import contracts, spelling, docstrings
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/codespell
	@$(BIN)/interrogate -q recproxy rtp announcer storage
	@clang-format --dry-run --Werror $(wildcard rtp/*.c rtp/*.h tools/pjsua2/*.c tools/pjsua2/*.h tools/pjsua2/fuzz/*.c tools/pjsua2/fuzz/*.h bench/*.c tests/native/*.c)

unit: dev ## tests without peers
	$(PYTEST) -q -n 2 -m "not interop and not faults and not load"

interop: dev ## tests against sipp, baresip and the age binary
	@tools/peer-tests.sh $(BIN)/pytest "interop and not faults and not load" -n 2

pbx: dev ## tests against Asterisk and Kamailio in a root of their own (made in a minute, by root)
	@if [ "$$(id -u)" -eq 0 ]; then bench/setup.sh; fi
	@tools/peer-tests.sh $(BIN)/pytest pbx -n 2 -rs

law-tests: dev ## the twelve tests of what the law wants; docs/law.md says which law
	$(PYTEST) -v -m law

faults: dev ## kill -9, full disk, clock jumps
	@tools/peer-tests.sh $(BIN)/pytest "faults and not load" -n 2

load: dev ## 50 calls at once for a minute
	@tools/peer-tests.sh $(BIN)/pytest load

soak: dev ## 20,000 calls, 40 that stand for an hour, an hour in the console; RECPROXY_SOAK_SECONDS, _STANDING, _CALLS, _RATE
	$(PYTEST) -q -s -m soak

test-native: dev ## C tests and fuzz corpora under ASan and UBSan
	@$(MAKE) -C tests/native check
	@tools/pjsua2/fuzz/fuzz.sh check

FUZZ_SECONDS ?= 60
fuzz: dev ## libFuzzer for FUZZ_SECONDS on each parser in C, under ASan and UBSan
	@$(MAKE) -C tests/native fuzz SECONDS=$(FUZZ_SECONDS)
	@tools/pjsua2/fuzz/fuzz.sh $(FUZZ_SECONDS)

wheel-test: dev ## the tests against the installed wheel, away from the sources
	tools/wheel-test.sh $(BIN)/python

deb: dev ## the Debian package, into dist
	@tools/deb/build.sh $(BIN)/python dist
.PHONY: deb

man: dev ## manual pages, into build/man
	@$(BIN)/python tools/manual.py build/man
.PHONY: man

states: dev ## regenerate recproxy/call/STATES.md
	$(BIN)/python tools/states.py > recproxy/call/STATES.md

clean: ## remove what was built in the tree
	rm -rf build dist *.egg-info demo-out recproxy/console/static rtp/_native*.so rtp/_native.c .mypy_cache .ruff_cache .pytest_cache .hypothesis

bench: dev ## recproxy and its peers in one table; 25 minutes, root, a quiet machine
	@bench/setup.sh
	@$(BIN)/python bench/compare.py everything
.PHONY: bench
