# SPDX-License-Identifier: MIT
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help report test lab lab-full notebooks readme sanitize mutants wasm widgets plotly lint lint-scripts constraints \
    clean
help:
	@echo "make report     measure here what may be measured, render every notebook into build/report/"
	@echo "make test       run the tests"
	@echo "make lab        open JupyterLab on the notebooks"
	@echo "make notebooks  re-execute the notebooks into the form in which they are committed"
	@echo "make readme     compute the parts of README.md anew that are computed"
	@echo "make lab-full   measure the full suite into build/full, or go on with it, then kill children at random (root; over half an hour)"
	@echo "make sanitize   run the tests that touch the kernel with ASan and UBSan in the C code"
	@echo "make mutants    change the code on purpose, in copies, and see which tests notice (MUTANTS=stats: one target)"
	@echo "make wasm       compile the simulator for pages again (clang and lld)"
	@echo "make widgets    bundle the scripts of widgets and pages again (node)"
	@echo "make plotly     fetch the drawing library of pages again (npm)"
	@echo "make lint       formatting, lint and types only"
	@echo "make clean      remove what was built; what was measured and rendered into build/ is kept"

# The same versions on every machine: constraints.txt holds build tools and packages alike.
$(VENV)/installed: pyproject.toml setup.py constraints.txt $(wildcard uffdlab/native/*/*.[ch]) uffdlab/native/probe/probe.constants.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt setuptools wheel cffi
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e .
	@$(BIN)/python -c 'from uffdlab.native import why_missing as why; print("installed;", why() or "the probes are built")'
	@touch $@

$(VENV)/installed-tests: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[test]'
	@touch $@

report: $(VENV)/installed
	$(BIN)/uffdlab render

# Compiled once: where Python is told to write no bytecode, each of the commands that tests start would do it again.
test: $(VENV)/installed-tests
	@$(BIN)/python -m compileall -q uffdlab
	$(BIN)/python -m pytest --numprocesses=auto --dist=loadscope

lab: $(VENV)/installed
	$(BIN)/uffdlab lab

# An interrupted campaign goes on; then a hundred children are killed at random moments.
lab-full: $(VENV)/installed-tests
	$(BIN)/uffdlab measure --suite full --allow-host-changes --out build/full $(if $(wildcard build/full.partial),--resume)
	UFFDLAB_KILLS=100 $(BIN)/python -m pytest tests/measure/test_robustness.py

notebooks: $(VENV)/installed-tests
	$(BIN)/python -m uffdlab.report.committed
	$(BIN)/python -m uffdlab.report.committed --picture notebooks/01_anon_hugetlb.ipynb guest-figure docs/guest.png

readme: $(VENV)/installed
	$(BIN)/python -m uffdlab.report.readme

sanitize: $(VENV)/installed-tests
	$(BIN)/python tests/sanitized.py

# Nothing here is changed: see tests/mutants/.
MUTANTS ?=
mutants: $(VENV)/installed-tests node_modules/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[test,mutants]'
	nice $(BIN)/python tests/mutants $(MUTANTS)

# The same sources as the extension, without a library; what is committed is tested against the extension.
WASM_SOURCES := $(wildcard uffdlab/native/sim/*.c)
WASM_EXPORTS = $(shell sed -n '/^\(enum\|struct\|\/\)/d; s/^[a-z0-9_ ]*[ *]\(ul_[a-z_]*\).*/-Wl,--export=\1/p' uffdlab/native/sim/sim.cdef.h)
wasm:
	clang --target=wasm32 -std=gnu11 -O2 -ffreestanding -fno-builtin -mbulk-memory -ffp-contract=off -fno-math-errno -nostdlib \
	    -Wall -Wextra -Werror -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=262144 -Wl,--export=__heap_base $(WASM_EXPORTS) \
	    -o uffdlab/native/sim.wasm $(WASM_SOURCES)

# One module for each widget, and a script of what pages save; what is committed is tested against the sources.
node_modules/installed: package.json package-lock.json
	npm ci --silent --no-audit --no-fund
	@touch $@

widgets: node_modules/installed
	node uffdlab/widgets/js/bundle.mjs uffdlab/widgets/assets

# Parentheses around its factory: browsers compile it at once then, instead of twice.
PLOTLY_JS := 4.1.1
plotly:
	directory=$$(mktemp -d) && npm pack --silent --pack-destination $$directory plotly.js-cartesian-dist-min@$(PLOTLY_JS) && \
	    tar -xOf $$directory/*.tgz package/plotly-cartesian.min.js > $$directory/js && \
	    sed -e 's/this, () => {$$/this, (() => {/' -e '$$s/}));$$/})));/' $$directory/js | gzip -9n > $$directory/js.gz && \
	    mv $$directory/js.gz uffdlab/widgets/assets/plotly-cartesian.min.js.gz; \
	    status=$$?; rm -rf $$directory; exit $$status

lint: $(VENV)/installed-tests
	$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check . && $(BIN)/python -m mypy
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory lint-scripts; \
	    else echo "the scripts are not checked: npm is missing (install nodejs and npm)"; fi

lint-scripts: node_modules/installed
	npx --no-install biome check --error-on-warnings

constraints:
	printf 'setuptools\nwheel\n' | uv pip compile --quiet --universal --python-version 3.11 --all-extras \
	    --no-annotate --no-header --upgrade --output-file constraints.txt pyproject.toml -
	npm update --silent --no-audit --no-fund --package-lock-only --omit-lockfile-registry-resolved

# What was built; what was measured and rendered into build/ is kept.
clean:
	rm -rf $(addprefix build/,lib lib.* temp.* bdist.* __editable__* sanitized) $(VENV) node_modules *.egg-info uffdlab/native/*.so
	@rmdir build 2>/dev/null || [ ! -d build ] || echo "kept: $$(ls -d build/* | tr '\n' ' ')"
