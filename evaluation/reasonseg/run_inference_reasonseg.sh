#!/usr/bin/env bash
# Asks a model every expression of ReasonSeg and writes one lossless PNG each, and predictions.csv.
#
#   bash evaluation/reasonseg/run_inference_reasonseg.sh --version MODEL --dataset_dir DATA [--val_dataset SPEC] [--out FOLDER] ...
#
# SPEC: "ReasonSeg|val" (default), "ReasonSeg|test", "ReasonSeg|test|short", "ReasonSeg|test|long", ... |all_texts
# NGPU=8 sets the number of processes. All flags: --help. Then score: run_eval_reasonseg.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
seglm_on_all seglm.evaluation.run --inference_only --out runs/predictions --val_dataset "ReasonSeg|val" "$@"
