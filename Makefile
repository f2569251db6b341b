# Everything a person does with a checkout. `make` alone lists it.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help run test axe bench screenshots lint format lock

# An empty variable must count as one that is not given.
$(foreach name,PORT DATA_DIR SANDBOX SANDBOX_PORT SANDBOX_MAIL_PORT DATABASE_URL REDIS_URL PYTEST_ARGS,$(if $(value $(name)),$(eval export $(name)),$(eval unexport $(name))))

# `exec` hands the shell's place to Python, which does the same when it goes on: signals for make's child reach the launcher.
INSTALL = for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 /usr/bin/python3); do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && exec "$$python" local/install.py $(1); \
	done; \
	echo "Casebridge needs Python 3.11 or newer and found none; name yours: make PYTHON=/path/to/python3." >&2; \
	exit 1

help:
	@echo "make run          start the portal with everything it needs (http://127.0.0.1:8000/)"
	@echo "make test         all checks and tests"
	@echo "make axe          look for what keeps people from using a page, on all of them"
	@echo "make bench        measure throughput"
	@echo "make screenshots  take the documentation's pictures again, and one of every page into .data/pictures"
	@echo "make lint         format, lint, types and the rooms' contracts only"
	@echo "make format       put the code into its format"
	@echo "make lock         resolve the requirements again and write the lock files"
	@echo
	@echo "For run: PORT=8000 DATA_DIR=.data SANDBOX=1 SANDBOX_PORT=8001 SANDBOX_MAIL_PORT=8002 DATABASE_URL= REDIS_URL="
	@echo "For test: PYTEST_ARGS='tests/test_one.py -x'. For all: PYTHON=python3.12"

run:
	@$(call INSTALL,run)

test:
	@$(call INSTALL,test)

bench:
	@$(call INSTALL,bench)

screenshots:
	@$(call INSTALL)
	@.venv/bin/python docs/screenshots.py
	@exec .venv/bin/python docs/axe.py --pictures .data/pictures

axe:
	@$(call INSTALL)
	@exec .venv/bin/python docs/axe.py

lint:
	@$(call INSTALL,lint)

format:
	@$(call INSTALL)
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock:
	@$(call INSTALL)
	@.venv/bin/python -m pip install -qq --disable-pip-version-check uv
	@for name in requirements requirements-dev; do \
		.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
			$$name.in -o $$name.txt || exit 1; \
	done
