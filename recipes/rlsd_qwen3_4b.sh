#!/usr/bin/env bash
# EGRSD without the gate (RLSD's weights) on Qwen3-4B.
#   bash recipes/rlsd_qwen3_4b.sh [hydra overrides ...]        (environment variables: recipes/train_gpu.sh)
preset=rlsd
model=qwen3_4b
default_model=Qwen/Qwen3-4B
method=()
source "$(dirname "$0")/train_gpu.sh"
