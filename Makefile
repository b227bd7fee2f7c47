# As root on Debian 12, with git, make, Python 3.11 and Go 1.26: `make demo`, `make test`.
PYTHON ?= python3
INVENTORY ?= inventory/lab.py
BIN := .venv/bin
# Of an inventory that goes by it, KUBESTAGE_CLUSTER names the folder: kubestage/cluster/folder.py.
STATE = .state/$(or $(and $(shell grep -ls KUBESTAGE_CLUSTER $(INVENTORY)),$(KUBESTAGE_CLUSTER)),$(basename $(notdir $(INVENTORY))))

export PYTHONUNBUFFERED := 1

# What a failed step names as the command to go on.
demo test lint unit lab-test test-life verify status dashboard-token trust bench lab-up lab-down setup setup-tests venv aliyun: export KUBESTAGE_COMMAND = make $(MAKECMDGOALS) $(if $(MIRROR),MIRROR=$(MIRROR))
demo lab-up setup: export KUBESTAGE_LAB_MIRROR = $(MIRROR)

.PHONY: help setup setup-tests venv aliyun demo test lint unit lab-test test-life new ports verify kubeconfig status rebuild image picture dashboard-token trust bench lab-up lab-down clean

help:
	@echo 'make demo         a cluster on this machine, from bare hosts, verified; MIRROR=upstream: with nothing built'
	@echo 'make test         lint, unit tests, lab tests'
	@echo 'make lint unit    only those'
	@echo 'make test-life    more lab tests: faults, rebuilds, three control planes, upgrades'
	@echo 'make venv         only pyinfra and what it needs, for hosts of your own'
	@echo 'make aliyun       that, and what inventory/aliyun.py needs: the SDK of Alibaba Cloud'
	@echo 'make new          an inventory for hosts of your own; NAME=staging'
	@echo 'make ports        what firewalls and security groups have to let pass; INVENTORY=inventory/lab.py'
	@echo 'make verify       look at a cluster from outside; INVENTORY=inventory/lab.py'
	@echo 'make kubeconfig   the path of its kubeconfig; INVENTORY=inventory/lab.py'
	@echo 'make status       what is where on it, and how it does; ARGS=--json, --watch or --diff'
	@echo 'make rebuild      hosts with a blank disk, back in the cluster; INVENTORY=inventory/lab.py HOSTS="w1 w2"'
	@echo 'make image        an image of a prepared host, of which others are rebuilt sooner; INVENTORY=inventory/lab.py HOST=w2'
	@echo 'make picture      the path of a picture of the last run; INVENTORY=inventory/lab.py'
	@echo 'make dashboard-token   a token for its dashboard, valid for an hour; INVENTORY=inventory/lab.py'
	@echo 'make trust        how to trust the CA of its sites; INVENTORY=inventory/lab.py'
	@echo 'make bench        how fast it is, against doing it by hand'
	@echo 'make lab-up       only the hosts and their mirror'
	@echo 'make lab-down     remove them'
	@echo 'make clean        remove them, and what was made in this folder'

setup:
	@$(PYTHON) -m lab.setup

setup-tests:
	@$(PYTHON) -m lab.setup tests

venv:
	@$(PYTHON) -m lab.setup venv

aliyun:
	@$(PYTHON) -m lab.setup aliyun

demo: setup
	@$(BIN)/python -m lab.demo

test: lint unit lab-test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: setup
	$(BIN)/python -m pytest tests/unit

lab-test: setup-tests lint unit
	$(BIN)/python -m lab build
	$(BIN)/python -m pytest tests/unit/test_connections.py
	$(BIN)/python -m pytest tests/lab/test_lab_hosts.py
	$(BIN)/python -m pytest tests/lab --ignore tests/lab/test_lab_hosts.py -m 'not life' --durations 10

test-life: setup-tests
	KUBESTAGE_LAB_UPGRADES=1 $(BIN)/python -m lab build
	$(BIN)/python -m pytest tests/lab -m life --durations 10

new: venv
	@test -n '$(NAME)' || { echo 'Name the cluster: make new NAME=staging' >&2; exit 1; }
	@$(BIN)/python -m kubestage new $(NAME) $(ARGS)

ports: venv
	@$(BIN)/python -m kubestage ports $(INVENTORY) $(ARGS)

verify: venv
	$(BIN)/python -m pytest tests/verify --inventory $(INVENTORY)

kubeconfig:
	@test -f $(STATE)/kubeconfig || { echo 'No kubeconfig yet: pyinfra $(INVENTORY) deploy.py makes it' >&2; exit 1; }
	@echo $(CURDIR)/$(STATE)/kubeconfig

status: venv
	@$(BIN)/python -m kubestage status $(INVENTORY) $(ARGS)

rebuild: venv
	@test -n '$(HOSTS)' || { echo 'Name the hosts: make rebuild INVENTORY=... HOSTS="w1 w2"' >&2; exit 1; }
	@$(BIN)/python -m kubestage rebuild $(INVENTORY) $(HOSTS) $(ARGS)

image: venv
	@test -n '$(HOST)' || { echo 'Name the host: make image INVENTORY=... HOST=w2' >&2; exit 1; }
	@$(BIN)/python -m kubestage image $(INVENTORY) $(HOST) $(ARGS)

picture:
	@test -f $(STATE)/last-run.svg || { echo 'No run yet: pyinfra $(INVENTORY) deploy.py makes it' >&2; exit 1; }
	@echo $(CURDIR)/$(STATE)/last-run.svg

dashboard-token: venv
	@$(BIN)/python -m kubestage dashboard-token $(INVENTORY)

trust: venv
	@$(BIN)/python -m kubestage trust $(INVENTORY)

bench: setup
	$(BIN)/python -m bench

lab-up: setup
	@$(BIN)/python -m lab up

lab-down: setup
	@$(BIN)/python -m lab down

clean: lab-down
	rm -rf .venv .state .mypy_cache .ruff_cache .pytest_cache
