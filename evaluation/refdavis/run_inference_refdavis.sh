#!/usr/bin/env bash
# Asks a model every expression of Ref-DAVIS17 valid and writes a grey PNG for each frame, masks/VIDEO/EXPRESSION/FRAME.png, and
# predictions.csv.
#
#   bash evaluation/refdavis/run_inference_refdavis.sh --version MODEL --dataset_dir DATA [--val_dataset SPEC] [--out FOLDER] ...
#
# SPEC: "ref_davis17|valid" (default)
# NGPU=8 sets the number of processes, which take videos in turn. After a kill the same command goes on behind the videos that are
# done. All flags: --help. Then score: run_eval_refdavis.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
seglm_on_all seglm.evaluation.run --inference_only --out runs/predictions --val_dataset "ref_davis17|valid" "$@"
