# `make run` and `make test` need nothing but Python >= 3.11; both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help run test check bits slow storm bench validate site clean

help:            ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

run: $(READY)    ## set up and run the quickstart, then write its report
	$(BIN)/netsim run scenarios/quickstart.yaml -o runs/quickstart
	$(BIN)/netsim report runs/quickstart

test: $(READY)   ## set up, check style and types, and run the tests
	$(MAKE) check
	$(BIN)/python -m pytest -n 2 -m "not slow"
	$(MAKE) bits LEVELS='print("default")'

check: $(READY)  ## style and types only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers 2

# Kernels of torch round differently under each instruction set; the tests above ran under the widest that the CPU has, and
# those of bits under the narrowest.
LEVELS = import torch; l = ["default", "avx2", "avx512"]; now = torch.backends.cpu.get_cpu_capability().lower(); \
	print(*l[:l.index(now) if now in l else 0])

bits: $(READY)   ## tests that compare bits, under the CPU's other instruction sets
	set -e; for level in $$($(BIN)/python -c '$(LEVELS)'); do \
		echo "ATEN_CPU_CAPABILITY=$$level"; \
		ATEN_CPU_CAPABILITY=$$level $(BIN)/python -m pytest -n 2 -q -m "bits and not slow"; \
	done

slow: $(READY)   ## the studies that take minutes
	$(BIN)/python -m pytest -m slow

storm: $(READY)  ## kills, signals, damages, full disks and faults at random (docs/reliability.md); half an hour
	STORM=1 $(BIN)/python -m pytest -n 2 tests/storm

bench: $(READY)  ## ratios measured in one run: overheads and executors
	$(BIN)/python -m benchmarks

validate: $(READY)  ## every law beside something independent, into docs/validation.md
	$(BIN)/python -m pip install --quiet sionna-no-rt==2.2.0 -c constraints.txt
	$(BIN)/python -m benchmarks.validation

site: $(READY)   ## the documentation as a site, build/site/index.html; nothing in it is fetched from other hosts
	$(BIN)/python -m pip install --quiet -e ".[docs]" -c constraints.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:           ## remove the environment and what runs left behind
	rm -rf $(VENV) runs build/site

# torch goes first and pinned: an unpinned torch would bring gigabytes of CUDA libraries.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0 -c constraints.txt
	$(BIN)/python -m pip install --quiet -e ".[test]" -c constraints.txt
	touch $(READY)
