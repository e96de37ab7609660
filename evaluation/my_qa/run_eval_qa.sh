#!/usr/bin/env bash
# Scores answers to questions of your own about pictures or videos: accuracy, in all and for each kind; no model is needed.
#
#   bash evaluation/my_qa/run_eval_qa.sh --predictions FOLDER --dataset_dir DATA [--val_dataset SPEC] ...
#
# FOLDER is what run_inference_qa.sh printed, or a CSV of key, question, answer. All flags: --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.told --val_dataset "my_qa|val" "$@"
