# Freehold's few words. Everything works on a machine that has python3, make and a way to the package registries.
.POSIX:
.PHONY: setup up test test-fast soak lint types bench bench-peers web check lock
PY = .venv/bin/python
UV = .venv/bin/uv

# what running and developing need, into .venv (nothing outside it)
setup: .venv/.dev

.venv/.up: locks/local.txt locks/build.txt locks/tiny.txt pyproject.toml web/package-lock.json
	@test -x $(UV) || { python3 -m venv .venv && $(PY) -m pip install -q --disable-pip-version-check uv; }
	@echo "freehold: installing the locked dependencies" >&2
	@$(UV) pip install -q --no-deps --require-hashes -r locks/local.txt -r locks/build.txt -r locks/tiny.txt
	@echo "freehold: building the web interface" >&2
	@$(UV) pip install -q --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/.up locks/dev.txt
	@echo "freehold: installing the locked development tools" >&2
	@$(UV) pip install -q --no-deps --require-hashes -r locks/dev.txt
	@touch $@

# start Freehold here (ARGS="--detach --json", "--engine tiny", "--port 9443", "--state DIR" …)
up: .venv/.up
	@.venv/bin/freehold up $(ARGS)

# every test but the soak (what lacks its program is skipped with a line that says how to get it)
test: setup
	@$(PY) -m pytest -m "not soak" $(ARGS)

# thousands of attacks, and measurements that want a quiet machine
soak: setup
	@$(PY) -m pytest -m soak $(ARGS)

# the everyday tests: no browser, no whole stack, nothing slow
test-fast: setup
	@$(PY) -m pytest -m "not stack and not browser and not npm and not slow" $(ARGS)

# style and the import order of the rooms
lint: setup
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/lint-imports

# strict types, Python and web
types: setup
	@.venv/bin/mypy && $(PY) web/build_hook.py check

# the benchmarks: a table, and JSON in bench/out
bench: setup
	@$(PY) -m bench $(ARGS)

# the gateway beside LiteLLM, Portkey, ferrogw, nginx and Envoy (about ten minutes): bench/RESULTS.md
bench-peers: setup
	@$(PY) -m bench.peers $(ARGS)

# build the web interface again
web: setup
	@$(PY) web/build_hook.py build

# what a commit must pass
check: lint types test

# make the dependency locks again
lock: setup
	@sh locks/compile.sh
