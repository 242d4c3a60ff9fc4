# shellcheck shell=bash disable=SC2154  # the recipe sets what is not assigned here
# Sourced by the recipes that reproduce the paper's table, which set `model`. Each stage is skipped when its result is
# there and valid, so the same command goes on after an interruption.
#
#   ARMS        what is trained      ("egrsd cl_egrsd rlsd opsd crisp grpo direction sft")
#   SEEDS       trainings per arm, e.g. SEEDS="0 1 2"                              (0)
#   MODEL       local folder or hub id of the weights                             (the recipe's)
#   HARDWARE    a preset as in recipes/train_gpu.sh, or cpu: small model and benchmarks (by GPUS and NNODES);
#               supervised training takes only its number of GPUs
#   PROTOCOL    paper or precise, of verl-egrsd eval                               (paper)
#   STEPS       updates of each training                                           (100; on the CPU 2)
#   CHECKPOINTS steps whose checkpoints are evaluated too, e.g. CHECKPOINTS="50"   (none)
#   PROBLEMS    first problems of each benchmark                                   (all)
#   SOURCE      data set of the training rows: hub id, file or folder              (the paper's)
#   STAGES      some of model benchmarks data train evaluate compare export page   (all)
#   OUT         folder of all results                                              (outputs/reproduce_<model>)
#   GPUS, NNODES  per node, and nodes                                              (8, 1)
#   DRY_RUN     1: only say what is there and what is missing (with HARDWARE=cpu after making .venv)
#   PYTHON, RAY_ADDRESS, LOGGER: as in recipes/train_gpu.sh, for every training
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source recipes/common.sh
known_environment reproduce
(( $# == 0 )) || { echo "$1: this recipe takes variables, such as DRY_RUN=1 or STEPS=50, and no arguments." >&2; exit 2; }
dry_run=$(switch DRY_RUN)
export TOKENIZERS_PARALLELISM=false
if [[ ${HARDWARE:-gpu} == cpu ]]; then
  part bash requirements/install_cpu.sh
  export PATH="$PWD/.venv/bin:$PATH" HF_HUB_OFFLINE=1 OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
  unset PYTHONDONTWRITEBYTECODE
fi
options=(--model "$model" --hardware "${HARDWARE:-gpu}")
# The lists are names and numbers without blanks.
options+=(${ARMS:+--arms $ARMS} ${SEEDS:+--seeds $SEEDS} ${STAGES:+--stages $STAGES} ${CHECKPOINTS:+--checkpoints $CHECKPOINTS})
options+=(${MODEL:+--weights "$MODEL"} ${SOURCE:+--source "$SOURCE"} ${OUT:+--out "$OUT"} ${PROTOCOL:+--protocol "$PROTOCOL"})
options+=(${STEPS:+--steps "$STEPS"} ${PROBLEMS:+--problems "$PROBLEMS"} ${GPUS:+--gpus "$GPUS"} ${NNODES:+--nodes "$NNODES"})
[[ $dry_run == false ]] || options+=(--dry-run)
exec "${PYTHON:-python3}" -m recipes.reproduce.run "${options[@]}"
