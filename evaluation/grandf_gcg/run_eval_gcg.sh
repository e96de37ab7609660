#!/usr/bin/env bash
# Scores captions with masked phrases of the pictures of GranD-f val: METEOR, CIDEr, AP50, mIoU and recall; no model is needed.
#
#   bash evaluation/grandf_gcg/run_eval_gcg.sh --predictions FOLDER --dataset_dir DATA [--val_dataset SPEC] ...
#
# FOLDER is what run_inference_gcg.sh printed, or a folder of PICTURE.json as GLaMM and Sa2VA write them. All flags: --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.told --val_dataset "grandf_gcg|val" "$@"
