#!/usr/bin/env bash
# Makes the zip that the server of Ref-YouTube-VOS valid scores, and checks it: every video, expression and frame, in its place,
# its size and its coding.
#
#   bash evaluation/refytvos/run_eval_refytvos.sh --predictions FOLDER --dataset_dir DATA --zip FILE [--missing empty] ...
#   bash evaluation/refytvos/run_eval_refytvos.sh --validate ZIP --dataset_dir DATA
#
# FOLDER is what run_inference_refytvos.sh printed, or a folder or a zip of VIDEO/EXPRESSION/FRAME.png. All flags: --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.submit --benchmark "ref_youtube_vos|valid" "$@"
