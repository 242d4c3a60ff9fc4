#!/usr/bin/env bash
# The miniature frontier: all methods and controls on a small task, trained and evaluated on two cores.
#
#   bash recipes/mini_frontier.sh
#
#   QUICK=1   one seed, fewer updates and problems: only shows that it runs
#   ARMS      some of the arms, e.g. ARMS="untrained rlsd egrsd"; ARMS=all takes those too that are measured by name
#             only (31 arms and the untrained model)
#   SEEDS     seeds, e.g. SEEDS="3 4" (0 1 2; with QUICK=1: 0)
#   OUT       folder of the results (outputs/mini_frontier, with QUICK=1 outputs/mini_frontier_quick)
#
# It is made in parts of under an hour. After each part the page is written with what has been measured by then.
# Finished runs are kept: after an interruption the same command continues.
set -euo pipefail
cd "$(dirname "$0")/.."
source recipes/common.sh
known_environment mini_frontier
(( $# == 0 )) || { echo "$1: this recipe takes variables, such as QUICK=1 or SEEDS=0, and no arguments." >&2; exit 2; }
quick=$(switch QUICK)
part bash requirements/install_cpu.sh
export PATH="$PWD/.venv/bin:$PATH"
unset PYTHONDONTWRITEBYTECODE
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
options=(${ARMS:+--arms $ARMS} ${SEEDS:+--seeds $SEEDS} ${OUT:+--out "$OUT"})
[[ $quick == false ]] || options+=(--quick)
exec python -m recipes.miniature.run "${options[@]}"
