# Sourced by the GPU recipes, which set `preset`, `model` and `method`. Any setting can be overridden by a
# trailing Hydra override; the common ones also by an environment variable:
#
#   MODEL_PATH, TRAIN_FILE, VAL_FILE   local paths or hub ids                     (the recipe's)
#   OUTPUT      folder of checkpoints, logs and metrics                           (outputs/<recipe>)
#   STEPS, BATCH, LR, SEED             training steps, prompts per step, ...      (100, 32, 5e-6, 0)
#   THINKING    1: the student thinks too                                         (0, as in the paper)
#   NNODES      more than 1: join the Ray cluster at RAY_ADDRESS                  (1)
#   GPUS        per node                                                          (8)
#   LOGGER      verl's loggers                                                    ([console,file,tensorboard])
#   PYTHON      interpreter of the environment                                    (python3)
#   DRY_RUN     1: compose, validate and print the whole configuration; needs no GPU and no hub
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
recipe=$(basename "$0" .sh)
output=$(realpath -m "${OUTPUT:-outputs/$recipe}")
train_file=${TRAIN_FILE:-data/openthoughts/train.parquet}
val_file=${VAL_FILE:-data/openthoughts/validation.parquet}
if (( ${NNODES:-1} > 1 )); then hardware=multinode; else hardware=gpu8; fi
case ${THINKING:-0} in
  0) thinking=false ;;
  1) thinking=true ;;
  *) echo "THINKING=$THINKING is neither 0 nor 1." >&2; exit 2 ;;
esac

overrides=(
  "+preset=$preset" "+model=$model" "+hardware=$hardware" "${method[@]}"
  "data.train_files=$train_file" "data.val_files=$val_file"
  "data.apply_chat_template_kwargs.enable_thinking=$thinking"
  "trainer.n_gpus_per_node=${GPUS:-8}"
  "trainer.experiment_name=$recipe" "trainer.default_local_dir=$output/checkpoints"
  "report.folder=$output"
  # The task runner may be on another node, which does not see this shell's environment.
  "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_PATH=$output/metrics.jsonl"
  "+ray_kwargs.ray_init.runtime_env.env_vars.TENSORBOARD_DIR=$output/tensorboard"
)
[[ -z ${MODEL_PATH:-} ]] || overrides+=("actor_rollout_ref.model.path=$MODEL_PATH")
[[ -z ${STEPS:-} ]] || overrides+=("trainer.total_training_steps=$STEPS")
[[ -z ${BATCH:-} ]] || overrides+=("data.train_batch_size=$BATCH")
[[ -z ${LR:-} ]] || overrides+=("actor_rollout_ref.actor.optim.lr=$LR")
[[ -z ${SEED:-} ]] || overrides+=(
  "data.seed=$SEED" "algorithm.egrsd.seed=$SEED" "actor_rollout_ref.rollout.seed=$SEED"
)
[[ -z ${LOGGER:-} ]] || overrides+=("trainer.logger=$LOGGER")

if [[ ${DRY_RUN:-0} == 1 ]]; then
  exec "$python" -m verl_egrsd.main "${overrides[@]}" dry_run=true "$@"
fi
for file in "$train_file" "$val_file"; do
  [[ -f $file ]] || {
    echo "$file does not exist. Make it:" \
         "$python -m data_prep.openthoughts --source siyanzhao/Openthoughts_math_30k_opsd --out $(dirname "$file")" >&2
    exit 2
  }
done
model_path=${MODEL_PATH:-$default_model}
if [[ ! -d $model_path ]] && ! HF_HUB_OFFLINE=1 "$python" -c \
  'import sys; from huggingface_hub import snapshot_download; snapshot_download(sys.argv[1])' "$model_path" 2> /dev/null
then
  echo "$model_path is neither a folder nor in the hub's cache. Fetch it: hf download $model_path" >&2
  exit 2
fi
mkdir -p "$output"
exec "$python" -m verl_egrsd.main "${overrides[@]}" "$@"
