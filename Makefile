# serve, test, bench, bench-load, bench-response, check, clean. ARGS="..." is passed on: make serve ARGS="--port 8123".
# Needs Python 3.11 or later with venv and headers, and gcc. make PYTHON=python3.14 chooses another Python.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet

# A change of any of these builds and installs the package again.
SOURCES := pyproject.toml setup.py $(wildcard csrc/*.c csrc/*.h \
             $(foreach folder,fastsse fastsse/broadcast/hub fastsse/broadcast/web,$(addprefix $(folder)/,*.pyx *.pxd *.h)))
# A test that needs a browser, a proxy, a neighbour or a store's engine skips without one; requiring one installs what Python needs for it.
TESTED  := $(VENV)/.group-server-test $(if $(FASTSSE_REQUIRE_BROWSER),$(VENV)/.group-browser) \
             $(if $(FASTSSE_REQUIRE_PROXIES),$(VENV)/.group-proxies) \
             $(if $(FASTSSE_REQUIRE_NEIGHBOURS),$(VENV)/.group-neighbours) \
             $(if $(FASTSSE_REQUIRE_STORES),$(VENV)/.group-stores)

# All tests run on all cores, those that ARGS name in one process.
ALL_CORES := -n logical --maxprocesses 4 --dist worksteal

# Where Python may not keep what it has compiled, each start of a server in the tests compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

PEER    := $(if $(filter no,$(PEERS)),,$(VENV)/.peers)

.PHONY: serve test bench bench-load bench-response check clean
.NOTPARALLEL:

serve: $(VENV)/.installed
	@exec $(BIN)/fastsse serve $(ARGS)

test: $(TESTED)
	$(BIN)/python -m pytest $(or $(ARGS),$(ALL_CORES))

# QUICK=1 makes fewer rounds of the same comparisons. PEERS=no measures those that are installed already.
bench: $(VENV)/.group-bench $(VENV)/.group-build $(PEER)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

# The broadcast under load, beside its peers.
bench-load: $(VENV)/.group-bench $(PEER)
	$(BIN)/python -m benchmarks.load $(if $(QUICK),--quick) $(ARGS)

# One answer to one request, token by token, beside its peers.
bench-response: $(VENV)/.group-bench $(PEER)
	$(BIN)/python -m benchmarks.response $(if $(QUICK),--quick) $(ARGS)

# Every gate but the tests themselves, or those named: make check ARGS="lint types".
check: $(addprefix $(VENV)/.group-,build server-test neighbours stores bench lint packaging)
	@VENV=$(VENV) .ci/check $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f fastsse/*.so fastsse/broadcast/*/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: each says that its part is installed.
$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "fastsse needs Python 3.11 or later, and $(PYTHON) is %d.%d: make PYTHON=..." % sys.version_info[:2])'
	@echo "Setting up $(VENV): once, less than a minute."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: $(VENV)/.venv $(SOURCES)
	@echo "Building and installing fastsse."
	@rm -f fastsse/*.so fastsse/broadcast/*/*.so
	@$(PIP) --editable '.[server,json]'
	@$(BIN)/python -c 'import fastsse; print("fastsse", fastsse.__version__, "with its compiled codec." if fastsse.COMPILED \
	  else "in pure Python; `make clean`, then FASTSSE_REQUIRE_EXTENSIONS=1, shows why it was not compiled.")'
	@touch $@

$(VENV)/.group-%: $(VENV)/.installed
	@echo "Installing the dependency group $*."
	@$(PIP) --group $*
	@touch $@

$(VENV)/.peers: $(VENV)/.group-peers
	@command -v npm >/dev/null || echo "There is no npm: what runs on node is not measured."
	@! command -v npm >/dev/null || for folder in benchmarks/node benchmarks/load/servers; do \
	  npm install --prefix $$folder --no-package-lock --no-audit --no-fund --loglevel=error || exit 1; done
	@touch $@
