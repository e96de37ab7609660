#!/usr/bin/env bash
# Scores a folder of predictions of ReasonSeg; no model and no GPU are needed.
#
#   bash evaluation/reasonseg/run_eval_reasonseg.sh --predictions FOLDER --dataset_dir DATA [--val_dataset SPEC] [--missing empty] ...
#
# SPEC: "ReasonSeg|val" (default), "ReasonSeg|test", "ReasonSeg|test|short", "ReasonSeg|test|long", ... |all_texts
# FOLDER is what run_inference_reasonseg.sh printed, or a folder of another program's PNGs. All flags: --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.offline --val_dataset "ReasonSeg|val" "$@"
