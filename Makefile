# A dose study and everything around it. `make help` lists what there is.
# Works with GNU make 3.81 and any POSIX shell. Nothing is run and nothing is written while this file is read.
# What a study is made of, its defaults and what it refuses are the package's: see `ptycho study --help`.

# The words of the command line reach the package as they were typed: make reads no $ in them, the shell no character,
# and a line break, which would end a recipe's line, comes there as \n.
define newline


endef
names := $(foreach word,$(MAKEOVERRIDES),$(if $(findstring =,$(word)),$(firstword $(subst :, ,$(subst =, ,$(word))))))
given := $(foreach name,$(names),$(if $(filter command,$(origin $(name))),$(name)))
quoted = '$(subst $(newline),\n,$(subst ','\'',$1))'
words = $(foreach name,$(given),$(call quoted,$(name)=$(value $(name))))
out = $(if $(filter OUT,$(given)),$(call quoted,$(value OUT)))

# --- the Python to use: that of the active environment, else one set up here -----------------------------------------

ACTIVE := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX))
ifeq ($(strip $(ACTIVE)),)
PYTHON := '$(CURDIR)/.venv/bin/python'
ENVIRONMENT := .venv/complete
else
PYTHON := '$(ACTIVE)/bin/python3'
ENVIRONMENT := active-environment
endif
# a dry run sets up no environment: any Python can tell what a study would be made of
ANY_PYTHON = $$(test -x $(PYTHON) && echo $(PYTHON) || echo python3)
unexport PYTHONHOME
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))

.PHONY: study sweep rates conditions fluence test slow nbval regression calibration bench peers positions networks bias flaws \
  overlap reuse docs lab status report check clean lock help active-environment
.DEFAULT_GOAL := help
.SUFFIXES:

## list the targets, and the variables of a study with their defaults
help:
	@awk '/^## / { text = substr($$0, 4); next } \
	  /^[a-z][a-z-]*( [a-z]+)*:/ && text { name = $$1; sub(/:.*/, "", name); printf "  make %-11s %s\n", name, text } \
	  { text = "" } BEGIN { print "Targets:" }' Makefile
	@$(ANY_PYTHON) -m ptycho variables

# A recipe that begins with + runs in a dry run too, and prints the commands of a study instead of running them. In the
# shell's place, so that a signal to end it reaches it.
making = +@exec $(ANY_PYTHON) -m ptycho $@ $(words)

## run the dose study, or what is missing of it, into OUT
study: $(ENVIRONMENT)
	$(making)

## run every dose, loss and seed, or what is missing of them, into OUT (reports/sweep), and gather them in one report
sweep: $(ENVIRONMENT)
	$(making)

## try each of RATES for every loss, on seeds that no result uses, and choose one for each, into OUT (reports/rates)
rates: $(ENVIRONMENT)
	$(making)

## run the ends of the dose-response (DOSES 1e3 1e9) for other objects, probes and scans, into OUT (reports/conditions)
conditions: $(ENVIRONMENT)
	$(making)

## run the dose-response (DOSES 1e3 to 1e7) at N=64 and 128, per pattern and per object pixel, into OUT (reports/fluence)
fluence: $(ENVIRONMENT)
	$(making)

## run the fast tests, on up to four cores
test: $(ENVIRONMENT)
	@$(PYTHON) -m pytest -n auto --maxprocesses 4 --dist worksteal

## run the slow tests, into reports/slow: two hours, to be run before a release; stopped, it goes on where it was
slow: $(ENVIRONMENT)
	@$(PYTHON) tests/slow.py reports/slow

## execute the notebooks of reports/regression again and compare what their marked cells print, and their metrics
nbval: $(ENVIRONMENT)
	@rm -rf build/nbval && mkdir -p build/nbval
	@cd reports/regression && for notebook in simulate.ipynb */train-arm.ipynb compare.ipynb; do \
	  mkdir -p "../../build/nbval/$$(dirname "$$notebook")" && cp "$$notebook" "../../build/nbval/$$notebook"; done
	@cd build/nbval && TF_CPP_MIN_LOG_LEVEL=3 $(NBVAL) simulate.ipynb
	@cd build/nbval && TF_CPP_MIN_LOG_LEVEL=3 $(NBVAL) --nbval-sanitize-with ../../tests/trained.cfg \
	  -n 2 --dist loadfile */train-arm.ipynb
	@cd build/nbval && TF_CPP_MIN_LOG_LEVEL=3 $(NBVAL) --nbval-sanitize-with ../../tests/trained.cfg compare.ipynb
	@$(PYTHON) -m pytest -n 0 -m regression tests/reports/test_regression.py

# each cell's own tags say whether its output is compared; the project's pytest options are not for notebooks
NBVAL = $(PYTHON) -m pytest -o addopts= -o filterwarnings=default --rootdir=. -p no:cacheprovider \
  --nbval-lax --nbval-current-env

## render reports/regression, the miniature study of `make nbval`, anew
regression: $(ENVIRONMENT)
	@$(PYTHON) -m ptycho clean reports/regression
	@$(PYTHON) -m ptycho study OUT=reports/regression NEPOCHS=2 N_TRAIN=200 N_TEST=100 JOBS=1

## run good and wrong scans through the tests of a measured scan's reference, into reports/calibration: an hour
calibration: $(ENVIRONMENT)
	@$(PYTHON) -m bench.calibration reports/calibration

## measure speed, time to quality and memory into reports/bench: three quarters of an hour, with nothing else running
bench: $(ENVIRONMENT)
	$(benchmark)

## compare `direct` with pty-chi's LSQML on a measured scan's thinned photons, into reports/peers: as long as bench
peers: $(ENVIRONMENT)
	$(benchmark)
benchmark = @mkdir -p reports/$@ && $(PYTHON) -m ptycho run bench/$@.ipynb reports/$@/$@.ipynb \
  --parameters bench/bench.yaml --log reports/$@/run.log

## refine wrong positions of simulated scans, beside pty-chi, into reports/positions: an hour
positions: $(ENVIRONMENT)
	@$(PYTHON) -m bench.positions reports/positions

## train the denoiser on five objects at four doses, five seeds, beside the fits, into reports/networks: two hours
networks: $(ENVIRONMENT)
	@$(PYTHON) -m bench.networks reports/networks

## split the error of fits into bias and noise, beside the least error without bias, into reports/bias: half an hour
bias: $(ENVIRONMENT)
	@$(PYTHON) -m bench.bias reports/bias

## measure what flaws of detector and set-up cost fits and networks in photons, into reports/flaws: over an hour
flaws: $(ENVIRONMENT)
	@$(PYTHON) -m bench.flaws reports/flaws

## test published claims on overlap, number of patterns and other probes, into reports/overlap: forty minutes
overlap: $(ENVIRONMENT)
	@$(PYTHON) -m bench.overlap reports/overlap

## train a denoiser on one scan and use it on three others, beside fits, into reports/reuse: five minutes
reuse: $(ENVIRONMENT)
	@mkdir -p reports/$@ && $(PYTHON) -m ptycho run notebooks/$@.ipynb reports/$@/$@.ipynb \
	  --parameters bench/reuse.yaml --log reports/$@/run.log

## build the site of docs/, the rendered notebooks and the docstrings, in build/docs: a minute, without a network
docs: $(ENVIRONMENT)
	@rm -rf docs/api build/docs build/doctrees
	@TF_CPP_MIN_LOG_LEVEL=3 $(PYTHON) -m sphinx -q -W --keep-going -c docs -d build/doctrees . build/docs
	@echo "site: build/docs/index.html"

## open JupyterLab on the page of the notebooks; PORT=8889 HOST=0.0.0.0 say where it listens
lab: $(ENVIRONMENT)
	@exec $(PYTHON) -m ptycho lab $(words)

## show how far the study or sweep in OUT is
status: $(ENVIRONMENT)
	@$(PYTHON) -m ptycho status $(out)

## write the report and the verdict of the study or sweep in OUT anew, from what it holds
report: $(ENVIRONMENT)
	@$(PYTHON) -m ptycho report $(out)

## check style, types, and the order of the package's wings
check: $(ENVIRONMENT)
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@$(PYTHON) -c "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache', '--no-logo'])"

## remove the study or sweep in OUT, and build/
clean:
	@rm -rf build
	@$(ANY_PYTHON) -m ptycho clean $(out)

## make requirements.lock from pyproject.toml anew, with the newest versions (needs network)
lock: $(ENVIRONMENT)
	@$(PYTHON) -m venv build/uv && build/uv/bin/pip install -q uv
	@build/uv/bin/uv pip compile -q --universal --python-version 3.10 --extra dev --generate-hashes --upgrade \
	  --no-emit-index-url --no-header pyproject.toml -o build/requirements.txt
	@{ echo '# Made by `make lock` from pyproject.toml; the same versions on Python 3.10 to 3.13, on every system.'; \
	  cat build/requirements.txt; } > build/requirements.lock && mv build/requirements.lock requirements.lock

.venv/complete: requirements.lock pyproject.toml
	@for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	  $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break; \
	  python=; \
	done; \
	test -n "$$python" || { \
	  echo "Python 3.10 to 3.13 is needed; found $$(python3 --version 2>&1 || echo none)" >&2; exit 1; }; \
	echo "Setting up .venv from requirements.lock with $$($$python --version): once, takes minutes"; \
	$$python -m venv --clear .venv || { echo "python3-venv is needed" >&2; exit 1; }
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

active-environment:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Python 3.10 to 3.13 is needed; the active environment" $(call quoted,$(ACTIVE)) \
	  "has $$($(PYTHON) --version 2>&1)" >&2; exit 1; }
	@$(PYTHON) -m ptycho.run.environment
