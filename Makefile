# Everything starts here. A machine needs Python 3.11 or newer and make; `make` alone lists what there is.

# Lambda runs CPython 3.13, so that is taken where there is one. A pyenv shim can be on the PATH and still not run.
CANDIDATES = python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python3.13 python3 python
USABLE = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for each in $(CANDIDATES); do "$$each" -c '$(USABLE)' >/dev/null 2>&1 && echo "$$each" && break; done)

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
CHECKS := $(VENV)/checks
CHECKS_STAMP := $(CHECKS)/.complete
PYTHON_FOLDERS := common functions tasks client dev bench tests

# sam finds the runtime that it builds for, python3.13, on the PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export SAM_CLI_TELEMETRY := 0
export UV_PYTHON_DOWNLOADS := never

# cfn-guard is built for Python 3.11 and 3.12 alone; without one of them its rules are skipped, and validate says so.
CHECKS_CANDIDATES = python3.12 python3.11 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[12].*/bin/python3.1[12]
CHECKS_PYTHON ?= $(shell for each in $(CHECKS_CANDIDATES) $(PYTHON); do "$$each" -c '$(USABLE)' >/dev/null 2>&1 && echo "$$each" && break; done)

PORT ?= 8000
ENV ?= dev
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url $(if $(UPGRADE),--upgrade)
LOCKED_GROUPS := common api worker webhooks dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run demo key keys revoke limits test lint unit browser e2e permissions validate faults processes campaign bench bench-live format lock build deploy destroy clean

help: ## list these commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## make the virtual environment (all other commands do it by themselves)

$(STAMP): pyproject.toml requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer, with venv, is needed; none was found." >&2; exit 1; }
	@$(BIN)/python -c '$(USABLE)' 2>/dev/null || { echo "Making $(VENV) with $(PYTHON)"; "$(PYTHON)" -m venv --clear $(VENV); }
	@echo "Installing what requirements/dev.txt names"
	@sed -n '/^uv==/,/[^\\]$$/p' requirements/dev.txt > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

run: $(STAMP) ## serve on http://localhost:8000 and reload on save (PORT=8001, FRESH=1 to forget earlier jobs)
	@$(BIN)/python -m dev.run --port $(PORT) $(if $(FRESH),--fresh)

demo: $(STAMP) ## analyse this repo's own Markdown files, from start to end
	@$(BIN)/python -m dev.demo

key: $(STAMP) ## make an API key: make key OWNER=acme [NAME=laptop] [STACK=longrun-dev]
	@$(BIN)/python -m dev.keys create --owner "$(OWNER)" $(if $(NAME),--name "$(NAME)") $(if $(STACK),--stack "$(STACK)")

keys: $(STAMP) ## list an owner's API keys: make keys OWNER=acme [STACK=…]
	@$(BIN)/python -m dev.keys list --owner "$(OWNER)" $(if $(STACK),--stack "$(STACK)")

revoke: $(STAMP) ## end an API key: make revoke OWNER=acme KEY_ID=… [STACK=…]
	@$(BIN)/python -m dev.keys revoke --owner "$(OWNER)" --key-id "$(KEY_ID)" $(if $(STACK),--stack "$(STACK)")

limits: $(STAMP) ## show or set an owner's own limits: make limits OWNER=acme [RUNNING=5] [PER_MINUTE=100] [FORGET=1] [STACK=…]
	@$(BIN)/python -m dev.limits --owner "$(OWNER)" $(if $(RUNNING),--running "$(RUNNING)") \
		$(if $(PER_MINUTE),--per-minute "$(PER_MINUTE)") $(if $(FORGET),--forget) $(if $(STACK),--stack "$(STACK)")

test: lint validate ## every check: style, types, the template, all tests, the built functions end to end
	$(BIN)/pytest -n auto --dist worksteal --ignore=tests/e2e
	@$(MAKE) --no-print-directory e2e

lint: $(STAMP) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(wildcard $(PYTHON_FOLDERS))

unit: $(STAMP) ## the fast tests alone
	$(BIN)/pytest tests/unit

$(CHECKS_STAMP): requirements/checks.txt | $(STAMP)
	@echo "Installing what requirements/checks.txt names"
	@$(BIN)/uv venv --quiet --clear --python "$(CHECKS_PYTHON)" $(CHECKS)
	@$(BIN)/uv pip install --quiet --python $(CHECKS)/bin/python --require-hashes -r requirements/checks.txt
	@touch $@

validate: $(STAMP) $(CHECKS_STAMP) ## template.yaml, and what CloudFormation makes of it: schema, security, and rules of our own
	$(BIN)/sam validate --lint --region us-east-1
	@$(BIN)/python -m dev.translate build/template
	$(BIN)/cfn-lint build/template/translated.json
	$(CHECKS)/bin/checkov --config-file tests/template/checkov.yaml -f template.yaml -f build/template/translated.json
	$(CHECKS)/bin/python -m dev.guard build/template/raw.json build/template/translated.json

browser: ## install Debian's Chromium, for the tests of web pages (as root; without it they are skipped)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

e2e: $(STAMP) ## build the functions and run them on the emulator with their roles enforced; beside it, local stacks
	@mkdir -p build
# What a shell starts in the background hears no Ctrl-C, and some of the local stacks' tests press it.
	@$(BIN)/pytest -rs -m deployment tests/e2e > build/e2e-deployment.txt 2>&1 & deployment=$$!; \
	$(BIN)/pytest -rs -m "not deployment" tests/e2e; here=$$?; \
	wait $$deployment; there=$$?; cat build/e2e-deployment.txt; exit $$((here + there))

permissions: $(STAMP) ## take each right from each function once: what needs it must fail (some minutes)
	$(BIN)/pytest tests/e2e/permissions.py --log-cli-level=INFO

faults: $(STAMP) ## simulate faults of every kind, and show which invariant finds which deliberate mistake
	$(BIN)/pytest -n auto --dist worksteal tests/faults

processes: $(STAMP) ## five hundred jobs on the built functions, whose processes are killed while the emulator stands still at times
	LONGRUN_PROCESSES=1 $(BIN)/pytest tests/e2e/test_many_faults.py --log-cli-level=INFO

campaign: $(STAMP) ## simulate ten thousand jobs under faults, over and over (JOBS=1000 SEED=7); it takes its time
	@$(BIN)/python -m tests.faults $(if $(JOBS),--jobs "$(JOBS)") $(if $(SEED),--seed "$(SEED)")

bench: $(STAMP) ## count the AWS calls of a job
	@$(BIN)/python -m bench.calls

bench-live: $(STAMP) ## time a task's thoughts on their way to a WebSocket
	@$(BIN)/python -m bench.live

format: $(STAMP) ## rewrite the code in the common style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(STAMP) ## pin what pyproject.toml allows, with hashes (UPGRADE=1 for newer versions)
	$(LOCK) pyproject.toml $(LOCKED_GROUPS:%=--group %) -o requirements/dev.txt
	$(LOCK) --group common --constraint requirements/dev.txt -o common/requirements.txt
	$(LOCK) --group api --constraint requirements/dev.txt -o functions/api/requirements.txt
	$(LOCK) --group worker --constraint requirements/dev.txt -o functions/worker/requirements.txt
	$(LOCK) --group webhooks --constraint requirements/dev.txt -o functions/webhooks/requirements.txt
	$(LOCK) --group checks -o requirements/checks.txt

build: $(STAMP) ## build the functions into .aws-sam/build, as deployed (arm64)
	$(BIN)/sam build

deploy: build ## to AWS, with your credentials: make deploy [ENV=prod] [CONFIRM=no] (samconfig.toml)
	$(BIN)/sam deploy --config-env $(ENV) $(if $(filter no,$(CONFIRM)),--no-confirm-changeset)

destroy: $(STAMP) ## delete a deployment: make destroy ENV=dev (says what stays) DATA=keep | DATA=delete
	@$(BIN)/python -m dev.destroy --env "$(ENV)" --data "$(DATA)"

clean: ## remove what was made here, the virtual environment too
	rm -rf $(VENV) .aws-sam .longrun .mypy_cache .pytest_cache .ruff_cache .hypothesis build client/*.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
