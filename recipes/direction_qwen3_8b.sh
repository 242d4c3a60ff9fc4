#!/usr/bin/env bash
# The direction of EGRSD alone, without magnitude and gate, on Qwen3-8B.
#   bash recipes/direction_qwen3_8b.sh [hydra overrides ...]        (environment variables: recipes/train_gpu.sh)
preset=direction
model=qwen3_8b
default_model=Qwen/Qwen3-8B
method=()
source "$(dirname "$0")/train_gpu.sh"
