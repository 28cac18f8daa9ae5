# make demo          installs, trains an emulator for three minutes, generates 100,000 showers, writes the report
# make demo-fields   the same for density fields: 200 maps of the cosmic web, and one of 1024 x 1024 cells
# make test          installs, runs the quick tests: three to seven minutes on two cores
# make test-long     all tests, also whole trainings and simulations: about ten minutes more
PYTHON ?= python3
EXTRAS ?=
BIN := .venv/bin

.PHONY: install demo demo-fields test test-long lint format clean

install: .venv/installed$(EXTRAS)

.venv/installed$(EXTRAS): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".$(if $(EXTRAS),[$(EXTRAS)])" --group dev
	rm -f .venv/installed* && touch $@

demo: install
	rm -rf demo
	$(BIN)/emulators train benchmarks/recipes/demo.toml --run demo/run
	$(BIN)/emulators generate demo/run -n 100000 --energy 1:100:log -o demo/showers.h5
	$(BIN)/emulators benchmark demo/showers.h5 data/samples/photon_showers.h5 -o demo/report

demo-fields: install
	rm -rf demo-fields
	$(BIN)/emulators train benchmarks/recipes/demo_fields.toml --run demo-fields/run
	$(BIN)/emulators generate demo-fields/run -n 200 -o demo-fields/maps.h5
	$(BIN)/emulators generate demo-fields/run -n 1 --cells 1024 -o demo-fields/large-map.h5
	$(BIN)/emulators benchmark demo-fields/maps.h5 data/samples/cosmic_web_maps.h5 -o demo-fields/report

# Two processes of one thread: many small matrices, and processes of their own in some tests.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test: install
	$(PYTEST) -m "not long"

test-long: install
	$(PYTEST)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo demo-fields dist
