#!/usr/bin/env bash
# CRISP on Qwen3-4B. Its source lets the student think too: THINKING=1.
#   bash recipes/crisp_qwen3_4b.sh [hydra overrides ...]        (environment variables: recipes/train_gpu.sh)
preset=crisp
model=qwen3_4b
default_model=Qwen/Qwen3-4B
method=()
source "$(dirname "$0")/train_gpu.sh"
