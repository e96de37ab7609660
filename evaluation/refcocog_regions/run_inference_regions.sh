#!/usr/bin/env bash
# Asks a model for a caption of every region of RefCOCOg val, writes what it says, and scores it.
#
#   bash evaluation/refcocog_regions/run_inference_regions.sh --version MODEL --dataset_dir DATA [--val_dataset SPEC] [--out FOLDER] ...
#
# SPEC: "refcocog_regions|val" (default), "osprey|description"
# All GPUs of this machine take samples in turn; after a kill the same command goes on. All flags: --help.
# What is written can be scored again: run_eval_regions.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
seglm_on_all seglm.evaluation.told --out runs/told --val_dataset "refcocog_regions|val" "$@"
