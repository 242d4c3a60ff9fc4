# shellcheck shell=bash disable=SC2154  # the recipe sets what is not assigned here
# Sourced by the recipes of supervised fine-tuning, which set `base` and `default_model`. Any setting can be
# overridden by a trailing Hydra override; the common ones also by an environment variable:
#
#   SFT_PRESET  sft | sft_opsd | ssd                                              (sft)
#   MODEL_PATH, TRAIN_FILE, VAL_FILE   local paths or hub ids                     (the recipe's)
#   OUTPUT      folder of checkpoints, logs and metrics  (outputs/<preset>_<model>_<thinking or not>_seed<SEED>)
#   STEPS, BATCH, LR, SEED             training steps, rows per step, ...         (the preset's; seed 0)
#   RESUME      latest-whole: from the newest checkpoint that can be read; disable: anew (auto: from the latest)
#   THINKING    1: the responses contain reasoning                                (0; with SFT_PRESET=ssd 1)
#   GPUS        of this node                                                      (8)
#   LOGGER      verl's loggers; file must be among them                           ([console,file,tensorboard])
#   TIME_LIMIT  seconds, after which the run is interrupted as by Ctrl-C          (none)
#   PYTHON      interpreter of the environment                                    (python3)
#   DRY_RUN     1: print the whole configuration and check it, and the files it names; needs no GPU and no hub
#   CHECK       1: only ask `verl-egrsd check`, as each training does before it begins
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source recipes/common.sh
known_environment sft_gpu
python=${PYTHON:-python3}
dry_run=$(switch DRY_RUN)
check=$(switch CHECK)
preset=${SFT_PRESET:-sft}
case $preset in
  sft | sft_opsd) default_train=data/openthoughts/train.parquet default_thinking=0 ;;
  ssd) default_train=data/samples/samples.parquet default_thinking=1 ;;
  *) echo "SFT_PRESET=$preset is unknown: sft, sft_opsd or ssd." >&2; exit 2 ;;
esac
export THINKING=${THINKING:-$default_thinking}
thinking=$(switch THINKING)
model_path=${MODEL_PATH:-$default_model}
if [[ $thinking == true ]]; then thinks=thinking; else thinks=nonthinking; fi
name=${preset}_$(basename "$model_path")_${thinks}_seed${SEED:-0}
output=$(realpath -m "${OUTPUT:-outputs/$name}")
train_file=${TRAIN_FILE:-$default_train}
case ${GPUS:-8} in 1 | 4) hardware=gpu$GPUS ;; *) hardware=gpu8 ;; esac

overrides=(
  "preset=$preset" "base=$base" "hardware=$hardware"
  "data.apply_chat_template_kwargs.enable_thinking=$thinking"
)
add_text data.train_files "$train_file"
[[ -z ${VAL_FILE:-} ]] || add_text data.val_files "$VAL_FILE"
add_text trainer.experiment_name "$name"
add_text trainer.default_local_dir "$output/checkpoints"
add_text report.folder "$output"
[[ -z ${GPUS:-} ]] || add_number trainer.n_gpus_per_node "$GPUS"
[[ -z ${MODEL_PATH:-} ]] || add_text model.path "$MODEL_PATH"
[[ -z ${STEPS:-} ]] || add_number trainer.total_training_steps "$STEPS"
[[ -z ${BATCH:-} ]] || add_number data.train_batch_size "$BATCH"
[[ -z ${LR:-} ]] || add_number optim.lr "$LR"
[[ -z ${SEED:-} ]] || add_number trainer.seed "$SEED"
[[ -z ${LOGGER:-} ]] || overrides+=("trainer.logger=$LOGGER")
[[ -z ${RESUME:-} ]] || add_text trainer.resume_mode "$RESUME"

if [[ $dry_run == true ]]; then
  exec "$python" -m verl_egrsd.sft.main "${overrides[@]}" dry_run=true "$@"
fi
free_folder "$output"
check_first "$@"
within "${TIME_LIMIT:-}" "$python" -m verl_egrsd.sft.main "${overrides[@]}" "$@"
