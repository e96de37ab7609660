#!/usr/bin/env bash
# Asks a model every expression of MeViS valid_u and writes a grey PNG for each frame, masks/VIDEO/EXPRESSION/FRAME.png, and
# predictions.csv.
#
#   bash evaluation/mevis_val_u/run_inference_mevis.sh --version MODEL --dataset_dir DATA [--val_dataset SPEC] [--out FOLDER] ...
#
# SPEC: "mevis|valid_u" (default), "mevis|v2|valid_u" (second release, with expressions about nothing)
# NGPU=8 sets the number of processes, which take videos in turn. After a kill the same command goes on behind the videos that are
# done. All flags: --help. Then score: run_eval_mevis.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
seglm_on_all seglm.evaluation.run --inference_only --out runs/predictions --val_dataset "mevis|valid_u" "$@"
