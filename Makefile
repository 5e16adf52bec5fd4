# make help lists the targets. Needs Python 3.11, 3.12 or 3.13 and make; everything else comes from the lock.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# The first that answers: a shim of pyenv may stand for a Python that is not switched on.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
COMPOSE ?= docker compose

.DEFAULT_GOAL := help
.PHONY: help up down status logs run test test-fast coverage check lint serve ui bench live container-push deploy image rollback ledger purge clean lock

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## ?(.*)/  make \1\t\2/' | expand -t 18

up:  ## the whole of Premiere in Docker, living by itself; options in ARGS="--scale service=2"
	@sh deploy/stack/passwords.sh
	@SOURCE_COMMIT=$$(git rev-parse HEAD 2>/dev/null) $(COMPOSE) up --build --detach --wait $(ARGS)
	@echo "http://$$($(COMPOSE) port front 3000)/ui/ rates movies once the first model is made; make status says how far it is"

down:  ## stop it; what it keeps stays in its volumes
	@$(COMPOSE) down

status:  ## what runs of it, which champion, the last and the next runs, the disk
	@command -v $(or $(PYTHON),python3) >/dev/null || { echo "make status needs a python3"; exit 1; }
	@COMPOSE="$(COMPOSE)" $(or $(PYTHON),python3) -m tasks.operations.status

logs:  ## its logs, until Ctrl-C; one part's with ARGS=worker
	@$(COMPOSE) logs --follow --tail 100 $(ARGS)

run: .venv/run  ## the main job: collect, train, promote, serve once; options in ARGS="--trials 60"
	@$(BIN)/python -m flows.pipeline $(ARGS)

test: .venv/dev  ## all tests; options in ARGS
	@$(BIN)/python -m pytest $(ARGS)

test-fast: .venv/dev  ## the tests that need no server, database or training, in two workers
	@$(BIN)/python -m pytest -m fast -n 2 $(ARGS)

coverage: .venv/dev  ## which lines and branches the tests run, in this process alone; ARGS="-m fast -n 2" of the fast ones
	@$(BIN)/python -m pytest --cov --cov-report term-missing:skip-covered $(ARGS)

lint: .venv/dev  ## ruff, mypy, and oxlint for the page
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/oxlint web

check: lint test  ## what CI runs

serve: .venv/run  ## the champion on 127.0.0.1, SERVICE_PORT or 3000, in the foreground
	@$(BIN)/python -m tasks.release.targets.bento

ui: .venv/run  ## Prefect server and MLflow UI, on loopback, until Ctrl-C
	@$(BIN)/python -m tasks.operations.ui

container-push: .venv/run  ## the champion's service as a container image: built, probed, pushed to IMAGE_REPOSITORY
	@$(BIN)/python -m flows.ship --to registry

rollback: .venv/run  ## the champion before this one, wherever it was shipped; ARGS='--reason "…"'
	@$(BIN)/python -m flows.rollback $(ARGS)

ledger: .venv/run  ## what was promoted, shipped and rolled back; ARGS="--on 2026-11-21" what was in production then
	@$(BIN)/python -m tasks.release.ledger $(ARGS)

deploy: .venv/run  ## work pools, deployments and automations, on the Prefect server of PREFECT_API_URL
	@PREMIERE_TAG=$$(git rev-parse --short=12 HEAD) PREFECT_EXPERIMENTAL_EVENTS=true $(BIN)/python -m tasks.operations.deploying

image:  ## the image of the flows, for the docker work pool; needs Docker
	docker build --build-arg SOURCE_COMMIT=$$(git rev-parse HEAD) --tag premiere-flows:$$(git rev-parse --short=12 HEAD) .

bench: .venv/dev  ## measure speed and memory
	@$(BIN)/python -m benchmarks

live: .venv/dev  ## simulated days on real servers, with faults, under load; ARGS="--days 90"
	@$(BIN)/python -m benchmarks.live $(ARGS)

purge: .venv/run  ## remove all content of TMDB from the store, the warehouse and Prefect's artifacts
	@$(BIN)/python -m tasks.data.purging

clean:  ## remove the environment and everything that runs left behind in this folder
	rm -rf .venv data mlflow.db mlartifacts mlruns optuna.db warehouse.db bentos .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock:  ## resolve the dependencies anew, for all Pythons at once (needs uv)
	uv pip compile pyproject.toml --group build $(LOCK) -o requirements.txt
	uv pip compile pyproject.toml --group build --group dev -c requirements.txt $(LOCK) -o requirements-dev.txt
	uv pip compile --group pyproject.toml:service -c requirements.txt $(LOCK) -o requirements-service.txt
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header

# The environment follows the lock: a changed lock installs what changed.
.venv/bin/pip:
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(SUPPORTED)' || { echo "Premiere needs Python 3.11, 3.12 or 3.13," \
		"and $(or $(PYTHON),what is on PATH) is none of them: install one, or set PYTHON=/path/to/python3.13"; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/run: requirements.txt requirements-dev.txt pyproject.toml | .venv/bin/pip
	@echo "Installing the locked environment into .venv (a minute or two)"
	@$(INSTALL) -r $$(test -e .venv/dev && echo requirements-dev.txt || echo requirements.txt)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import lightgbm' || (echo "LightGBM needs the system's OpenMP: apt-get install libgomp1"; exit 1)
	@touch $@

.venv/dev: requirements-dev.txt | .venv/run
	@echo "Installing the test tools into .venv"
	@$(INSTALL) -r requirements-dev.txt
	@touch $@
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes
