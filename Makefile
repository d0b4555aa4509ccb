# Everything runs in a virtual environment of its own, made on first use.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
DATA ?= ../shared/data
# A tailored transform coder to run beside it, where there is one.
OPPONENT ?= $(wildcard ../shared/peers/transform_coder.py)
SAMPLES ?= $(wildcard ../shared/samples)

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

install: $(BIN)/.installed  ## set everything up

demo: install  ## encode a real capture, decode it, print figures, draw a picture
	$(BIN)/python examples/demo.py

test: install  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lint: install  ## ruff: style and likely mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: install  ## mypy, strict
	$(BIN)/mypy

bench: install  ## rate and error on held-out clips (needs DATA=folder with train, val, hdm05)
	$(BIN)/python benchmarks/targets.py $(DATA) --markdown benchmarks/targets.md
	$(if $(OPPONENT),$(BIN)/python benchmarks/frontier.py $(DATA) --opponent $(OPPONENT) \
		--efforts 1,3,9 --markdown benchmarks/frontier.md --plot docs/frontier.png)
	$(BIN)/python benchmarks/rate_distortion.py $(DATA) --csv benchmarks/rate_distortion.csv \
		--markdown benchmarks/rate_distortion.md --plot docs/rate_distortion.png \
		$(if $(OPPONENT),--opponent $(OPPONENT)) $(if $(SAMPLES),--samples $(SAMPLES))
	$(BIN)/python benchmarks/layers.py $(DATA) --markdown benchmarks/layers.md
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/batch.py $(DATA) --markdown benchmarks/batch.md

docs: install  ## command reference and manual pages from the help, pictures (needs chromium)
	$(BIN)/python docs/generate.py --pictures

golden: install  ## print the golden bytes again; --force in tests/golden/make.py overwrites them
	$(BIN)/python tests/golden/make.py

train: install  ## train both models (hours; DATA=folder with train and val)
	$(BIN)/motioncodec train motioncodec/training/configs/slots-3d.json --data $(DATA)
	$(BIN)/motioncodec train motioncodec/training/configs/slots-2d.json --data $(DATA)

PAPER := $(BIN)/python benchmarks/paper

paper: install  ## the experiments on the paper's claims (hours; DATA=folder with train, val, hdm05)
	$(PAPER)/experiments.py all --data $(DATA)
	$(PAPER)/tstd.py --data $(DATA)
	$(PAPER)/merging.py --data $(DATA)
	$(PAPER)/recognition.py --data $(DATA)
	$(PAPER)/versus.py --data $(DATA)
	$(PAPER)/cost.py --markdown benchmarks/paper/cost.md
	$(PAPER)/report.py

SMOKE := runs/paper-smoke

paper-smoke: install  ## the same on a toy, in minutes; figures mean nothing
	mkdir -p $(SMOKE)
	$(PAPER)/experiments.py all --data $(DATA) --scale smoke --runs $(SMOKE) --output $(SMOKE)
	$(PAPER)/tstd.py --data $(DATA) --windows 4 --runs $(SMOKE) --output $(SMOKE)/tstd.csv
	$(PAPER)/merging.py --data $(DATA) --windows 2 --runs $(SMOKE) --output $(SMOKE)/merging.csv
	$(PAPER)/recognition.py --data $(DATA) --seeds 1 --limit 40 --output $(SMOKE)/h.csv
	$(PAPER)/versus.py --data $(DATA) --scale smoke --runs $(SMOKE) --limit 2 --output $(SMOKE)/i.csv
	$(PAPER)/cost.py --markdown $(SMOKE)/cost.md
	$(PAPER)/report.py --scale smoke --folder $(SMOKE)

train-smoke: install  ## the whole path of training in about two minutes, on a few steps
	$(BIN)/motioncodec train motioncodec/training/configs/smoke.json --data $(DATA)

.PHONY: help install demo test lint type bench docs golden train paper paper-smoke train-smoke
.DEFAULT_GOAL := help
