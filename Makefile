# `make help` lists the targets. Everything they need is put into .venv, from the locked files in requirements/.
.DEFAULT_GOAL := help
.PHONY: help demo docs bundle rollouts test test-docs test-stages test-k8s test-model lint format lock clean test-node test-compose test-swarm bench-kit bench-forum test-long

# Every process of a stack would compile the same modules anew: three seconds instead of one.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
# Venvs of their own: what checkov depends on does not go with the rest, and few need the site's generator.
CHECKOV := build/checkov
ZENSICAL := build/zensical
BUNDLE := build/bundle/strangler/bundle

# In an unpacked bundle, nothing is asked of a package index.
ifneq ($(wildcard bundle/wheels),)
export PIP_NO_INDEX := 1
export PIP_FIND_LINKS := $(CURDIR)/bundle/wheels
export UV_OFFLINE := 1
export UV_NO_INDEX := 1
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
endif

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24
	@echo
	@echo '  make demo ROUNDTRIP=1      there and back again: 0 to 5 to 0'
	@echo '  make demo KEEP=1           stay up at the end, with the address to open'
	@echo '  make demo MESSAGES=20000 USERS=10 DURATION=60'
	@echo '                             other sizes: messages to start with, users of the load, seconds of load'

demo: $(INSTALLED) ## Watch a monolith under load become microservices, and no request fail
	@$(PYTHON) -m local.demo

rollouts: $(INSTALLED) ## Six ways to a new version, good and bad ones, under load, measured (STRATEGY=canary VERSION=slow TARGET=local)
	@$(PYTHON) -m loadtest.rollouts

docs: $(ZENSICAL)/.installed ## The documents as a site in build/site, for which no network is needed
	@$(ZENSICAL)/bin/zensical build --clean --strict

bundle: docs ## build/bundle.tar, for machines without a network: the last commit, wheels, site, images
	@rm -rf $(BUNDLE) && mkdir -p $(BUNDLE)
	@git archive HEAD | tar -x -C build/bundle/strangler
	@cp -r build/site $(BUNDLE)/site
	@echo "Fetching wheels ..."
	@$(PYTHON) -m pip download -q --disable-pip-version-check --only-binary :all: --require-hashes \
		-d $(BUNDLE)/wheels -r requirements/dev.txt
	@if [ "$(IMAGES)" != 0 ] && docker info >/dev/null 2>&1; then \
		images=$$(docker compose -f compose/4-messages.yaml --profile load --profile observe config --images | sort -u); \
		for image in $$images; do docker image inspect $$image >/dev/null 2>&1 || docker pull -q $$image || { \
			echo "make: no image $$image; make it (docker buildx bake), or leave images out: make bundle IMAGES=0" >&2; exit 2; }; done; \
		docker save -o $(BUNDLE)/images.tar $$images; \
	else echo "without images"; fi
	@tar -cf build/bundle.tar -C build/bundle strangler && rm -r build/bundle && du -h build/bundle.tar

test: $(INSTALLED) ## Run the tests (some of them: TESTS="tests/kit -k fence")
	@KILL_EVERY=$${KILL_EVERY:-8} $(PYTHON) -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(TESTS)

test-docs: docs ## The labs, typed in order under load: there and back again; README's walks; the site
	@$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/docs $(TESTS)

test-long: docs ## What takes too long for every change: each kill, every stage's contract, rollouts, naive ways, the bundle
	@KILL_EVERY=1 $(PYTHON) -m pytest -n 2 --dist loadfile tests/kit/test_kills.py tests/kit/test_kills_create.py
	@CONTRACT=all $(PYTHON) -m pytest -s tests/stages
	@$(PYTHON) -m pytest -m long tests/local tests/stages tests/docs
	@$(PYTHON) -m local.demo --roundtrip --messages 5000 --duration 20
	@if docker info >/dev/null 2>&1; then $(MAKE) test-node && $(PYTHON) -m pytest -m long tests/compose; else echo "skipped: test-node and some of Compose, since there is no Docker engine here"; fi

test-stages: $(INSTALLED) ## One contract at every stage of the local stack; a bad canary; photographs of both
	@$(PYTHON) -m pytest -s tests/stages $(TESTS)

test-k8s: $(INSTALLED) $(CHECKOV)/.installed ## The Kubernetes manifests: they render and validate, without a cluster
	@$(PYTHON) -m pytest -n 2 tests/k8s $(TESTS)

test-model: $(INSTALLED) ## A model of the protocol, checked exhaustively, and its mutants refuted (needs spin and gcc)
	@if ! command -v spin >/dev/null || ! command -v gcc >/dev/null; then \
		echo "make: needs spin and a C compiler (Debian: apt install spin gcc libc6-dev)" >&2; exit 2; fi
	@$(PYTHON) -m pytest -s tests/model $(TESTS)

test-node: $(INSTALLED) ## The pods of the Kubernetes stages as containers, on a real engine, as root
	@$(PYTHON) -m pytest -s tests/node $(TESTS)

test-compose: $(INSTALLED) ## The stages in Docker Compose, on a real engine (TESTS="-k walk")
	@$(PYTHON) -m pytest tests/compose $(TESTS)

test-swarm: $(INSTALLED) ## The stages in Docker Swarm, on a real engine (TESTS="-k walk")
	@$(PYTHON) -m pytest tests/swarm $(TESTS)

bench-kit: $(INSTALLED) ## The kit's bounds, measured: a row each; JSON in build/bench-kit.json (ROWS=1000000 for a shorter run)
	@$(PYTHON) -m tests.bench.kit

bench-forum: $(INSTALLED) ## The forum's bounds, likewise; JSON in build/bench-forum.json (ROWS=100000 for a shorter run)
	@$(PYTHON) -m tests.bench.forum

lint: $(INSTALLED) ## ruff, mypy, import-linter
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(INSTALLED) ## Let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lock: $(INSTALLED) ## Write requirements/*.txt anew from pyproject.toml
	$(VENV)/bin/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		--extra dev pyproject.toml -o requirements/dev.txt
	$(VENV)/bin/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		--extra forum -c requirements/dev.txt pyproject.toml -o requirements/service.txt
	$(VENV)/bin/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		--extra loadtest -c requirements/dev.txt pyproject.toml -o requirements/loadtest.txt
	echo uv | $(VENV)/bin/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		-c requirements/dev.txt - -o requirements/uv.txt
	echo checkov | $(VENV)/bin/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		- -o requirements/checkov.txt
	echo zensical | $(VENV)/bin/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		- -o requirements/zensical.txt

clean: ## Stop what runs, remove .venv, build/ and all state
	@if [ -x $(VENV)/bin/strangler-local ]; then for state in .state build/demo/state build/rollouts/state; do \
		if [ -e $$state ]; then STRANGLER_STATE=$$state $(VENV)/bin/strangler-local down --purge || exit; fi; done; \
		$(PYTHON) -m local.postgres; fi
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first Python of these that is new enough; uv from a file with hashes; the rest by uv, with hashes too.
$(INSTALLED): requirements/uv.txt requirements/dev.txt pyproject.toml
	@for python in python3 python3.13 python3.12 python3.11 none; do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; done; \
	if [ $$python = none ]; then \
		echo "make: needs Python 3.11 or newer, found $$(python3 --version 2>&1 || echo none); install python3.11 or newer" >&2; exit 2; fi; \
	if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "make: $$python comes without venv; install it (Debian: apt install python3-venv)" >&2; exit 2; fi; \
	echo "Setting up .venv with $$($$python --version) ..."; \
	$$python -m venv $(VENV)
	@$(PYTHON) -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(VENV)/bin/uv pip sync -q --python $(PYTHON) --require-hashes requirements/dev.txt
	@$(VENV)/bin/uv pip install -q --python $(PYTHON) --no-deps --no-build-isolation -e .
	@touch $@

build/%/.installed: requirements/%.txt $(INSTALLED)
	@echo "Setting up $* in build/$* ..."
	@$(VENV)/bin/uv venv -q --clear --python $(PYTHON) build/$*
	@$(VENV)/bin/uv pip sync -q --python build/$*/bin/python --require-hashes requirements/$*.txt
	@touch $@
