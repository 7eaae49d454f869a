# Two commands matter: `make demo` and `make test`.  Both install what they need into .venv.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
N ?= 2000
WORKERS ?= 2
MINUTES ?= 10
SANITIZED ?= tests/pkcs11
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint cover oldest same determinism kills mutants bench campaign sanitize fuzz toxiproxy clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

demo: $(VENV)/installed ## run the example applications, naive, hardened and in production form, as a visible story
	$(BIN)/python -m examples.document_vault.demo
	$(BIN)/python -m examples.key_custodian.demo
	$(BIN)/python -m pytest examples -q -n 2 --hsm-seed=1

test: lint ## check style, types and layers, then run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal $(TESTS)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

cover: $(VENV)/installed ## branch coverage of the package
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n 2 --dist worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95

oldest: $(VENV)-oldest/installed ## the plugin's own tests on the oldest pytest that is supported
	$(VENV)-oldest/bin/python -m pytest -c /dev/null --rootdir=. --import-mode=importlib -p no:cacheprovider -p no:looptime_plugin tests/plugin -q -n 2

same: $(VENV)/installed ## run the suite in two random orders and on two workers: all journals must be the same
	rm -rf $(VENV)/journals
	$(BIN)/python -m pytest -q -p tests.determinism.journals --journals=$(VENV)/journals/order-1 --randomly-seed=1
	$(BIN)/python -m pytest -q -p tests.determinism.journals --journals=$(VENV)/journals/order-2 --randomly-seed=2
	$(BIN)/python -m pytest -q -p tests.determinism.journals --journals=$(VENV)/journals/workers -n 2 --dist loadfile
	$(BIN)/python -m tests.determinism.journals $(VENV)/journals

determinism: $(VENV)/installed ## tell 1,000 stories on every Python here, by 0 to 4 workers, under load: all journals must be the same
	$(BIN)/python -m tests.determinism.proof $(if $(STORIES),--stories=$(STORIES)) $(if $(PYTHONS),--pythons="$(PYTHONS)")

bench: $(VENV)/bench ## measure; see docs/performance.md
	$(BIN)/python -m pytest benchmarks -p no:randomly -p no:xdist --benchmark-only -q --benchmark-json=.benchmarks/run.json
	$(BIN)/python benchmarks/report.py .benchmarks/run.json
	$(BIN)/python -m benchmarks.scenarios
	$(BIN)/python -m benchmarks.app_time
	$(BIN)/python -m benchmarks.sweeps
	$(BIN)/python -m benchmarks.pkcs11_door
	$(BIN)/python -m benchmarks.processes
	$(BIN)/python benchmarks/startup.py

kills: $(VENV)/installed ## kill HSM processes N times at random points and instants, and look at what is left: make kills N=1000
	$(BIN)/python -m benchmarks.kills $(N)

mutants: $(VENV)/installed ## try wrong clusters on the examples' tests, and our own seeded mistakes on their sweeps and the campaign
	@$(BIN)/python -m pytest examples -m "not hsm_sweep" --hsm-mutants -n 2 -r ""; examples=$$?; \
	  $(BIN)/python -m seeded && exit $$examples

campaign: $(VENV)/installed ## play N stories of each kind; Ctrl-C stops it, the same command goes on: make campaign N=10000
	$(BIN)/python -m pytest campaign -p pytest_hsmcluster.campaign --campaign='$(N)' -n $(WORKERS) -q --show-capture=no

# In two parts.  GnuTLS's programs cannot have AddressSanitizer: on Debian 12 they wait for ever in libp11-kit's
# destructor (freelocale) when libasan is preloaded, also with another PKCS#11 library or none.  They run under
# valgrind, with UndefinedBehaviorSanitizer, and openssl does so, too.  Java, Go and all else have both sanitizers.
SANITIZING = -m "not build" -q -p no:xdist -p no:cacheprovider -p tests.pkcs11.sanitized
WATCHED = tests/pkcs11/clients/test_p11tool.py tests/pkcs11/clients/test_openssl.py

sanitize: $(VENV)/installed ## run the tests of the PKCS#11 library with sanitizers, and some clients under valgrind
	$(BIN)/python -m tests.pkcs11.compiling library $(VENV)/sanitized
	LD_PRELOAD=$$(cc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0:suppressions=$(CURDIR)/tests/pkcs11/asan.supp UBSAN_OPTIONS=print_stacktrace=1 \
	  $(BIN)/python -m pytest $(SANITIZED) --ignore=tests/pkcs11/clients/test_p11tool.py $(SANITIZING) --pkcs11-library=$(VENV)/sanitized/libhsmcluster_pkcs11.so
	$(BIN)/python -m tests.pkcs11.compiling undefined $(VENV)/undefined
	$(BIN)/python -m tests.pkcs11.compiling watched $(VENV)/watched
	PATH="$(CURDIR)/$(VENV)/watched:$$PATH" UBSAN_OPTIONS=print_stacktrace=1 \
	  $(BIN)/python -m pytest $(WATCHED) $(SANITIZING) --pkcs11-library=$(VENV)/undefined/libhsmcluster_pkcs11.so

fuzz: $(VENV)/installed ## fuzz both ends of the PKCS#11 frames, each for MINUTES; needs clang and libclang-rt-dev
	$(BIN)/python -m tests.pkcs11.compiling fuzzer $(VENV)/fuzz
	mkdir -p $(VENV)/fuzz/corpus
	$(VENV)/fuzz/fuzzer $(VENV)/fuzz/corpus tests/pkcs11/fuzz/corpus -max_len=1500 -max_total_time=$$((60 * $(MINUTES))) \
	  -close_fd_mask=2 -print_final_stats=1 -artifact_prefix=$(VENV)/fuzz/
	$(BIN)/python -m tests.pkcs11.fuzz.python_end $(MINUTES)

toxiproxy: $(BIN)/toxiproxy-server ## build a real Toxiproxy server for the tests that need one; needs Go 1.19 or newer

clean: ## remove what the other targets made
	rm -rf $(VENV) $(VENV)-oldest .venv-determinism build dist .coverage*

# What the PKCS#11 library is made from: when it changes, it is built anew.
NATIVE = setup.py $(shell find pytest_hsmcluster/pkcs11/native -name '*.[ch]') $(wildcard pytest_hsmcluster/wire/*.py)

$(VENV)/installed: pyproject.toml $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)-oldest/installed: pyproject.toml tests/oldest.txt $(VENV)/installed
	@$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-oldest/bin/python -m pip install --quiet --editable '.[test]' --constraint tests/oldest.txt
	@touch $@

# Another version: toxiproxy/starting.py names it too, for those who have no Makefile.
$(BIN)/toxiproxy-server: | $(VENV)/installed
	GOBIN=$(CURDIR)/$(BIN) go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.8.0
	mv $(BIN)/server $@

$(VENV)/bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@
