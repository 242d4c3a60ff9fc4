#!/usr/bin/env bash
# Runs the tests that start no Ray on the versions that verl pins for GPUs, in .venv-gpu-versions.
#   PYTHON   interpreter (python3): 3.11 or 3.12
# More arguments are pytest's. torch comes with its dependencies: where no CPU build of it is found, those are CUDA's.
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/attended.sh
folder=.venv-gpu-versions
stamp=$folder/.installed
wanted="$(cat requirements/gpu_versions.lock setup.cfg | sha256sum) $PWD"
if [[ ! -f $stamp || "$(cat $stamp)" != "$wanted" ]]; then
  # venv installs pip last.
  [[ -x $folder/bin/pip ]] || part "${PYTHON:-python3}" -m venv "$folder"
  part "$folder/bin/python" -m pip install --quiet --no-compile "$(grep '^torch==' requirements/gpu_versions.lock)"
  part "$folder/bin/python" -m pip install --quiet --no-compile --no-deps -r requirements/gpu_versions.lock
  part "$folder/bin/python" -m pip install --quiet --no-deps --no-build-isolation -e .
  echo "$wanted" > "$stamp"
fi
export PATH="$PWD/$folder/bin:$PATH" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_WAIT_POLICY=passive
unset PYTHONDONTWRITEBYTECODE
exec python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not ray" "$@"
