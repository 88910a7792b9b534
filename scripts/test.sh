#!/bin/sh
# Installs everything that the checks need into .venv and runs them: lint, types, tests, docs.
# Arguments go to pytest.
. "$(dirname "$0")/environment.sh"
echo "installing the checks into .venv (a few minutes the first time)"
"$PY" -m pip install -q -e '.[test]'
install_pesq -e
# One thread each: two test processes on two cores are faster than one that spreads its matrices.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
"$PY" -m ruff check .
"$PY" -m mypy
"$PY" scripts/docs.py --check
exec "$PY" -m pytest -n 2 -q "$@"
