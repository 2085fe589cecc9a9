PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The tests start some thousand processes: each would compile our modules anew, which takes as long as importing them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint lint-deploy format docs clean
.DEFAULT_GOAL := test

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed ## Run the whole path once, on this machine, with scripted models
	$(BIN)/tracemill demo --data-dir tracemill-demo

# What judges waiting has the machine alone; the rest runs side by side, a file at a time, and writes to memory where
# there is room: a disk would have it wait, and the others write to the disk. What needs no more than a core runs beside
# the faults, in a process of its own: the tests of the admin side's description share one name, and workers would take
# them for one.
BESIDE := tests/acceptance/test_admin_api.py tests/benchmarks
LOG := $(VENV)/beside.log
ROOM_KB := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $$4 }')
IN_MEMORY := $(shell test 0$(ROOM_KB) -gt 2000000 && echo PYTEST_DEBUG_TEMPROOT=/dev/shm)

test: $(VENV)/.installed ## Run every test
	$(IN_MEMORY) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
	  -m 'not alone' $(addprefix --ignore=,$(BESIDE) tests/faults)
	$(BIN)/python -m pytest -m alone tests/contract
	@$(BIN)/python -m pytest $(BESIDE) >$(LOG) 2>&1 & beside=$$!; status=0; \
	$(BIN)/python -m pytest tests/faults $(addprefix --ignore=,$(BESIDE)) || status=$$?; \
	wait $$beside || status=$$?; cat $(LOG); exit $$status

lint: $(VENV)/.installed lint-deploy ## Check style, types, the rooms' import contracts and the deployment files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# systemd-analyze wants to see the command the unit starts, so it reads a copy of the unit that names the one made here.
lint-deploy: $(VENV)/.installed ## Check the Dockerfile and the systemd unit
	@if test -x $(BIN)/hadolint; then $(BIN)/hadolint deploy/Dockerfile && echo "deploy/Dockerfile: ok"; \
	else echo "deploy/Dockerfile: not checked, there is no hadolint for this machine"; fi
	@set -e; if command -v systemd-analyze >/dev/null; then \
		copy=$$(mktemp -d); trap 'rm -r "$$copy"' EXIT; \
		sed 's|/opt/tracemill/|$(CURDIR)/$(VENV)/|' deploy/tracemill.service > "$$copy/tracemill.service"; \
		said=$$(systemd-analyze verify --man=no "$$copy/tracemill.service" 2>&1) || said="$$said (verify failed)"; \
		if test -n "$$said"; then echo "deploy/tracemill.service: $$said"; exit 1; fi; \
		echo "deploy/tracemill.service: ok"; \
	else echo "deploy/tracemill.service: not checked, install systemd-analyze (Debian: apt-get install systemd)"; fi

format: $(VENV)/.installed ## Rewrite the code the way `make lint` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed ## Write the reference pages anew
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis tracemill-demo
