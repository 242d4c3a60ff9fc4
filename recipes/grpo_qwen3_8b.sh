#!/usr/bin/env bash
# GRPO on Qwen3-8B: 8 rollouts of 4 prompts a step, no teacher.
#   bash recipes/grpo_qwen3_8b.sh [hydra overrides ...]        (environment variables: recipes/train_gpu.sh)
preset=grpo
model=qwen3_8b
default_model=Qwen/Qwen3-8B
method=()
source "$(dirname "$0")/train_gpu.sh"
