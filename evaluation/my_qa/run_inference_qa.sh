#!/usr/bin/env bash
# Asks a model for an answer to every question of your own about pictures or videos, writes what it says, and scores it.
#
#   bash evaluation/my_qa/run_inference_qa.sh --version MODEL --dataset_dir DATA [--val_dataset SPEC] [--out FOLDER] ...
#
# SPEC: "my_qa|val" (default), "my_video_qa|val"
# All GPUs of this machine take samples in turn; after a kill the same command goes on. All flags: --help.
# What is written can be scored again: run_eval_qa.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
seglm_on_all seglm.evaluation.told --out runs/told --val_dataset "my_qa|val" "$@"
