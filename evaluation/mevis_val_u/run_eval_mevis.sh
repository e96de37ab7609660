#!/usr/bin/env bash
# Scores a folder or a zip of predictions of MeViS valid_u: J, F and J&F; no model and no GPU are needed.
#
#   bash evaluation/mevis_val_u/run_eval_mevis.sh --predictions FOLDER --dataset_dir DATA [--missing empty] ...
#
# --val_dataset SPEC: "mevis|valid_u" (default), "mevis|v2|valid_u" (second release, with expressions about nothing)
# FOLDER is what run_inference_mevis.sh printed, or a folder or a zip of VIDEO/EXPRESSION/FRAME.png. All flags: --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.offline --val_dataset "mevis|valid_u" "$@"
