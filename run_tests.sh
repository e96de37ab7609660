#!/usr/bin/env bash
# Every check of the project: bash run_tests.sh          format, lint, types, duplication, tests (without the slow ones)
#                             bash run_tests.sh --slow   the slow tests: training, launchers, packaging
# Further arguments go to pytest: bash run_tests.sh -k mixture
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. utils/environment.sh

if [ "${1:-}" = "--slow" ]; then
    shift
    exec "$PYTHON" -m pytest -m "slow and not gpu and not weights" "$@"
fi

echo "== format";      "$PYTHON" -m ruff format --check .
echo "== lint";        "$PYTHON" -m ruff check .
echo "== types";       "$PYTHON" -m mypy
echo "== duplication"; "$PYTHON" -m tests.house.duplication
echo "== tests";       exec "$PYTHON" -m pytest -m "not slow and not gpu and not weights" "$@"
