VENV ?= .venv
PYTHON ?= python3
PIP_INSTALL = $(VENV)/bin/python -m pip install -c constraints.txt -e ".[dev]"

.PHONY: demo test check

demo: $(VENV)/.ready
	$(VENV)/bin/nastk search --space sandglass --flops 357M

test: $(VENV)/.ready
	$(VENV)/bin/python -m pytest -q -n 2 --dist worksteal

check: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy core ops

$(VENV)/.ready: pyproject.toml constraints.txt $(wildcard ops/kernels/src/*)
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL)
	touch $@
