#!/usr/bin/env bash
# Scores a folder or a zip of predictions of ReasonVOS: J, F and J&F; no model and no GPU are needed.
#
#   bash evaluation/reason_vos/run_eval_reason_vos.sh --predictions FOLDER --dataset_dir DATA [--missing empty] ...
#
# --val_dataset SPEC: "reasonvos|test" (default)
# FOLDER is what run_inference_reason_vos.sh printed, or a folder or a zip of VIDEO/EXPRESSION/FRAME.png. All flags: --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.offline --val_dataset "reasonvos|test" "$@"
