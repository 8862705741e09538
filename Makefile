VENV ?= .venv
PYTHON ?= python3
PIP_INSTALL = $(VENV)/bin/python -m pip install -c constraints.txt -e ".[dev]"

.PHONY: demo test test-all check

demo: $(VENV)/.ready
	$(VENV)/bin/nastk search --space sandglass --flops 357M

# The fast suite: at most five minutes on two cores.
test: $(VENV)/.ready
	$(VENV)/bin/python -m pytest -q -n 2 --dist worksteal -m "not slow"

# Everything: the fast suite, then kills, whole commands and sweeps of random archs. What has passed
# already in the same run of make, as in `make test test-all`, does not run again.
test-all: test
	$(VENV)/bin/python -m pytest -q -n 2 --dist worksteal -m slow

# mypy names a package after its folder, which a checkout may call anything: a link says nastk.
check: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	mkdir -p $(VENV)/typed && ln -sfn "$(CURDIR)" $(VENV)/typed/nastk
	MYPYPATH=$(VENV)/typed $(VENV)/bin/mypy -p nastk.core -p nastk.ops -p nastk.training

$(VENV)/.ready: pyproject.toml constraints.txt $(wildcard ops/kernels/cpu/src/*)
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL)
	touch $@
