# A dose study and everything around it. `make help` lists what there is.
# Works with GNU make 3.81 and any POSIX shell. Nothing is run and nothing is written while this file is read.

## epochs that each arm is trained for
NEPOCHS = 5
## detector pixels along a side: 64, 128 or 256 (with SCAN: those of the scan)
N = 64
## each group holds GRIDSIZE**2 patterns
GRIDSIZE = 2
## positions of the training scan
N_TRAIN = 2000
## positions of the held-out scan
N_TEST = 1000
## photons per pattern, one arm each; "full": all that were measured (with SCAN: full 1e4)
DOSES = 1e9 1e4
## losses, one arm each
LOSSES = nll mae
## what object, scan, noise and initialisation derive their seeds from
SEED = 1
## network: unrolled or cnn
ARCH = unrolled
## of a sweep: what each arm reconstructs with, the network of ARCH, the fit without one, or both
METHODS = unrolled direct
## of a sweep: seeds, one study each
SEEDS = 1 2 3 4 5
## learning rate at the start of the network, or of direct where METHODS has no other (that of ARCH)
LEARNING_RATE =
## of `make rates`: the learning rates that are tried
RATES = 1.6e-2 3.2e-2 6.4e-2 1.28e-1
## simulated object: lines, grf (a Gaussian random field) or siemens (a star)
OBJECT = lines
## its side in pixels (4N)
OBJECT_SIZE =
## range of its phase, radians
PHASE = 0
## simulated probe: disk, gaussian or zone_plate (a defocused one)
ILLUMINATION = disk
## a measured scan instead of a simulated one: a file, or siemens-star
SCAN =
## which way a measured scan's positions run: auto (found), as-is, flip-x, swap-flip-y ...
ORIENTATION = auto
## incoherent modes of a measured scan's probe, 1 to 5
PROBE_MODES = 1
## a measured scan's positions: given, or refine
POSITIONS = given
## the probe while networks train: fixed or trainable
PROBE = fixed
## full period that a measured scan's dose is to resolve: object pixels (4.5), or 20nm
RESOLUTION =
## the study's folder
OUT = reports/dose-study
## arms at a time; they share the cores (a sweep: as many as there are cores; dask: as many as its workers have threads)
JOBS = 1
## what runs the notebooks: local, this machine, or dask, a running dask.distributed cluster
ENGINE = local
## address of the dask cluster's scheduler, e.g. tcp://10.0.0.1:8786
SCHEDULER =

PLANNED := NEPOCHS N GRIDSIZE N_TRAIN N_TEST DOSES LOSSES SEED ARCH METHODS LEARNING_RATE OBJECT OBJECT_SIZE PHASE ILLUMINATION SCAN ORIENTATION PROBE_MODES POSITIONS PROBE RESOLUTION
VARIABLES := $(PLANNED) SEEDS RATES OUT JOBS ENGINE SCHEDULER
SWEEPING := $(filter sweep seeds arms gathered,$(MAKECMDGOALS))

# --- what is asked for is refused here, or by `plan`, before anything runs -------------------------------------------

given := $(foreach word,$(MAKEOVERRIDES),$(if $(findstring =,$(word)),$(firstword $(subst =, ,$(word)))))
unknown := $(filter-out $(VARIABLES),$(subst :,,$(given)))
ifneq ($(unknown),)
$(error unknown parameter $(firstword $(unknown)): the parameters are $(VARIABLES))
endif
ifneq ($(and $(filter study,$(MAKECMDGOALS)),$(filter SEEDS METHODS,$(given))),)
$(error $(firstword $(filter SEEDS METHODS,$(given))) is a parameter of `make sweep`, which `make study` does not have)
endif
ifneq ($(and $(filter sweep,$(MAKECMDGOALS)),$(filter SEED,$(given))),)
$(error SEED is a parameter of `make study`; that of `make sweep` is SEEDS)
endif

ifneq ($(filter local dask,$(ENGINE))$(words $(ENGINE)),$(ENGINE)1)
$(error ENGINE='$(ENGINE)' is not accepted: local or dask)
endif
ifneq ($(filter dask,$(ENGINE)),$(if $(strip $(SCHEDULER)),dask))
$(error SCHEDULER='$(SCHEDULER)' is not accepted: with ENGINE=dask the address of its scheduler, without it nothing)
endif

# What is made of several studies has its own doses, losses, seeds and folder, unless they are given.
default = $(if $(filter file,$(origin $1)),$(eval $1 = $2))
$(call default,METHODS,$(ARCH) direct)
ifneq ($(SWEEPING),)
$(call default,DOSES,1e2 1e3 1e4 1e5 1e6 1e7 1e9)
$(call default,LOSSES,nll mae mse)
$(call default,OUT,reports/sweep)
endif
ifneq ($(filter rates,$(MAKECMDGOALS)),)
$(call default,DOSES,1e4 1e9)
$(call default,LOSSES,nll mae mse)
$(call default,SEEDS,0 11 12)
$(call default,METHODS,$(ARCH))
$(call default,OUT,reports/rates)
endif
ifneq ($(filter conditions,$(MAKECMDGOALS)),)
$(call default,DOSES,1e3 1e9)
$(call default,SEEDS,1 2 3)
$(call default,OUT,reports/conditions)
endif
ifneq ($(filter fluence,$(MAKECMDGOALS)),)
$(call default,DOSES,1e3 1e4 1e5 1e6 1e7)
$(call default,SEEDS,1 2 3)
$(call default,OUT,reports/fluence)
endif
ifneq ($(SWEEPING)$(SCHEDULER),)
$(call default,JOBS,)
endif

ifneq ($(words $(OUT)),1)
$(error OUT='$(OUT)' is not accepted: the study's folder, a path without spaces)
endif
O := $(patsubst %/,%,$(OUT))
ifneq ($(filter . .. ~ $(CURDIR) /,$(O) $(OUT)),)
$(error OUT='$(OUT)' is not accepted: a folder of the study's own)
endif
ifneq ($(findstring :,$(O))$(findstring %,$(O))$(findstring ',$(O))$(findstring ",$(O))$(findstring $$,$(O)),)
$(error OUT='$(OUT)' is not accepted: a path without : % $$ and quotes)
endif

# A measured scan has its own size and its own doses, unless they are given.
ifneq ($(strip $(SCAN)),)
$(call default,N,)
$(call default,DOSES,full $(if $(SWEEPING),1e5 1e4 1e3 1e2,1e4))
endif

quoted = '$(subst ','\'',$1)'
assigned = $(foreach name,$1,$(call quoted,$(name)=$($(name))))
cores = $$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
scheduler = $(if $(SCHEDULER),--scheduler $(call quoted,$(SCHEDULER)))
jobs-option = $(if $(strip $(JOBS)),--jobs $(call quoted,$(JOBS)))
at-a-time = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(or $(strip $(JOBS)),$(if $(SCHEDULER),$\
  $$($(PYTHON) -m ptycho threads $(call quoted,$(SCHEDULER))),$(cores))))
space := $(subst ,, )
comma := ,

# --- the Python to use: that of the active environment, else one set up here -----------------------------------------

ACTIVE := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX))
ifeq ($(strip $(ACTIVE)),)
PYTHON := '$(CURDIR)/.venv/bin/python'
ENVIRONMENT := .venv/complete
else
PYTHON := '$(ACTIVE)/bin/python3'
ENVIRONMENT := active-environment
endif
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))

.PHONY: study sweep rates conditions fluence test nbval regression bench peers lab status report check clean lock help \
  pipeline arms seeds gathered active-environment FORCE
.DEFAULT_GOAL := help
.SUFFIXES:

## list the targets, and the variables with their defaults
help:
	@awk '/^## / { text = substr($$0, 4); next } \
	  /^[a-z][a-z-]*:/ && text { name = $$1; sub(/:.*/, "", name); \
	    targets = targets sprintf("  make %-11s %s\n", name, text) } \
	  /^[A-Z][A-Z_]* =/ && text { name = $$1; value = $$0; sub(/^[A-Z_]+ = ?/, "", value); \
	    variables = variables sprintf("  %-13s %-16s %s\n", name, value, text) } \
	  { text = "" } \
	  END { printf "Targets:\n%s\nVariables of a study, with their defaults (make study NEPOCHS=50 DOSES=\"1e9 1e6\"):\n%s", \
	    targets, variables }' Makefile

## run the dose study, or what is missing of it, into OUT
study: $(ENVIRONMENT)
	@$(PYTHON) -m ptycho plan --out $(call quoted,$(O)) $(jobs-option) $(scheduler) \
	  $(call assigned,$(PLANNED))
# in the background: a shell that is told to end would leave a make in its foreground running
	@trap 'kill $$!; wait; exit 1' HUP INT TERM; \
	  $(MAKE) --no-print-directory -k $(at-a-time) pipeline & wait $$! \
	  || { cat $(call quoted,$(O)/status.txt) 2>/dev/null; exit 1; }
	@$(PYTHON) -m ptycho verify $(call quoted,$(O))

## run every dose, loss and seed, or what is missing of them, into OUT (reports/sweep), and gather them in one report
sweep: $(ENVIRONMENT)
	@$(PYTHON) -m ptycho plan --out $(call quoted,$(O)) --seeds $(call quoted,$(SEEDS)) \
	  $(jobs-option) $(scheduler) $(call assigned,$(PLANNED))
# what could be made is gathered, whatever failed
	@trap 'kill $$!; wait; exit 1' HUP INT TERM; \
	  $(MAKE) --no-print-directory -k $(at-a-time) seeds & \
	  wait $$!; seeds=$$?; \
	  $(MAKE) --no-print-directory gathered & wait $$! && exit $$seeds

## try each of RATES for every loss, on seeds that no result uses, and choose one for each, into OUT (reports/rates)
rates: $(ENVIRONMENT)
	@$(PYTHON) -m ptycho rates --out $(call quoted,$(O)) --rates $(call quoted,$(RATES)) \
	  $(call assigned,ARCH METHODS LOSSES SCAN PHASE)
# an arm that collapsed at a rate is a result
	@for rate in $(foreach rate,$(RATES),$(call quoted,$(rate))); do \
	  $(MAKE) --no-print-directory sweep OUT=$(call quoted,$(O))/$$rate LEARNING_RATE=$$rate \
	    $(call assigned,DOSES LOSSES SEEDS METHODS); done
	$(call gathering,learning-rates)

# the report of several sweeps; what an earlier failure of it left is void
gathering = @rm -f $(call quoted,$(O)/status.txt) && \
  $(PYTHON) -m ptycho run notebooks/$1.ipynb $(call quoted,$(O)/$1.ipynb) \
  --parameters $(call quoted,$(O)/$@.yaml) --log $(call quoted,$(O)/run.log)

CONDITIONS := lines grf siemens defocused sparse
condition-lines :=
condition-grf := OBJECT=grf
condition-siemens := OBJECT=siemens PHASE=1
condition-defocused := ILLUMINATION=zone_plate
condition-sparse := N_TRAIN=500 N_TEST=250

## run the ends of the dose-response (DOSES 1e3 1e9) for other objects, probes and scans, into OUT (reports/conditions)
conditions: $(ENVIRONMENT)
	@set -e; $(foreach name,$(CONDITIONS),\
	  $(MAKE) --no-print-directory sweep OUT=$(call quoted,$(O)/$(name)) \
	    $(call assigned,DOSES LOSSES SEEDS METHODS) $(condition-$(name)) \
	    || test -f $(call quoted,$(O)/$(name)/dose-response.ipynb);)
	@printf 'out: .\nconditions: [%s]\n' '$(subst $(space),$(comma) ,$(CONDITIONS))' > $(call quoted,$(O)/conditions.yaml)
	$(call gathering,conditions)

## run the dose-response (DOSES 1e3 to 1e7) at N=64 and 128, per pattern and per object pixel, into OUT (reports/fluence)
fluence: $(ENVIRONMENT)
	@set -e; for N in 64 128; do \
	  $(MAKE) --no-print-directory sweep OUT=$(call quoted,$(O))/N-$$N N=$$N \
	    $(call assigned,DOSES LOSSES SEEDS METHODS) || test -f $(call quoted,$(O))/N-$$N/arms.json; done
	@printf 'out: .\nsweeps: [N-64, N-128]\n' > $(call quoted,$(O)/fluence.yaml)
	$(call gathering,fluence)

## run the fast tests, on up to four cores
test: $(ENVIRONMENT)
	@$(PYTHON) -m pytest -n auto --maxprocesses 4 --dist worksteal

## execute the notebooks of reports/regression again and compare what their marked cells print, and their metrics
nbval: $(ENVIRONMENT)
	@rm -rf build/nbval && mkdir -p build/nbval
	@cd reports/regression && for notebook in simulate.ipynb */train-arm.ipynb compare.ipynb; do \
	  mkdir -p "../../build/nbval/$$(dirname "$$notebook")" && cp "$$notebook" "../../build/nbval/$$notebook"; done
	@cd build/nbval && TF_CPP_MIN_LOG_LEVEL=3 $(NBVAL) simulate.ipynb
	@cd build/nbval && TF_CPP_MIN_LOG_LEVEL=3 $(NBVAL) --nbval-sanitize-with ../../tests/trained.cfg \
	  -n 2 --dist loadfile */train-arm.ipynb
	@cd build/nbval && TF_CPP_MIN_LOG_LEVEL=3 $(NBVAL) --nbval-sanitize-with ../../tests/trained.cfg compare.ipynb
	@$(PYTHON) -m pytest -n 0 -m regression tests/test_regression.py

# each cell's own tags say whether its output is compared; the project's pytest options are not for notebooks
NBVAL = $(PYTHON) -m pytest -o addopts= -o filterwarnings=default --rootdir=. -p no:cacheprovider \
  --nbval-lax --nbval-current-env

## render reports/regression, the miniature study of `make nbval`, anew
regression:
	@$(MAKE) --no-print-directory clean OUT=reports/regression
	@$(MAKE) --no-print-directory study OUT=reports/regression $(REGRESSION)
REGRESSION := NEPOCHS=2 N_TRAIN=200 N_TEST=100

## measure speed, time to quality and memory into reports/bench: three quarters of an hour, with nothing else running
bench: $(ENVIRONMENT)
	$(benchmark)

## compare `direct` with pty-chi's LSQML on a measured scan's thinned photons, into reports/peers: as long as bench
peers: $(ENVIRONMENT)
	$(benchmark)
benchmark = @mkdir -p reports/$@ && $(PYTHON) -m ptycho run bench/$@.ipynb reports/$@/$@.ipynb \
  --parameters bench/bench.yaml --log reports/$@/run.log

## open JupyterLab on the notebooks
lab: $(ENVIRONMENT)
	@$(PYTHON) -m jupyter lab notebooks

## show how far the study or sweep in OUT is
status: $(ENVIRONMENT)
	@$(PYTHON) -m ptycho status $(call quoted,$(O))

## write the report and the verdict of the study or sweep in OUT anew, from what it holds
report: $(ENVIRONMENT)
	@$(PYTHON) -m ptycho report $(call quoted,$(O))

## check style and types
check: $(ENVIRONMENT)
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy

## remove the study or sweep in OUT, and build/
clean:
	@rm -rf build
	@test ! -e '$O' || test -f '$O/study.yaml' || test -f '$O/sweep.yaml' || { \
	  echo "'$O' does not look like a study: nothing removed" >&2; exit 1; }
	@for seed in '$O'/seed-*; do \
	  test ! -f "$$seed/study.yaml" || $(MAKE) --no-print-directory clean OUT="$$seed" || exit 1; done
	@for arm in '$O'/*/arm.yaml; do test ! -f "$$arm" || rm -rf "$${arm%/arm.yaml}"; done
	@rm -rf '$O/data' '$O/run.log' '$O/status.txt' '$O/metrics.json' '$O/index.html' '$O'/blocked_*.md \
	  '$O'/resolution.* '$O'/spokes.* \
	  '$O'/dose_comparison.* '$O'/simulate.* '$O'/compare.* '$O'/.partial.* '$O/study.yaml' '$O/bound.json' \
	  '$O'/arms.* '$O'/dose_response.* '$O'/error_response.* '$O'/frc_response.* '$O'/dose_factor.* \
	  '$O'/dose-response.* '$O'/published.* '$O/verdict.txt' '$O/sweep.yaml'
	@test ! -d '$O' || rmdir '$O' 2>/dev/null || echo "'$O' holds other files: they stay"

## make requirements.lock from pyproject.toml anew, with the newest versions (needs network)
lock: $(ENVIRONMENT)
	@$(PYTHON) -m venv build/uv && build/uv/bin/pip install -q uv
	@build/uv/bin/uv pip compile -q --universal --python-version 3.10 --extra dev --generate-hashes --upgrade \
	  --no-emit-index-url --no-header pyproject.toml -o build/requirements.txt
	@{ echo '# Made by `make lock` from pyproject.toml; the same versions on Python 3.10 to 3.13, on every system.'; \
	  cat build/requirements.txt; } > build/requirements.lock && mv build/requirements.lock requirements.lock

.venv/complete: requirements.lock
	@for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	  $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break; \
	  python=; \
	done; \
	test -n "$$python" || { \
	  echo "Python 3.10 to 3.13 is needed; found $$(python3 --version 2>&1 || echo none)" >&2; exit 1; }; \
	echo "Setting up .venv from requirements.lock with $$($$python --version): once, takes minutes"; \
	$$python -m venv --clear .venv || { echo "python3-venv is needed" >&2; exit 1; }
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

active-environment:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Python 3.10 to 3.13 is needed; the active environment" $(call quoted,$(ACTIVE)) \
	  "has $$($(PYTHON) --version 2>&1)" >&2; exit 1; }
	@$(PYTHON) -m ptycho.run.environment

# --- the study: what is made from what; `make study` comes here once its parameters are good --------------------------

ifneq ($(filter pipeline arms,$(MAKECMDGOALS)),)

dose-name = $(if $(filter 1e9,$1),high,$(if $(filter 1e4,$1),low,$1))
ARMS := $(foreach dose,$(DOSES),$(foreach loss,$(LOSSES),$(call dose-name,$(dose))_$(loss)))
DATA := $(foreach dose,$(DOSES),$O/data/$(call dose-name,$(dose))_train.npz $O/data/$(call dose-name,$(dose))_test.npz) \
  $(if $(strip $(SCAN)),$O/data/measured.npz)
RESOLVED := $(if $(strip $(SCAN)),$O/resolution.ipynb)
PARAMETERS := $O/simulate.yaml $O/study.yaml $(RESOLVED:.ipynb=.yaml) $(ARMS:%=$O/%/arm.yaml)
RENDERED := $(ARMS:%=$O/%/train-arm.ipynb)
COMPARED := $O/metrics.json $O/dose_comparison.png $O/dose_comparison.pdf $O/dose_comparison.csv
SCAN_FILE := $(subst $(space),\ ,$(filter-out siemens-star,$(strip $(SCAN))))

# No more arms run side by side than there are; known only when a recipe runs.
asked-jobs = $(patsubst -j%,%,$(filter -j%,$(MAKEFLAGS)))
all-arms := $(if $(SWEEPING),$(foreach seed,$(SEEDS),$(ARMS)),$(ARMS))
arm-jobs = $(if $(SCHEDULER),'{jobs}',$(words $(wordlist 1,$(or $(asked-jobs),$(words $(all-arms))),$(all-arms))))
# where a command runs does not change the command
engine = $(if $(SCHEDULER),$(PYTHON) -m ptycho submit $(call quoted,$(SCHEDULER)))
run = $(engine) $(PYTHON) -m ptycho run $1 $@ --parameters $2 --log '$O/run.log' $(if $(SWEEPING),--sweep '$(patsubst %/,%,$(dir $O))')
NETWORK := $(filter-out direct,$(METHODS))
RESULTS := metrics.json frc.json reconstruction.npz $(if $(NETWORK),history.csv model.keras)
# what a finished stage left beside its notebook, should it have gone
missing = $(if $(filter-out $(wildcard $1),$1),FORCE)

pipeline: $O/index.html

# one seed of a sweep
arms: $(RENDERED) $O/bound.json
	@:

# written by `plan`; a dry run comes here without them
$(PARAMETERS):
	@test -f $@

$O/simulate.ipynb: $O/simulate.yaml notebooks/simulate.ipynb $(SCAN_FILE) $(call missing,$(DATA))
	@$(call run,notebooks/simulate.ipynb,$O/simulate.yaml)

# The notebook leaves a data file alone whose content did not change: the arms that need it are then not made again.
$(DATA): $O/simulate.ipynb
	@:

define arm-rule
$O/$1_$2/train-arm.ipynb: $O/$1_$2/arm.yaml $O/data/$1_train.npz $O/data/$1_test.npz notebooks/train-arm.ipynb \
  $(call missing,$(RESULTS:%=$O/$1_$2/%))
	@$$(call run,notebooks/train-arm.ipynb,$$<) --jobs $$(arm-jobs)
endef
$(foreach dose,$(DOSES),$(foreach loss,$(LOSSES),$(eval $(call arm-rule,$(call dose-name,$(dose)),$(loss)))))

# a measured scan alone: what its photons resolve at each dose, without a truth
$O/resolution.ipynb: $O/resolution.yaml $O/data/measured.npz notebooks/resolution.ipynb \
  $(call missing,$(addprefix $O/resolution.,json png pdf csv))
	@$(call run,notebooks/resolution.ipynb,$O/resolution.yaml) --jobs $(arm-jobs)

# the resolution, which takes as long as several arms, begins with the first of them
$O/compare.ipynb: $O/study.yaml notebooks/compare.ipynb $(RESOLVED) $(RENDERED) $(call missing,$(COMPARED))
	@$(call run,notebooks/compare.ipynb,$O/study.yaml)

$O/index.html: $O/compare.ipynb
	@$(PYTHON) -m ptycho report '$O'

$O/bound.json: $(wordlist 1,2,$(DATA))
	@$(engine) $(PYTHON) -m ptycho bound '$O' --log '$O/run.log' --jobs $(arm-jobs)

endif

# --- the sweep: a study for each seed, as far as its arms, and what they come to --------------------------------------

ifneq ($(filter seeds,$(MAKECMDGOALS)),)

STUDIES := $(SEEDS:%=seed-%)
.PHONY: $(STUDIES)

seeds: $(STUDIES)

$(STUDIES): seed-%:
	@$(MAKE) --no-print-directory -k OUT=$(call quoted,$O/seed-$*) SEED=$* arms

endif

ifneq ($(filter gathered,$(MAKECMDGOALS)),)

GATHERED := arms.csv dose_response.json verdict.txt $(foreach figure,dose_response error_response frc_response,$(figure).csv \
  $(figure).png $(figure).pdf)
missing = $(if $(filter-out $(wildcard $1),$1),FORCE)

# written by `plan`
$O/sweep.yaml:
	@test -f $@

gathered: $O/index.html
	@$(PYTHON) -m ptycho verify '$O'

$O/arms.json: FORCE
	@$(PYTHON) -m ptycho gather '$O'

$O/dose-response.ipynb: $O/sweep.yaml $O/arms.json notebooks/dose-response.ipynb $(call missing,$(GATHERED:%=$O/%))
	@$(PYTHON) -m ptycho run notebooks/dose-response.ipynb $@ --parameters '$O/sweep.yaml' --log '$O/run.log'

$O/index.html: $O/dose-response.ipynb
	@$(PYTHON) -m ptycho report '$O'

endif
