#!/usr/bin/env bash
# OPSD on Qwen3-4B with the source's settings: clip 0.05, temperature 1.1, one node of 8 GPUs, 100 steps.
#   bash recipes/opsd_qwen3_4b.sh [hydra overrides ...]        (environment variables: recipes/train_gpu.sh)
preset=opsd
model=qwen3_4b
default_model=Qwen/Qwen3-4B
method=(algorithm.egrsd.divergence.clip=0.05)
source "$(dirname "$0")/train_gpu.sh"
