# make help lists the targets. Everything is installed into .venv; nothing else on the machine is touched.
SHELL := /bin/bash
VENV := .venv
READY := $(VENV)/ready
# Python 3.11 or 3.12: img2dataset imports a module that 3.13 dropped.
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c 'import sys, venv, ensurepip; assert (3, 11) <= sys.version_info < (3, 13)' 2>/dev/null && echo $$python && break; done)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# The demo and the tests ask nothing of the internet; some packages would.
export HF_HUB_OFFLINE := 1
export NO_ALBUMENTATIONS_UPDATE := 1
export WANDB_MODE := disabled
export PYTHONUNBUFFERED := 1

# make demo COLLECTION=tuxpaint takes photographs of a Debian package.
COLLECTION ?= rendered
DEMO := $(if $(filter rendered,$(COLLECTION)),demo,demo-$(COLLECTION))

.PHONY: help demo test test-all test-browser test-slurm slurm chromium bench stamps docs lint clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(READY) $(if $(filter tuxpaint,$(COLLECTION)),stamps) ## run the whole chain on the embedded mirror and make its report (minutes, no internet)
	@# The wrapper lets only one run use the mirror, so a lock that a killed run left behind means nothing: --nolock.
	KG2CLIP_COMMAND="make demo COLLECTION=$(COLLECTION)" python scripts/with_mirror.py --config config/$(DEMO).yaml -- \
		snakemake --configfile config/$(DEMO).yaml --replace-workflow-config --profile local --nolock
	@echo "The report: $(CURDIR)/results/$(DEMO)/report/index.html"

test: $(READY) stamps ## set everything up and run the test-suite
	@# The real runs share a finished one, so they stay in one process.
	python -m pytest -n 2 --dist loadfile tests/unit
	python -m pytest tests/workflow

test-all: $(READY) stamps slurm chromium ## the test-suite, the report in a browser, the demo in full on both collections, and the chain on a real Slurm
	python -m pytest tests/unit tests/workflow tests/browser tests/full tests/cluster

test-browser: $(READY) chromium ## the report in a headless Chromium: drawn, searched, read by keyboard, its contrast
	python -m pytest tests/browser

test-slurm: $(READY) slurm ## the chain on a real Slurm of one node with fake GPUs (root on Debian)
	python -m pytest tests/cluster

slurm:
	@command -v slurmctld >/dev/null || test -x /usr/sbin/slurmctld || { command -v apt-get >/dev/null && test "$$(id -u)" = 0 && \
		apt-get update -qq && apt-get install -y -qq slurm-wlm munge >/dev/null; } || \
		echo "slurm-wlm and munge are not installed: the tests of the cluster are left out"

chromium:
	@command -v chromium >/dev/null || { command -v apt-get >/dev/null && test "$$(id -u)" = 0 && \
		apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || \
		echo "chromium is not installed: the tests in a browser are left out"

bench: $(READY) ## the measurements of benchmarks/, or those named: make bench BENCH=filters
	python benchmarks/run.py $(BENCH)

stamps: ## the photographs of the collection tuxpaint (160 MB), where Debian's package manager is at hand
	@test -d /usr/share/tuxpaint/stamps || { command -v apt-get >/dev/null && test "$$(id -u)" = 0 && \
		apt-get update -qq && apt-get install -y -qq tuxpaint-stamps-default >/dev/null; } || \
		echo "tuxpaint-stamps-default is not installed: what needs its photographs is left out"

docs: $(READY) ## build the pages of docs/ as a site, into site/
	python -m mkdocs build --strict --quiet
	@echo "The site: $(CURDIR)/site/index.html"

lint: $(READY) ## check formatting, types and style
	ruff check . && ruff format --check . && mypy scripts benchmarks && snakefmt --check Snakefile rules && snakemake --lint

clean: ## remove results of the demo and the tests, not of other projects
	rm -rf results/demo results/demo-* results/test-*

$(READY): envs/pip-lock.txt
	@test -n "$(PYTHON)" || { echo "kg2clip needs Python 3.11 or 3.12 with venv (Debian: apt-get install python3 python3-venv)"; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON): about 200 packages, 7 GB on disk, 3 to 10 minutes"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-deps -r envs/pip-lock.txt
	@touch $@
