# Two targets do everything on a fresh Debian 12: `make demo` and `make test`.
# What the machine needs is installed by them and cached outside the tree.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/recproxy
KEY := $(shell { cat requirements-dev.txt; echo "$(CURDIR)"; $(PYTHON) -VV; } 2>/dev/null | sha256sum | cut -c1-12)
VENV := $(CACHE)/venv-$(KEY)
BIN := $(VENV)/bin
