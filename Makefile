PYTHON ?= python3
BIN := .venv/bin
# More than two cores: tests mostly wait.
WORKERS ?= 4

# Each of the many programs that tests start would compile all of this again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install dev test test-unit test-redis check bench chaos lock metrics client vendor newest-node screenshots

# Quick when there is nothing to do: the stamp is newer than what it was made from.
install: .venv/installed

.venv/installed: requirements.lock setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

dev: install
	$(BIN)/realtime dev $(ARGS)

# All tests, several at a time; then those that need the machine for themselves (tests/workers.py).
# With ARGS, what they name, in one process: make test ARGS="tests/unit/gateway -k hub"
test: install
ifeq ($(strip $(ARGS)),)
	failed=0; \
	$(BIN)/python -m pytest -n $(WORKERS) -m "not alone" || failed=1; \
	$(BIN)/python -m pytest -m alone || failed=1; \
	exit $$failed
else
	$(BIN)/python -m pytest $(ARGS)
endif

test-unit: install
	$(BIN)/python -m pytest -n 2 tests/unit $(ARGS)

# All that runs against Redis, on the other kinds of it.
test-redis: install
	for kind in sentinel cluster tls; do \
		echo "--redis=$$kind" && \
		$(BIN)/python -m pytest tests/integration tests/acceptance --redis=$$kind -m "not standalone" $(ARGS) || exit 1; \
	done

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/unit/repository/test_kubernetes.py tests/unit/repository/test_alerts.py tests/unit/repository/test_dashboard.py

bench: install
	$(BIN)/python -m bench $(ARGS)

# Sizes and imports of the code; a column a directory: make metrics ARGS="../before ."
metrics: install
	$(BIN)/python tools/metrics.py $(ARGS)

# Pulls the plug under load: make chaos SEED=3 MINUTES=10; ARGS="--faults notifier-*" for some kinds only.
chaos: install
	$(BIN)/python -m tests.chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),1) $(ARGS)

# Rewrites requirements.lock from setup.cfg; commit both together.
lock: install
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --all-extras --upgrade setup.cfg -o requirements.lock

# Builds the JavaScript client, and the file that gateways serve; needs Node 20 or newer. Commit both together.
client:
	cd clients/javascript && npm ci --no-audit --no-fund && npm run served

# Makes the vendored files of the dashboard anew from the versions in tools/vendor/; needs Node. Commit what changed.
vendor:
	npm ci --prefix tools/vendor --ignore-scripts --no-audit --no-fund
	node tools/vendor/build.mjs

# The newest Node that npm has, for tests of the client.
newest-node:
	npm install --no-audit --no-fund --no-save --prefix tests/acceptance/javascript/newest node@latest

# Pictures of every page of the dashboard, with people and traffic, for README and docs; needs Chromium.
screenshots: install
	$(BIN)/python tools/screenshots.py
