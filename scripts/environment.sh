# Sourced by the other scripts: makes .venv with Python >= 3.10 and sets PY to its interpreter.
# Needs nothing but Python; says what is missing if that is not whole.
set -eu
cd "$(dirname "$0")/.."

find_python() {
  for candidate in "${PYTHON:-}" python3.12 python3.11 python3.10 python3.13 python3 python; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "unmuffle needs Python 3.10 or newer; set PYTHON=/path/to/python if it has another name" >&2
  exit 1
}

PY=.venv/bin/python
if ! "$PY" -m pip --version >/dev/null 2>&1; then
  base=$(find_python)
  rm -rf .venv
  if ! "$base" -m venv .venv >/dev/null 2>&1; then
    # Debian splits venv off its Python; as root (a container) it can be added here.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
      apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
      rm -rf .venv
    fi
    "$base" -m venv .venv || { echo "cannot make .venv: run  apt-get install python3-venv" >&2; exit 1; }
  fi
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1

# PESQ is C code that is compiled when it is installed; all else comes ready-made. With -e, what is installed of
# unmuffle stays the working tree, and not a copy of it.
install_pesq() {
  "$PY" -c 'import pesq' 2>/dev/null && return
  "$PY" -m pip install -q ${1:-} '.[pesq]' >/dev/null 2>&1 ||
    echo "note: PESQ could not be compiled (apt-get install gcc python3-dev); going on without it" >&2
}
