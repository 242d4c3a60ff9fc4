#!/usr/bin/env bash
# A recipe that trains with train_gpu.sh (not sft, not reproduce) as a job of a Ray cluster that is up, such as KubeRay's:
#
#   RAY_API_SERVER_ADDRESS=http://HEAD:8265 bash recipes/clusters/ray_job.sh recipes/egrsd_qwen3_8b.sh NODES [key=value ...]
#
# The image of the cluster holds the package (recipes/clusters/Dockerfile); the checkout travels along for its recipes.
# OUTPUT, and the paths of data and model, must be on a file system that all nodes see.
set -euo pipefail
recipe=$1 nodes=$2
shift 2
variables=(NNODES="$nodes" RAY_ADDRESS=auto)
for name in MODEL_PATH TRAIN_FILE VAL_FILE OUTPUT STEPS BATCH LR SEED THINKING RESUME GPUS HARDWARE LOGGER; do
  [[ -z ${!name:-} ]] || variables+=("$name=${!name}")
done
exec ray job submit --working-dir "$(dirname "$0")/../.." -- env "${variables[@]}" bash "$recipe" "$@"
