#!/usr/bin/env bash
# From nothing to the paper's table for Qwen3-8B: data, benchmarks, trainings, evaluations, comparisons, one page.
#   bash recipes/reproduce_qwen3_8b.sh                      (environment variables: recipes/reproduce.sh)
model=qwen3_8b
source "$(dirname "$0")/reproduce.sh"
