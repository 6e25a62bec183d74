# `make demo` and `make test` set up everything they need; the other verbs stand on the same environment.
.DEFAULT_GOAL := help
.PHONY: help install demo check test test-long eval clean

UV := $(shell command -v uv || echo $(CURDIR)/.tools/uv)
RUN = $(UV) run --no-sync --frozen
# What llama-cpp-python never needs here is not compiled; set CMAKE_ARGS yourself, e.g. to -DGGML_CUDA=on, for a GPU.
LEAN := -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_SERVER=OFF -DCMAKE_PROJECT_INCLUDE=$(CURDIR)/tools/lean.cmake
export CMAKE_ARGS ?=
override CMAKE_ARGS := $(LEAN) $(CMAKE_ARGS)

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: .venv/.installed  ## everything, from the lock file (compiles llama.cpp once: 3 to 5 minutes on two cores)

.venv/.installed: uv.lock pyproject.toml tools/lean.cmake tools/tiles.h | $(UV)
	@echo "installing from uv.lock; llama.cpp is compiled once and then cached"
	$(UV) sync --frozen --extra local --extra serve --extra eval
	@touch $@

$(CURDIR)/.tools/uv:
	sh tools/get-uv.sh $@

demo: install  ## the bundled people: personas and explained recommendations, offline
	@$(RUN) rapport demo

check: install  ## formatting, lint, types
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) pyright

test: check  ## check, then the tests (minutes, offline)
	$(RUN) pytest -n auto --dist worksteal --durations 15

test-long: check  ## the long ones too (tens of minutes; Ray is installed for them)
	$(UV) sync --frozen --extra local --extra serve --extra eval --extra ray --extra prices
	$(RUN) pytest -m "long or not long"

RESULTS ?= results
LLM ?= builtin
LIMIT ?= 200

eval: install  ## the scoreboard and all figures of the README: DATA=the data folder; RESULTS=where the report goes; LLM=builtin or another, LIMIT=cases it is asked
	@test -n "$(DATA)" || { echo "name the data folder: make eval DATA=…"; exit 2; }
	$(RUN) rapport eval run boards --data "$(DATA)" --results "$(RESULTS)"
	for one in import index cost cold "redial --users 1000 --llm none"; do \
	  $(RUN) rapport eval run $$one --data "$(DATA)" --results "$(RESULTS)" || exit 1; done
	$(RUN) rapport eval report --results "$(RESULTS)"
	test -d "$(RESULTS)/home/index" || { $(RUN) rapport import "$(DATA)/movielens-latest-small" --home "$(RESULTS)/home" && \
	  $(RUN) rapport index --home "$(RESULTS)/home"; }
	for one in writing gate; do \
	  $(RUN) rapport eval run $$one --users 60 --home "$(RESULTS)/home" --results "$(RESULTS)" --llm "$(LLM)" || exit 1; done
	for board in board-g board-h robustness; do \
	  $(RUN) rapport eval run $$board --data "$(DATA)" --results "$(RESULTS)" --llm "$(LLM)" --limit $(LIMIT) || exit 1; done
	$(RUN) rapport eval report --results "$(RESULTS)"

clean:  ## the environment and what was built
	rm -rf .venv .tools build dist
