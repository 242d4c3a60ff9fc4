# shellcheck shell=bash disable=SC2154  # the recipe sets what is not assigned here
# Sourced by the GPU recipes, which set `preset`, `model` and `method`. Any setting can be overridden by a
# trailing Hydra override; the common ones also by an environment variable:
#
#   MODEL_PATH, TRAIN_FILE, VAL_FILE   local paths or hub ids                     (the recipe's)
#   OUTPUT      folder of checkpoints, logs and metrics  (outputs/<preset>_<model>_<thinking or not>_seed<SEED>)
#   STEPS, BATCH, LR, SEED             training steps, prompts per step, ...      (100, 32, 5e-6, 0)
#   RESUME      latest-whole: from the newest checkpoint that can be read; disable: anew (auto: from the latest)
#   THINKING    1: the student thinks too, in answers of up to 16,384 tokens       (0, as in the paper)
#   NNODES      more than 1: join the Ray cluster at RAY_ADDRESS                  (1)
#   GPUS        per node                                                          (8)
#   HARDWARE    gpu1 | gpu4 | gpu8 | gpu8_40g | multinode (docs/hardware.md)      (by GPUS and NNODES)
#   LOGGER      verl's loggers                                                    ([console,file,tensorboard])
#   PYTHON      interpreter of the environment                                    (python3)
#   DRY_RUN     1: print the whole configuration and check it, and the files it names; needs no GPU and no hub
#   CHECK       1: only ask `verl-egrsd check`, as each training does before it begins
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source recipes/common.sh
known_environment train_gpu
python=${PYTHON:-python3}
dry_run=$(switch DRY_RUN)
check=$(switch CHECK)
thinking=$(switch THINKING)
model_path=${MODEL_PATH:-$default_model}
if [[ $thinking == true ]]; then thinks=thinking; else thinks=nonthinking; fi
name=${preset}_$(basename "$model_path")_${thinks}_seed${SEED:-0}
output=$(realpath -m "${OUTPUT:-outputs/$name}")
train_file=${TRAIN_FILE:-data/openthoughts/train.parquet}
val_file=${VAL_FILE:-data/openthoughts/validation.parquet}
[[ ${NNODES:-1} =~ ^[1-9][0-9]*$ ]] || { echo "NNODES=$NNODES is not a number of nodes." >&2; exit 2; }
case ${GPUS:-8} in 1 | 4) hardware=gpu$GPUS ;; *) hardware=gpu8 ;; esac
(( ${NNODES:-1} == 1 )) || hardware=multinode
hardware=${HARDWARE:-$hardware}

overrides=(
  "preset=$preset" "model=$model" "hardware=$hardware" "${method[@]}"
  "data.apply_chat_template_kwargs.enable_thinking=$thinking"
)
# A thinking answer does not fit the paper's 1,024 tokens. With the prompt's 2,048 this stays below the 20,000
# tokens of the paper's sequence cap. All other caps follow from this one.
[[ $thinking == false ]] || overrides+=("data.max_response_length=16384")
add_text data.train_files "$train_file"
add_text data.val_files "$val_file"
add_text trainer.experiment_name "$name"
add_text trainer.default_local_dir "$output/checkpoints"
add_text report.folder "$output"
# The task runner may be on another node, which does not see this shell's environment.
add_text +ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_PATH "$output/metrics.jsonl"
add_text +ray_kwargs.ray_init.runtime_env.env_vars.TENSORBOARD_DIR "$output/tensorboard"
[[ -z ${GPUS:-} ]] || add_number trainer.n_gpus_per_node "$GPUS"
[[ -z ${MODEL_PATH:-} ]] || add_text actor_rollout_ref.model.path "$MODEL_PATH"
[[ -z ${STEPS:-} ]] || add_number trainer.total_training_steps "$STEPS"
[[ -z ${BATCH:-} ]] || add_number data.train_batch_size "$BATCH"
[[ -z ${LR:-} ]] || add_number actor_rollout_ref.actor.optim.lr "$LR"
if [[ -n ${SEED:-} ]]; then
  for key in data.seed actor_rollout_ref.rollout.seed; do add_number "$key" "$SEED"; done
  # Of the shuffled control, which only methods with a gate have.
  [[ $preset != *egrsd ]] || add_number algorithm.egrsd.seed "$SEED"
fi
[[ -z ${LOGGER:-} ]] || overrides+=("trainer.logger=$LOGGER")
[[ -z ${RESUME:-} ]] || add_text trainer.resume_mode "$RESUME"

if [[ $dry_run == true ]]; then
  exec "$python" -m verl_egrsd.main "${overrides[@]}" dry_run=true "$@"
fi
free_folder "$output"
for file in "$train_file" "$val_file"; do
  [[ -f $file ]] || {
    echo "$file does not exist. Make it:" \
         "$python -m data_prep.benchmarks --out data/benchmarks &&" \
         "$python -m data_prep.openthoughts --source siyanzhao/Openthoughts_math_30k_opsd --out $(dirname "$file")" \
         "--benchmarks data/benchmarks --tokenizer $model_path" >&2
    exit 2
  }
done
if [[ ! -d $model_path ]] && ! HF_HUB_OFFLINE=1 part "$python" -c \
  'import sys; from huggingface_hub import snapshot_download; snapshot_download(sys.argv[1])' "$model_path" 2> /dev/null
then
  echo "$model_path is neither a folder nor in the hub's cache. Fetch it: hf download $model_path" >&2
  exit 2
fi
check_first "$@"
mkdir -p "$output"
exec "$python" -m verl_egrsd.main "${overrides[@]}" "$@"
