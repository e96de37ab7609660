#!/usr/bin/env bash
# Scores a folder of predictions of RefCOCO, RefCOCO+, RefCOCOg, refCLEF; no model and no GPU are needed.
#
#   bash evaluation/refcoco/run_eval_refcoco.sh --predictions FOLDER --dataset_dir DATA [--val_dataset SPEC] [--missing empty] ...
#
# SPEC: "refcoco|unc|val" (default), "refcoco+|unc|testA", "refcocog|umd|test", "refclef|unc|val"
# FOLDER is what run_inference_refcoco.sh printed, or a folder of another program's PNGs. All flags: --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.offline --val_dataset "refcoco|unc|val" "$@"
