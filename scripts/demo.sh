#!/bin/sh
# Installs unmuffle into .venv and cleans the bundled recording: scores, the file and a picture in demo_output/.
. "$(dirname "$0")/environment.sh"
echo "installing unmuffle into .venv (a few minutes the first time)"
"$PY" -m pip install -q ".[plots,metrics]"
install_pesq
exec .venv/bin/unmuffle demo "$@"
