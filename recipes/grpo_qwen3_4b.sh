#!/usr/bin/env bash
# GRPO on Qwen3-4B: 8 rollouts of 4 prompts a step, no teacher.
#   bash recipes/grpo_qwen3_4b.sh [hydra overrides ...]        (environment variables: recipes/train_gpu.sh)
preset=grpo
model=qwen3_4b
default_model=Qwen/Qwen3-4B
method=()
source "$(dirname "$0")/train_gpu.sh"
