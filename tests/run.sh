#!/usr/bin/env bash
# Sets up .venv and runs lint, types and every test. `bash tests/run.sh -m "not stack"` skips what is slow.
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/attended.sh
part bash requirements/install_cpu.sh
export PATH="$PWD/.venv/bin:$PATH" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_WAIT_POLICY=passive
# Where this is set, each process that a test starts compiles anew whatever it imports.
unset PYTHONDONTWRITEBYTECODE
part ruff check .
part ruff format --check .
part mypy
# Two at a time, a file as a whole: most of what starts Ray waits for one process after another.
exec python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@"
