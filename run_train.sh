#!/usr/bin/env bash
# bash run_train.sh                     the whole journey at toy size: data, training, merge, evaluation, a picture of masks
# bash run_train.sh --recipe lisa_7b --version ... --dataset_dir ...
#                                       any training: the arguments go to train_ds.py under the deepspeed launcher
#
#   NGPU=8                              processes on a machine (default: all GPUs, or one process on a CPU)
#   HOSTFILE=hosts                      several machines, DeepSpeed's hostfile; DeepSpeed reaches them by ssh
#   HOSTFILE, NODE_RANK, MASTER_ADDR    several machines without ssh: this command runs on each of them
#   srun --ntasks-per-node=1 bash run_train.sh ...      the same under SLURM, whose variables say all of this
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
here=$PWD
. utils/environment.sh

if [ $# -gt 0 ]; then
    cd "$caller"
    exec "$PYTHON" -m seglm.utils.launch "$here/train_ds.py" "$@"
fi

run=runs/lisa_tiny
echo "== 1. the toy world, in the layouts of the real data sets"
"$PYTHON" -m seglm.dataset.toy --dataset_dir data/toy
echo "== 2. training"
"$PYTHON" -m seglm.utils.launch train_ds.py --recipe lisa_tiny --dataset_dir data/toy --exp_name lisa_tiny --overwrite
