#!/usr/bin/env bash
# Scores captions of the regions of RefCOCOg val: METEOR and CIDEr; no model is needed.
#
#   bash evaluation/refcocog_regions/run_eval_regions.sh --predictions FOLDER --dataset_dir DATA [--val_dataset SPEC] ...
#
# FOLDER is what run_inference_regions.sh printed, or Sa2VA's JSON list of image_id and caption. All flags: --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.told --val_dataset "refcocog_regions|val" "$@"
