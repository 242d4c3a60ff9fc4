#!/usr/bin/env bash
# Brings faults about in real runs, those that take over a minute too, and writes the seconds to
# tests/benchmarks/results/faults.md, or to the file FAULTS_TABLE. More arguments are pytest's:
# `bash tests/run_faults.sh -k sigterm`.
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/attended.sh
part bash requirements/install_cpu.sh
export PATH="$PWD/.venv/bin:$PATH" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_WAIT_POLICY=passive
unset PYTHONDONTWRITEBYTECODE
export FAULTS_TABLE=${FAULTS_TABLE:-tests/benchmarks/results/faults.md}
exec python -m pytest -p no:xdist -m "faults or not faults" tests/faults "$@"
