#!/usr/bin/env bash
# The whole training loop on a laptop: real verl, Ray, TransferQueue, FSDP2, vLLM and math-verify with a small Qwen3.
#
#   bash recipes/rehearse_cpu.sh [hydra overrides ...]
#
#   PRESET      a method (verl-egrsd methods), or grpo                 (egrsd)
#   VOCABULARY  small: a trained 0.5 M model | qwen3: a random model with the real vocabulary, and real problems
#   DATA        with VOCABULARY=qwen3: jsonl or parquet files to take the problems from
#   RUN_NAME    folder under outputs/; an existing one is refused, so no run resumes by accident
#   TIME_LIMIT  seconds for the training run (900)
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/common.sh
known_environment rehearse_cpu
preset=${PRESET:-egrsd}
vocabulary=${VOCABULARY:-small}
run=outputs/${RUN_NAME:-$vocabulary-$preset-$(date +%Y%m%d-%H%M%S)}
[[ ! -e $run ]] || { echo "$run exists: choose another RUN_NAME, or remove it." >&2; exit 2; }
case $vocabulary in
  small) model=tiny ;;
  qwen3) model=tiny_qwen3 ;;
  *) echo "VOCABULARY=$vocabulary is unknown: small or qwen3." >&2; exit 2 ;;
esac

started=$SECONDS
part bash requirements/install_cpu.sh
installed=$SECONDS
export PATH="$PWD/.venv/bin:$PATH"
# If this is set, each of a run's ten processes compiles all its imports again: two minutes in all.
unset PYTHONDONTWRITEBYTECODE
# Two threads halve a forward pass. They sleep while they wait: spinning threads would take cores from other processes.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
part python -m recipes.rehearsal.build --vocabulary "$vocabulary" --out ".cache/rehearsal/$vocabulary" \
  ${DATA:+--data $DATA}
built=$SECONDS

mkdir -p outputs
mkdir "$run" || exit 2  # another rehearsal of this name has begun meanwhile
overrides=("preset=$preset" "model=$model" hardware=cpu)
add_text trainer.default_local_dir "$PWD/$run/checkpoints"
add_text report.folder "$PWD/$run"
add_text trainer.rollout_data_dir "$PWD/$run/rollouts"
export VERL_PLATFORM=cpu VERL_FILE_LOGGER_PATH="$PWD/$run/metrics.jsonl" TENSORBOARD_DIR="$PWD/$run/tensorboard"
# Otherwise Ray starts one idle Python process for each of the 32 CPUs that verl's workers request.
export RAY_prestart_worker_first_driver=0
export RAY_memory_monitor_refresh_ms=0 HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1 TOKENIZERS_PARALLELISM=false
echo "Training; the log is $run/train.log. Ray, the workers and vLLM take a minute or two to start." >&2
python recipes/rehearsal/progress.py "$run" &
progress=$!
trap 'kill "$progress" 2> /dev/null || true' EXIT
status=0
within "${TIME_LIMIT:-900}" python -m verl_egrsd.main "${overrides[@]}" "$@" > "$run/train.log" 2>&1 || status=$?
kill "$progress" && wait "$progress" || true
if (( status != 0 )); then
  # A run that was stopped says so in its last lines; an error may need those before them.
  if (( status == 124 || status > 128 )); then lines=2; else lines=25; fi
  echo "Training ended with exit code $status. The end of $run/train.log:" >&2
  grep -v "Warning\|warnings.warn" "$run/train.log" | tail -n "$lines" >&2 || true  # a signal may have come before any line
  exit "$status"
fi
trained=$SECONDS
exec python -m recipes.rehearsal.report "$run" --seconds "install=$((installed - started))" \
  "build=$((built - installed))" "train=$((trained - built))"
