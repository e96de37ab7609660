#!/usr/bin/env bash
# Trains GLUS-S (MeViS and Ref-YouTube-VOS, with the object contrast) from LISA-7B-v1 and merges it into $SAVE_DIR/model.
#
#   bash scripts/train_glus_s.sh [--dataset_dir DATA] [any other flag of train_ds.py]
#
# Paths as in GLUS' script; set them here or in the environment. NGPU=4 sets the number of processes.
set -euo pipefail
PATH_TO_CHECKPOINTS=${PATH_TO_CHECKPOINTS:-checkpoints}
PATH_TO_DATA=${PATH_TO_DATA:-data}
. "$(dirname "${BASH_SOURCE[0]}")/train_then_merge.sh"
seglm_train_then_merge glus_s --version "$PATH_TO_CHECKPOINTS/LISA-7B-v1" \
    --vision_pretrained "$PATH_TO_CHECKPOINTS/sam2_hiera_large.pt" --dataset_dir "$PATH_TO_DATA" --no_eval "$@"
