#!/usr/bin/env bash
# Trains Qwen3-4B with the advantage of EGRSD alone: no teacher, and the same credit for every token of a response.
#   bash recipes/direction_qwen3_4b.sh [hydra overrides ...]        (environment variables: recipes/train_gpu.sh)
preset=direction
model=qwen3_4b
default_model=Qwen/Qwen3-4B
method=()
source "$(dirname "$0")/train_gpu.sh"
