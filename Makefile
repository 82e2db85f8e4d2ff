# make demo, make test: each does all of its own set-up. No network but the package registry is needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CORES ?= 2
# What `make faults` puts faults into, one after the other (hours each), and source photons of each fault, five times as many for a leaf gap.
FAULT_CASES ?= clinical_case_1 clinical_case_2
FAULT_PHOTONS ?= 12e6
# A DICOM folder that `make bench` verifies besides the clinical cases (an hour).
BENCH_PLAN ?=
# pymedphys, which gamma is compared with, and pylinac, for trajectory logs, in an environment of their own.
ORACLE := .venv-oracle
ORACLE_READY := $(ORACLE)/.ready
ORACLE_PACKAGES := pymedphys==0.41.0 pylinac==3.49.0 "numpy>=1.26,<3" "scipy>=1.13,<2" "numba>=0.60,<1"

# As the command line does it for itself: threads of OpenBLAS wait for one another by spinning, and where the other core is
# busy, too, a product of matrices takes many times as long.
export OPENBLAS_NUM_THREADS := 1

CLUSTER_PACKAGES := slurm-wlm munge debootstrap

# What the site of the documentation is built with, beside the rest.
DOCS_READY := $(VENV)/.docs-ready
# The report that `make docs-picture` draws.
PICTURED ?= results/demo/report/report.html

.PHONY: demo test test-physics test-cluster bench faults docs docs-picture schemas lint format clean bytecode

demo: bytecode
	$(BIN)/gatecheck verify --config config.yaml --cores $(CORES)

test: bytecode
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder --durations=25

test-physics: bytecode $(ORACLE_READY)
	$(BIN)/python -m pytest -m physics -n $(CORES) --dist load --durations=0

# As root, on a Debian: what is missing of SLURM and of the container's Debian is installed.
test-cluster: bytecode
	for program in slurmctld munged debootstrap; do command -v $$program || missing=yes; done > /dev/null; \
	  test -z "$$missing" || { apt-get update -q && apt-get install -y -q $(CLUSTER_PACKAGES); }
	$(BIN)/python -m pytest -m cluster tests/workflow/test_slurm.py tests/workflow/test_container.py

bench: bytecode $(ORACLE_READY)
	$(BIN)/python tests/benchmarks/speed.py --oracle $(ORACLE)/bin/python --cores $(CORES) $(if $(BENCH_PLAN),--plan "$(BENCH_PLAN)")

faults: bytecode
	code=0; for case in $(FAULT_CASES); do \
	  $(BIN)/python tests/benchmarks/fault_table.py $$case --photons $(FAULT_PHOTONS) --chunks 12 --cores $(CORES) || code=$$?; \
	done; exit $$code

docs: $(DOCS_READY)
	$(BIN)/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml
	@echo "Open build/site/index.html"

docs-picture: $(READY)
	$(BIN)/python docs/site/picture.py $(PICTURED)

schemas: $(READY)
	$(BIN)/python docs/site/schemas.py

lint: $(READY)
	$(BIN)/ruff check workflow tests docs
	$(BIN)/ruff format --check workflow tests docs
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python .ci/lint_workflow.py

format: $(READY)
	$(BIN)/ruff check --fix workflow tests docs
	$(BIN)/ruff format workflow tests docs
	$(BIN)/snakefmt Snakefile workflow/rules

# Where PYTHONDONTWRITEBYTECODE is set, as in many containers, every step of every workflow would compile the library again.
bytecode: $(READY)
	@$(BIN)/python -m compileall -q workflow

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v[:2] < (3, 13) else f"Python {v[0]}.{v[1]} found, gatecheck needs 3.11 or 3.12: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $(READY)

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --group docs
	@touch $(DOCS_READY)

$(ORACLE_READY): Makefile
	$(PYTHON) -m venv $(ORACLE)
	$(ORACLE)/bin/python -m pip install --quiet $(ORACLE_PACKAGES)
	@touch $(ORACLE_READY)

clean:
	rm -rf $(VENV) $(ORACLE) build/site .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis
