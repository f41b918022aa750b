# Everything happens in .venv; nothing is installed outside the checkout.
#
#   make demo      both ends of the ten-message example, about ten seconds
#   make test      the tests (ARGS="-k fragments" chooses)
#   make build     the compiled core, in place
#   make bench     the benchmarks (ARGS="--quick")
#   make lint      ruff, mypy, cython-lint
#   make docs      the documentation as a site, build/site/index.html
#   make clean     as freshly cloned
#
# PYTHON=python3.13 chooses the interpreter, VENV=somewhere another environment.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

PY := $(VENV)/bin/python
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)
MADE := $(VENV)/.made-$(VERSION)
SOURCES := $(shell find firefly_ws -name '*.pyx' -o -name '*.pxd' -o -name '*.h')

.PHONY: demo test build bench lint docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/.built
	@$(PY) examples/ten_messages.py

# Without its caches every worker would compile every test anew: half of what collecting them takes.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.built $(VENV)/.extra-test
	@$(PY) -m pytest -n auto --dist loadfile --max-worker-restart 1 $(ARGS)

build: $(VENV)/.built

bench: $(VENV)/.built $(VENV)/.extra-bench
	@$(PY) -m benchmarks $(ARGS)

lint: $(VENV)/.built $(VENV)/.extra-lint $(VENV)/.extra-test
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@PATH="$(abspath $(VENV)/bin):$$PATH" cython-lint --max-line-length=120 firefly_ws

docs: $(VENV)/.built $(VENV)/.extra-docs
	@$(PY) docs/theme/pages.py
	@PATH="$(abspath $(VENV)/bin):$$PATH" PYTHONPATH=docs/theme zensical build --strict --clean $(ARGS)

clean:
	@rm -rf $(VENV) .cache tests/interop/node_modules build dist firefly_ws.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find firefly_ws \( -name '*.so' -o -name '*.c' -o -name '*.html' -not -name echo.html \) -delete
	@find . -name __pycache__ -prune -exec rm -rf {} +

# What cannot work is said before anything is tried.
define CHECK
import os, shlex, shutil, sys, sysconfig
if sys.version_info < (3, 11):
    sys.exit(f"firefly_ws needs Python 3.11 or later; {sys.executable} is {sys.version.split()[0]}. "
             "Name another: make PYTHON=python3.13")
compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
if not shutil.which(shlex.split(compiler)[0]):
    sys.exit(f"firefly_ws is compiled, and there is no C compiler: {shlex.split(compiler)[0]} was not found. "
             "Install one (Debian: apt-get install gcc; macOS: xcode-select --install) or name yours with CC=")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    sys.exit("firefly_ws is compiled, and Python.h is missing. "
             "Install the headers of this Python (Debian: apt-get install python3-dev)")
endef
export CHECK

# The lists in pyproject.toml, without building the package: "build", "run", or an extra's name.
define INSTALL
import subprocess, sys, tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)
for name in sys.argv[1:]:
    wanted = {"build": project["build-system"]["requires"], "run": project["project"]["dependencies"]}.get(name)
    wanted = wanted or project["project"]["optional-dependencies"][name]
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted])
endef
export INSTALL

$(MADE):
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; name a Python: make PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -c "$$CHECK"
	@echo "making $(VENV) with Python $(VERSION)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.required: $(MADE) pyproject.toml
	@echo "installing what firefly_ws needs"
	@$(PY) -c "$$INSTALL" build run
	@touch $@

$(VENV)/.extra-%: $(MADE) pyproject.toml
	@echo "installing what '$*' needs"
	@$(PY) -c "$$INSTALL" $*
	@touch $@

$(VENV)/.built: $(VENV)/.required $(SOURCES)
	@$(PY) -c "$$CHECK"
	@echo "compiling firefly_ws"
	@$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@
