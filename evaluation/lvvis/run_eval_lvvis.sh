#!/usr/bin/env bash
# Scores predictions of LV-VIS val: average precision over all categories, base and novel ones.
#
#   bash evaluation/lvvis/run_eval_lvvis.sh --predictions FOLDER --dataset_dir DATA [--missing empty] ...
#
# FOLDER is what run_inference_lvvis.sh printed, or a results.json, or its zip. All flags: --help
# J&F of each class of a video, with a report: python -m seglm.evaluation.offline with the same flags
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.submit --score --benchmark "lvvis|val" "$@"
