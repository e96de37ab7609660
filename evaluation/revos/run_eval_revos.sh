#!/usr/bin/env bash
# Scores predictions of ReVOS valid: J, F, accuracy and robustness of referring and of reasoning expressions.
#
#   bash evaluation/revos/run_eval_revos.sh --predictions FOLDER --dataset_dir DATA [--missing empty] ...
#
# FOLDER is what run_inference_revos.sh printed, or a folder or a zip of VIDEO/EXPRESSION/FRAME.png. All flags: --help
# J&F with a report and pictures: python -m seglm.evaluation.offline with the same flags
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.submit --score --benchmark "revos|valid" "$@"
