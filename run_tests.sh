#!/usr/bin/env bash
# Every check of the project: bash run_tests.sh          format, lint, types, duplication, tests (without the slow ones)
#                             bash run_tests.sh --slow   the slow tests: training, launchers, packaging
#                             bash run_tests.sh --latest   the tests on the newest release of every library, in .venv-latest
#                             bash run_tests.sh --goldens FOLDER   the originals' tensors in a folder, against ours
# Further arguments go to pytest: bash run_tests.sh -k mixture
set -euo pipefail
CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")"
if [ "${1:-}" = "--latest" ]; then export SEGLM_LATEST=1; fi
. utils/environment.sh

# In two processes of one thread each: tests are short, and start no more than that.
fast=(-n 2 -m "not slow and not gpu and not weights")
if [ "${1:-}" != "--slow" ]; then export OMP_NUM_THREADS=1; fi

if [ "${1:-}" = "--latest" ]; then
    shift
    echo "== versions"; "$PYTHON" -m pip list --disable-pip-version-check --format freeze --exclude-editable | paste -sd " " -
    echo "== tests";    exec "$PYTHON" -m pytest "${fast[@]}" "$@"
fi

if [ "${1:-}" = "--slow" ]; then
    shift
    exec "$PYTHON" -m pytest -m "slow and not gpu and not weights" "$@"
fi

if [ "${1:-}" = "--goldens" ]; then
    [ -d "${2:-}" ] || { echo "run_tests.sh --goldens: '${2:-}' is no folder; give the one that holds lisa, gsva, ..." >&2; exit 2; }
    SEGLM_GOLDENS=$(cd "$2" && pwd) exec "$PYTHON" -m pytest tests/conformance "${@:3}"
fi

echo "== format";      "$PYTHON" -m ruff format --check .
echo "== lint";        "$PYTHON" -m ruff check .
echo "== types";       "$PYTHON" -m mypy
echo "== duplication"; "$PYTHON" -m tests.house.duplication
echo "== tests";       exec "$PYTHON" -m pytest "${fast[@]}" "$@"
