#!/usr/bin/env bash
# Lint, type check and the whole test suite, two tests at a time. Further arguments go to pytest; --slow runs the long tests only.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install "[test]"
cd "$ROOT"
select=(-m "not slow")
if [ "${1:-}" = "--slow" ]; then
    shift
    select=(-m slow)
fi
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy
export OMP_NUM_THREADS=1 # two workers, a core each
exec "$PYTHON" -m pytest -n 2 "${select[@]}" "$@"
