#!/usr/bin/env bash
# Scores predictions of Ref-DAVIS17 valid in the official protocol: each annotator's objects merged, mean of the four.
#
#   bash evaluation/refdavis/run_eval_refdavis.sh --predictions FOLDER --dataset_dir DATA [--missing empty] ...
#
# FOLDER is what run_inference_refdavis.sh printed, or a folder or a zip of anno_0 to anno_3. All flags: --help
# Expression by expression, as VISA, GLUS and Sa2VA do it: python -m seglm.evaluation.offline with the same flags
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.submit --score --benchmark "ref_davis17|valid" "$@"
