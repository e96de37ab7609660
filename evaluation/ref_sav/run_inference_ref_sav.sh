#!/usr/bin/env bash
# Asks a model every expression of Ref-SAV's eval and writes a grey PNG for each frame, masks/VIDEO/EXPRESSION/FRAME.png, and
# predictions.csv.
#
#   bash evaluation/ref_sav/run_inference_ref_sav.sh --version MODEL --dataset_dir DATA [--val_dataset SPEC] [--out FOLDER] ...
#
# SPEC: "ref_sav|valid" (default)
# NGPU=8 sets the number of processes, which take videos in turn. After a kill the same command goes on behind the videos that are
# done. All flags: --help. Then score: run_eval_ref_sav.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
seglm_on_all seglm.evaluation.run --inference_only --out runs/predictions --val_dataset "ref_sav|valid" "$@"
