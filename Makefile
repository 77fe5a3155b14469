# Two commands for a fresh machine with Python 3.11 or 3.12: `make demo` and `make test`.
# Everything that is installed, downloaded or cached stays in this folder (.venv, .cache).
# The first one that can make an environment: pyenv has commands for versions that are not there, and
# Debian's Python comes without venv.
PYTHON ?= $(shell for python in python3.11 python3.12; do $$python -c 'import ensurepip' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
UV := $(VENV)/bin/uv
export PATH := $(abspath $(VENV))/bin:$(PATH)
export XDG_CACHE_HOME := $(CURDIR)/.cache
export XDG_CONFIG_HOME := $(CURDIR)/.cache/config
export HF_HOME := $(CURDIR)/.cache/huggingface
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
# Containers often set it; each of a hundred processes would then compile torch's sources again.
unexport PYTHONDONTWRITEBYTECODE
INSTALLED := $(VENV)/.installed
SLURM := slurmctld slurmd slurmdbd slurm-client slurm-wlm-basic-plugins munge mariadb-server

.PHONY: help install demo test quick needs lint schema lock campaign small-models clean

help:
	@echo "make demo      the whole pipeline on real photos, offline, in four minutes"
	@echo "make test      format, lint, types and all tests (20 minutes on two cores)"
	@echo "make quick     the fast unit tests that a version of Python may change (2 minutes)"
	@echo "make install   only the environment (.venv)"
	@echo "make campaign  kills of trainings (MINUTES=30) and whole runs (KILLS=50), damaged files (DAMAGED=100000)"
	@echo "make small-models  trains the models that come with tacolab (hours; DATA=folder, see docs/data.md)"
	@echo "make schema    config/study.schema.json and the tables of config/README.md from the models"
	@echo "make lock      requirements.lock from pyproject.toml"
	@echo "make clean     removes the environment and caches; keeps results/"

install: $(INSTALLED)

# pip only brings uv, which installs exactly the lock (its weights-only packages without the
# frameworks they declare, see pyproject.toml).
$(INSTALLED): requirements.lock pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { echo "Python 3.11 and 3.12 are missing: install one (of Debian: python3.11-venv), or name it with make PYTHON=/path/to/python3.11"; exit 2; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	test -x $(UV) || $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.lock)"
	$(UV) pip sync --quiet --python $(VENV)/bin/python requirements.lock
	$(UV) pip install --quiet --python $(VENV)/bin/python --no-deps --editable .
	@touch $@

demo: install
	snakemake --profile profiles/local --configfile config/demo.yaml
	@echo
	@echo "The report: $(CURDIR)/results/report/latest/index.html"

# For two cores; one of them runs the cluster's scenarios, which mostly wait.
WORKERS ?= 3
test: needs install lint
	python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

# .ci/run starts them under Python 3.12, too: make quick VENV=.venv-3.12 PYTHON=python3.12
quick: install
	python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder -m "not slow and not slurm" tests/unit/test_*.py tests/unit/codec

needs:
	@echo "All tests: 20 minutes on two idle cores, longer on slow ones. What is missing is skipped and said:"
	@echo "  the cluster's scenarios need root and Debian's $(SLURM)"
	@echo "  the page's tests need Debian's chromium; .ci/run installs all of these"

lint: install
	ruff format --check .
	ruff check .
	mypy
	snakefmt --check Snakefile workflow/rules

campaign: install
	python tests/campaign.py --minutes $(or $(MINUTES),30) --kills $(or $(KILLS),50) \
	  --damaged $(or $(DAMAGED),100000) --seed $(or $(SEED),0)

DATA ?= data
small-models: install
	python workflow/small_models/photos.py $(DATA) --to $(DATA)/small
	snakemake --profile profiles/local --configfile config/small.yaml --config data_root=$(DATA)
	python workflow/small_models/bundle.py --set data_root=$(DATA)

schema: install
	python -c "from pathlib import Path; from tacolab.config import reference; reference.write(Path('config'))"

# For the older Python; what the newer one needs is the same (`uv pip check` would tell).
lock: install
	uv pip compile --python-version 3.11 pyproject.toml --extra dev --extra google --quiet --no-header --no-annotate --upgrade -o requirements.lock

clean:
	rm -rf .venv .venv-* .cache .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis build
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf workflow/*.egg-info
