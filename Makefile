# Two commands for a fresh machine with Python 3.11: `make demo` and `make test`.
# Everything that is installed, downloaded or cached stays in this folder (.venv, .cache).
PYTHON ?= python3.11
UV := .venv/bin/uv
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export XDG_CACHE_HOME := $(CURDIR)/.cache
export XDG_CONFIG_HOME := $(CURDIR)/.cache/config
export HF_HOME := $(CURDIR)/.cache/huggingface
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
# Containers often set it; each of a hundred processes would then compile torch's sources again.
unexport PYTHONDONTWRITEBYTECODE
INSTALLED := .venv/.installed
SLURM := slurmctld slurmd slurmdbd slurm-client slurm-wlm-basic-plugins munge mariadb-server

.PHONY: help install demo test needs lint schema lock campaign clean

help:
	@echo "make demo      the whole pipeline on real photos, offline, in minutes"
	@echo "make test      format, lint, types and all tests (20 minutes on two cores)"
	@echo "make install   only the environment (.venv)"
	@echo "make campaign  kills of trainings (MINUTES=30) and whole runs (KILLS=50), damaged files (DAMAGED=100000)"
	@echo "make schema    config/study.schema.json and the tables of config/README.md from the models"
	@echo "make lock      requirements.lock from pyproject.toml"
	@echo "make clean     removes the environment and caches; keeps results/"

install: $(INSTALLED)

# pip only brings uv, which installs exactly the lock (its weights-only packages without the
# frameworks they declare, see pyproject.toml).
$(INSTALLED): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11, or name one with make PYTHON=/path/to/python3.11"; exit 2; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	test -x $(UV) || .venv/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.lock)"
	$(UV) pip sync --quiet --python .venv/bin/python requirements.lock
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --editable .
	@touch $@

demo: install
	snakemake --profile profiles/local --configfile config/demo.yaml
	@echo
	@echo "The report: $(CURDIR)/results/report/latest/index.html"

# For two cores; one of them runs the cluster's scenarios, which mostly wait.
WORKERS ?= 3
test: needs install lint
	python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

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

schema: install
	python -c "from pathlib import Path; from tacolab.config import reference; reference.write(Path('config'))"

lock: install
	uv pip compile pyproject.toml --extra dev --extra google --quiet --no-header --no-annotate --upgrade -o requirements.lock

clean:
	rm -rf .venv .cache .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis build
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf workflow/*.egg-info
