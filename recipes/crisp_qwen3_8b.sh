#!/usr/bin/env bash
# CRISP on Qwen3-8B. Its source lets the student think too: THINKING=1.
#   bash recipes/crisp_qwen3_8b.sh [hydra overrides ...]        (environment variables: recipes/train_gpu.sh)
preset=crisp
model=qwen3_8b
default_model=Qwen/Qwen3-8B
method=()
source "$(dirname "$0")/train_gpu.sh"
