#!/usr/bin/env bash
# Merges the objects of each annotator of Ref-DAVIS17 valid: a zip of anno_0 to anno_3 with palette PNGs, as DAVIS' own program
# reads them.
#
#   bash evaluation/refdavis/run_post_process.sh --predictions FOLDER --dataset_dir DATA --zip FILE [--missing empty] ...
#
# FOLDER is what run_inference_refdavis.sh printed, or another program's. Nobody needs it for a score: run_eval_refdavis.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.submit --benchmark "ref_davis17|valid" "$@"
