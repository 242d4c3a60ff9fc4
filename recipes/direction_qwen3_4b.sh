#!/usr/bin/env bash
# The direction of EGRSD alone, without magnitude and gate, on Qwen3-4B.
#   bash recipes/direction_qwen3_4b.sh [hydra overrides ...]        (environment variables: recipes/train_gpu.sh)
preset=direction
model=qwen3_4b
default_model=Qwen/Qwen3-4B
method=()
source "$(dirname "$0")/train_gpu.sh"
