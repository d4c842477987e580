# Every goal makes its own environment in .venv on first use, from constraints.txt.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
PY := $(VENV)/bin/python
PYTEST_ARGS ?= -q
BENCH_ARGS ?= --full

.PHONY: demo test lint bench gpu clean

# Trains, saves, loads and runs a network on real data. The last line says accuracy and time.
demo: $(READY)
	$(PY) examples/demo.py

# Ruff and the type checker are tests too (tests/test_types.py).
test: $(READY)
	$(PY) -m pytest $(PYTEST_ARGS)

lint: $(READY)
	$(PY) -m pytest -q tests/test_types.py tests/test_architecture.py

bench: $(READY)
	$(PY) benchmarks/run_all.py $(BENCH_ARGS)

# What needs a CUDA device: kernels against the CPU's results, then timings. Exits with 3 where there is none.
gpu: $(READY)
	$(PY) benchmarks/gpu.py
	$(PY) -m pytest $(PYTEST_ARGS) -m gpu

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,cuda]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
