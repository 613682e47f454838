# The commands of the course. `make run` sets everything up by itself; `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.stamp

# Extra flags for the unit tests, e.g. `make test PYTEST_FLAGS="-x -k anchors"`.
PYTEST_FLAGS ?=
# Which notebooks, by prefix, e.g. `make notebooks NOTEBOOKS="04 05"`; empty means all.
NOTEBOOKS ?=
SEEDS     ?= 0 1 2
DATA      ?= ml-100k
RESULTS   ?= results/one_turn_$(DATA).json
# Extra flags of that command, see `python -m latentcrs_utils.run --help`.
RESULTS_FLAGS ?=
# Extra flags for the two servers, e.g. `make chat VOILA_FLAGS="--port=9000 --no-browser"`.
LAB_FLAGS   ?=
VOILA_FLAGS ?=

# One thread per process while testing: the tests run in several processes.
TEST_ENV := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE LATENTCRS_PROGRESS=0 \
            TOKENIZERS_PARALLELISM=false HF_HUB_DISABLE_PROGRESS_BARS=1 HF_HUB_OFFLINE=1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test test-fast unit lint check-notebooks browser stress lab chat pictures site notebooks slides student teacher quiz bench results dialogues doctor clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | \
	  while IFS='|' read -r name what; do printf 'make %-16s %s\n' "$$name" "$$what"; done

# Only a complete installation leaves the stamp, so an interrupted one is taken up again.
$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here. Install Python 3.11 or newer, or name yours: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; ok = sys.version_info >= (3, 11); ok or print("The course needs Python 3.11 or newer; $(PYTHON) is", ".".join(map(str, sys.version_info[:3])) + ". Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.11"); sys.exit(not ok)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once; this downloads a few hundred megabytes, or gigabytes where torch comes with CUDA)."
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip --disable-pip-version-check install --editable '.[chat,test]'
	@$(PY) -m pip --disable-pip-version-check check
	@touch $@

setup: $(STAMP)  ## make .venv with the pinned dependencies

run: $(STAMP)  ## the whole course on real data, ending with a results table and a dialogue
	$(PY) -m latentcrs_utils.run

# The notebooks come before the unit tests: they fill the cache with all cores, a test with one.
test: lint check-notebooks unit browser  ## style, every notebook against its recorded outputs, unit tests, the chat in a browser

# What answers quickly: the mathematics of the core, its small world, and the structure.
FAST := tests/test_structure.py tests/behavior tests/em tests/test_intents.py tests/evaluation/test_metrics.py

test-fast: lint  ## style, types, structure and core mathematics, in under three minutes
	$(TEST_ENV) $(PY) -m pytest $(FAST) $(PYTEST_FLAGS)

lint: $(STAMP)  ## style and types alone
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PY) -m mypy

unit: $(STAMP)  ## unit tests alone
	$(TEST_ENV) $(PY) -m pytest tests $(PYTEST_FLAGS)

check-notebooks: $(STAMP)  ## strict nbval alone
	$(PY) -m tools.notebooks --check $(NOTEBOOKS)

browser: $(STAMP)  ## the chat in a real browser alone (needs Chromium, else the tests skip)
	$(TEST_ENV) $(PY) -m pytest tests/browser -m browser $(PYTEST_FLAGS)

stress: $(STAMP)  ## kills, hostile messages, two processes and 200 sessions, with a report (20 minutes)
	$(TEST_ENV) $(PY) -m pytest tests/stress -m stress -q $(PYTEST_FLAGS)

lab: $(STAMP)  ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab notebooks $(LAB_FLAGS)

# notebooks/voila.json holds the settings, so that `python -m voila` in that folder is the same: this machine
# only, behind a secret address; the lessons' cells removed; nothing asked of other hosts. See SECURITY.md.
chat: $(STAMP)  ## serve the chat alone, on this machine only; opens its secret address and prints it
	cd notebooks && exec $(abspath $(PY)) -m voila 10_chat_demo.ipynb $(VOILA_FLAGS)

pictures: $(STAMP)  ## the diagrams, and the chat as Chromium shows it
	$(PY) -m latentcrs_utils.pictures
	$(TEST_ENV) $(PY) -m pytest tests/browser -m browser -q -k "keeps_the_message_box and light"
	cp build/browser/*light*-01-1366-light.png notebooks/course/pictures/chat.png

# Sphinx lives in an environment of its own, so that its pins and those of the course never meet.
SITE := $(VENV)/site

$(SITE)/.stamp: docs/requirements.txt
	@$(PYTHON) -m venv $(SITE)
	@$(SITE)/bin/python -m pip --disable-pip-version-check install --quiet -r $<
	@touch $@

site: $(SITE)/.stamp  ## the pages of the course as a site that works offline, in build/site
	$(SITE)/bin/sphinx-build -q -W --keep-going -b html -c docs . build/site

notebooks: $(STAMP)  ## re-execute and normalise the committed notebooks, and their table in the README
	$(PY) -m tools.notebooks $(NOTEBOOKS)
	$(PY) -m tools.readme

# For a class, see docs/teaching.md. One source: what students and teachers get is made from the lessons.
LESSONS   := $(sort $(filter-out notebooks/12_%,$(wildcard notebooks/*.ipynb)))
NBCONVERT := $(PY) -m nbconvert --log-level=WARN
# reveal.js is Voilà's own copy, which is inlined: the decks need no network.
slides: $(STAMP)  ## the figures of every notebook as slides, one file each, for the projector
	$(NBCONVERT) --to html --template slides --TemplateExporter.extra_template_basedirs=tools \
	  --TemplateExporter.extra_template_paths=$(VENV)/share/jupyter/voila/templates/base \
	  --HTMLExporter.preprocessors=tools.teaching.mathml --output-dir build/slides $(LESSONS)

student: $(STAMP)  ## the notebooks without solutions, in build/student, to hand out
teacher: $(STAMP)  ## the notebooks with solutions unfolded, in build/teacher
student teacher:
	mkdir -p build/$@/notebooks
	cp -R notebooks/course build/$@/notebooks
	cp -R results build/$@
	$(NBCONVERT) --to notebook --NotebookExporter.preprocessors=tools.teaching.for_$@ \
	  --output-dir build/$@/notebooks $(LESSONS)

quiz: $(STAMP)  ## docs/teaching/quiz.md, the quiz to print, from quiz.json
	$(PY) -m tools.teaching

# The other data sets: `make results DATA=ml-1m RESULTS_FLAGS="--tests unseen"`, for example.
results: $(STAMP)  ## the results table over several seeds, recorded and put into results/README.md
	$(PY) -m latentcrs_utils.run --data $(DATA) --seeds $(SEEDS) --no-notebooks --record $(RESULTS) $(RESULTS_FLAGS)
	$(PY) -m tools.readme

bench: $(STAMP)  ## the speed of every stage against its floor and others' code, recorded and put into results/README.md
	$(PY) -m benchmarks
	$(PY) -m tools.readme

# A run that is stopped goes on where it was: dialogues and answers are kept in the cache.
MULTI_TURN := $(PY) -m experiments.multi_turn --data ml-100k --logs data/cache/dialogues
BOTH       := 'LatentCRS+' 'LatentCRS+ F'
RIVALS     := 'backbone + lexicon filter' 'fusion without intents'
dialogues: $(STAMP)  ## the tables of whole dialogues again, recorded and put into results/README.md (hours)
	$(MULTI_TURN) --users 300 --level plain paraphrased 'by example' vague --record results/multi_turn_ml-100k.json
	$(MULTI_TURN) --users 400 --level plain --systems $(RIVALS) $(BOTH) --seeds 0 1 2 \
	  --record results/seeds_ml-100k.json
	$(MULTI_TURN) --users 80 --difficulty normal picky --level plain --batch 16 \
	  --systems $(RIVALS) $(BOTH) 'LatentCRS+ V' --record results/multi_turn_variants_ml-100k.json
	$(MULTI_TURN) --users 120 --level plain --known 0 1 2 5 10 20 all \
	  --systems 'backbone alone' 'fusion without intents' $(BOTH) --record results/cold_start_ml-100k.json
	$(PY) -m experiments.extraction --n 50 --answers data/cache/answers.jsonl \
	  --record results/extraction_ml-100k.json
	$(PY) -m experiments.reranking --test-users 25 --answers data/cache/likelihoods.jsonl \
	  --record results/reranking_ml-100k.json
	$(PY) -m experiments.steering --seeds 0 1 2 --record results/steering_ml-100k.json
	$(PY) -m experiments.wishes --policies B A F --record results/wishes_ml-100k.json
	$(PY) -m tools.readme

doctor:  ## check the installation; says what to do where something is wrong
	@if [ -x $(PY) ]; then $(PY) tools/doctor.py; else $(PYTHON) tools/doctor.py; fi

clean:  ## remove the virtual environment and what was built; downloads and trained results stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
