#!/usr/bin/env bash
# Asks a model for a caption with masked phrases of every picture of GranD-f val, writes what it says, and scores it.
#
#   bash evaluation/grandf_gcg/run_inference_gcg.sh --version MODEL --dataset_dir DATA [--val_dataset SPEC] [--out FOLDER] ...
#
# SPEC: "grandf_gcg|val" (default), "grandf_gcg|test"
# All GPUs of this machine take samples in turn; after a kill the same command goes on. All flags: --help.
# What is written can be scored again: run_eval_gcg.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
seglm_on_all seglm.evaluation.told --out runs/told --val_dataset "grandf_gcg|val" "$@"
