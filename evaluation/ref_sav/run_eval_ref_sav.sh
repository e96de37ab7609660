#!/usr/bin/env bash
# Scores a folder or a zip of predictions of Ref-SAV's eval: J&F of long and of short expressions; no model and no GPU are needed.
#
#   bash evaluation/ref_sav/run_eval_ref_sav.sh --predictions FOLDER --dataset_dir DATA [--missing empty] ...
#
# FOLDER is what run_inference_ref_sav.sh printed, or a folder or a zip of VIDEO/EXPRESSION/FRAME.png. All flags: --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.offline --val_dataset "ref_sav|valid" "$@"
