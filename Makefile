# Every goal makes its own environment in .venv on first use, from constraints.txt.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
PY := $(VENV)/bin/python
# Modules of tests run side by side, each whole: `make test PYTEST_ARGS="-q -n 0"` runs one after the other.
PYTEST_ARGS ?= -q -n auto --dist loadscope
BENCH_ARGS ?= --full
# An environment with every framework that spikec reads, each pinned. Those that depend on torch are installed after it
# and without their own dependencies, of which they ask more than their neurons need.
FRAMEWORKS := .venv-conformance
PINS := $(wildcard tests/conformance/requirements/*.txt)

.PHONY: demo test lava xylosim lint bench conformance gpu clean

# Trains, saves, loads and runs a network on real data. The last line says accuracy and time.
demo: $(READY) lava
	$(PY) examples/demo.py

# Ruff and the type checker are tests too (tests/test_types.py).
test: $(READY) lava xylosim
	$(PY) -m pytest $(PYTEST_ARGS)

# An environment that runs Lava, in the user's cache, unless one is there or SPIKEC_LAVA_PYTHON names one. Where it
# cannot be made, as without a network, what needs it is skipped.
lava: $(READY)
	@$(PY) -m spikec lava check >/dev/null 2>&1 || $(PY) -m spikec lava install || echo "Lava is left out"

# The vendor's simulator of Xylo, which is built from its source. Where it cannot be, what needs it is skipped.
xylosim: $(READY)
	@$(PY) -c "import xylosim.v2" 2>/dev/null || $(PY) -m pip install --quiet --disable-pip-version-check xylosim==0.1.3 \
		|| echo "xylosim is left out"

lint: $(READY)
	$(PY) -m pytest -q tests/test_types.py tests/test_architecture.py

bench: $(READY)
	$(PY) benchmarks/run_all.py $(BENCH_ARGS)

# Every front end and every target against the frameworks themselves; writes docs/conformance.md. Fails where a
# framework is missing. CONFORMANCE_ARGS="--only norse --steps 100" runs a part.
conformance: $(FRAMEWORKS)/.ready
	PYTHONPATH=tests $(FRAMEWORKS)/bin/python -m conformance $(CONFORMANCE_ARGS)

$(FRAMEWORKS)/.ready: pyproject.toml constraints.txt $(PINS)
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(FRAMEWORKS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(PINS:%=-r %)
	touch $@

# What needs a CUDA device: kernels against the CPU's results, then timings. Exits with 3 where there is none.
gpu: $(READY)
	$(PY) benchmarks/gpu.py
	$(PY) -m pytest -q -m gpu

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,cuda]"
	touch $@

clean:
	rm -rf $(VENV) $(FRAMEWORKS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
