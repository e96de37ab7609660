#!/usr/bin/env bash
# Asks a model every expression of a benchmark of videos and writes a grey PNG for each frame, masks/VIDEO/EXPRESSION/FRAME.png.
#
#   bash scripts/inference.sh [any flag of seglm.evaluation.run]
#
# Set the benchmark and the paths here or in the environment. All GPUs of this machine take videos in turn; after a kill the same
# command goes on. Then score what it printed: utils/eval_mevis.py and the others there (--help says their flags).
set -euo pipefail
val_set=${val_set:-mevis}        # mevis, ref_youtube_vos, ref_davis17, revos, reasonvos, lvvis
set_name=${set_name:-valid_u}    # its split: valid_u, valid, ...; of reasonvos test, of lvvis val
MODEL_PATH=${MODEL_PATH:-outputs/model}
VIS_SAVE_PATH=${VIS_SAVE_PATH:-generated}
PATH_TO_DATA=${PATH_TO_DATA:-data}
. "$(dirname "${BASH_SOURCE[0]}")/../evaluation/environment.sh"
seglm_on_all seglm.evaluation.run --inference_only --version "$MODEL_PATH" --dataset_dir "$PATH_TO_DATA" \
    --val_dataset "$val_set|$set_name" --out "$VIS_SAVE_PATH" "$@"
