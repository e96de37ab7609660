#!/usr/bin/env bash
# Asks a model every expression of RefCOCO, RefCOCO+, RefCOCOg, refCLEF and writes one lossless PNG each, and predictions.csv.
#
#   bash evaluation/refcoco/run_inference_refcoco.sh --version MODEL --dataset_dir DATA [--val_dataset SPEC] [--out FOLDER] ...
#
# SPEC: "refcoco|unc|val" (default), "refcoco+|unc|testA", "refcocog|umd|test", "refclef|unc|val"; several with commas
# NGPU=8 sets the number of processes. All flags: --help. Then score: run_eval_refcoco.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
seglm_on_all seglm.evaluation.run --inference_only --out runs/predictions --val_dataset "refcoco|unc|val" "$@"
