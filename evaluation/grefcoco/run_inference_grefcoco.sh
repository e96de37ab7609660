#!/usr/bin/env bash
# Asks a model every expression of gRefCOCO or Ref-ZOM and writes one lossless PNG each, and predictions.csv.
#
#   bash evaluation/grefcoco/run_inference_grefcoco.sh --version MODEL --dataset_dir DATA [--val_dataset SPEC] [--out FOLDER] ...
#
# SPEC: "grefcoco|unc|val" (default), "grefcoco|unc|testA", "grefcoco|unc|testB", "refzom|final|test"; several with commas
# NGPU=8 sets the number of processes. All flags: --help. Then score: run_eval_grefcoco.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
seglm_on_all seglm.evaluation.run --inference_only --out runs/predictions --val_dataset "grefcoco|unc|val" "$@"
