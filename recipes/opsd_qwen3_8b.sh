#!/usr/bin/env bash
# OPSD on Qwen3-8B with the source's settings: clip 0.06, temperature 1.1.
#   bash recipes/opsd_qwen3_8b.sh [hydra overrides ...]        (environment variables: recipes/train_gpu.sh)
preset=opsd
model=qwen3_8b
default_model=Qwen/Qwen3-8B
method=(algorithm.egrsd.divergence.clip=0.06)
source "$(dirname "$0")/train_gpu.sh"
