# Sourced by the scripts of the benchmarks. Finds or makes the Python of this checkout ($PYTHON) without leaving the caller's
# folder, so that relative paths mean what the user thinks they mean. $SEGLM_ROOT is the checkout.
SEGLM_ROOT=$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
seglm_caller=$PWD
cd "$SEGLM_ROOT"
. utils/environment.sh
cd "$seglm_caller"
export PYTHONPATH="$SEGLM_ROOT${PYTHONPATH:+:$PYTHONPATH}"

# Runs a module on $NGPU processes (default: all GPUs of this machine, or one process on a CPU).
seglm_on_all() {
    local processes="${NGPU:-}"
    if [ -z "$processes" ]; then
        processes=$("$PYTHON" -c 'import torch; print(max(1, torch.cuda.device_count()))')
    elif ! [[ "$processes" =~ ^0*[1-9][0-9]*$ ]]; then
        echo "error: NGPU=$processes: it has to be a number from 1" >&2
        exit 1
    fi
    if [ "$processes" = 1 ]; then
        "$PYTHON" -m "$@"
    else
        "$PYTHON" -m torch.distributed.run --standalone --nproc_per_node "$processes" -m "$@"
    fi
}
