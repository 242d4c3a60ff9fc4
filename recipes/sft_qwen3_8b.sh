#!/usr/bin/env bash
# Supervised fine-tuning of Qwen3-8B on the reference solutions, with the settings of the other arms.
#   bash recipes/sft_qwen3_8b.sh [hydra overrides ...]          (environment variables: recipes/sft_gpu.sh)
base=qwen3_8b
default_model=Qwen/Qwen3-8B
source "$(dirname "$0")/sft_gpu.sh"
