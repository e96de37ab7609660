#!/usr/bin/env bash
# Scores a folder of predictions of gRefCOCO or Ref-ZOM; no model and no GPU are needed.
#
#   bash evaluation/grefcoco/run_eval_grefcoco.sh --predictions FOLDER --dataset_dir DATA [--val_dataset SPEC] [--missing empty] ...
#
# SPEC: "grefcoco|unc|val" (default), "grefcoco|unc|testA", "grefcoco|unc|testB", "refzom|final|test"
# FOLDER is what run_inference_grefcoco.sh printed, or a folder of another program's PNGs. All flags: --help
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
"$PYTHON" -m seglm.evaluation.offline --val_dataset "grefcoco|unc|val" "$@"
