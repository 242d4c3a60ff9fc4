#!/usr/bin/env bash
# Supervised fine-tuning of Qwen3-4B on the reference solutions, with the settings of the other arms.
#   bash recipes/sft_qwen3_4b.sh [hydra overrides ...]          (environment variables: recipes/sft_gpu.sh)
base=qwen3_4b
default_model=Qwen/Qwen3-4B
source "$(dirname "$0")/sft_gpu.sh"
