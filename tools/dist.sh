#!/usr/bin/env bash
# Sa2VA's and DeSa2VA's command for a training: it trains the recipe that is called like the config.
#
#   bash tools/dist.sh train projects/llava_sam2/configs/desa2va_4b.py 8 [any flag of train_ds.py]
#
# A config is only a name here: its settings are the recipe's (python train_ds.py --recipe desa2va_4b --list). As in Sa2VA's configs
# the bases are pretrained/InternVL2_5-4B (on a Qwen-VL the recipe's own) and pretrained/sam2_hiera_large.pt, and the data lie in data;
# --version, --vision_pretrained and --dataset_dir say otherwise. DEEPSPEED=deepspeed_zero3 is --zero 3, PORT is MASTER_PORT; several
# machines: see run_train.sh.
# The first line that it prints is the command it stands for.
set -euo pipefail
SEGLM_ROOT=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
stop() {
    echo "error: tools/dist.sh: $*; the command itself is NGPU=8 bash run_train.sh --recipe desa2va_4b" >&2
    exit 2
}
case "${1:-}" in
    train) ;;
    -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    test) stop "test is not here: a model is scored by python -m seglm.evaluation.run" ;;
    *) stop "'${1:-}' is not permitted; write train CONFIG GPUS (--help)" ;;
esac
[ -n "${2:-}" ] || stop "train needs a config, like projects/llava_sam2/configs/desa2va_4b.py"
[[ "${3:-}" =~ ^[1-9][0-9]*$ ]] || stop "'${3:-}' is no number of GPUs of this machine, which stands behind the config"
[ "${NNODES:-1}" = 1 ] || [ -n "${HOSTFILE:-}" ] || stop "NNODES=$NNODES needs HOSTFILE, the file that names the machines"
recipe=$(basename "$2" .py)
flags=(--recipe "$recipe" --dataset_dir data --exp_name "$recipe")
if [[ "$recipe" =~ ^(de)?sa2va_([0-9]+)b(_|$) ]]; then
    flags+=(--version "pretrained/InternVL2_5-${BASH_REMATCH[2]}B")
fi
if [[ "$recipe" =~ sa2va.*_[0-9]+b(_|$) ]]; then flags+=(--vision_pretrained pretrained/sam2_hiera_large.pt); fi
case "${DEEPSPEED:-}" in
    "") ;;
    deepspeed_zero[123]) flags+=(--zero "${DEEPSPEED#deepspeed_zero}") ;;
    *) stop "DEEPSPEED=$DEEPSPEED is not permitted; it may be deepspeed_zero1, deepspeed_zero2 or deepspeed_zero3" ;;
esac
export NGPU=$3
if [ -n "${PORT:-}" ]; then export MASTER_PORT=$PORT; fi
shift 3
{ printf 'NGPU=%s bash run_train.sh' "$NGPU"; printf ' %q' "${flags[@]}" "$@"; echo; } >&2
exec bash "$SEGLM_ROOT/run_train.sh" "${flags[@]}" "$@"
