# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
BIN := $(VENV)/bin
CONSTRAINTS := constraints.txt

.PHONY: demo test lint types docs check clean

demo: $(DEMO_VENV)/.ready
	$(DEMO_VENV)/bin/mien analyze examples/*.jpg -o out/demo/
	@printf 'annotated image: %s\n' out/demo/*.jpg

$(DEMO_VENV)/.ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/pip install --quiet --constraint $(CONSTRAINTS) --editable .
	touch $@

$(VENV)/.ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable ".[all,dev,docs]"
	touch $@

test: $(VENV)/.ready
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready
	$(BIN)/mypy

# Nothing is fetched. A warning is an error: links between pages, names in docstrings, tables made from the code.
docs: $(VENV)/.ready
	$(BIN)/sphinx-build --quiet --builder html --fail-on-warning --keep-going --nitpicky docs out/site
	@echo 'the site: out/site/index.html'

check: lint types docs test

clean:
	rm -rf $(VENV) $(DEMO_VENV) out build dist .pytest_cache .mypy_cache .ruff_cache
