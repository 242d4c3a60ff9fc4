#!/usr/bin/env bash
# EGRSD without the gate (RLSD's weights) on Qwen3-8B.
#   bash recipes/rlsd_qwen3_8b.sh [hydra overrides ...]        (environment variables: recipes/train_gpu.sh)
preset=rlsd
model=qwen3_8b
default_model=Qwen/Qwen3-8B
method=()
source "$(dirname "$0")/train_gpu.sh"
