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
CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")"
here=$PWD
. utils/environment.sh

if [ $# -gt 0 ]; then
    cd "$caller"
    exec "$PYTHON" -m seglm.utils.launch "$here/train_ds.py" "$@"
fi

run=runs/lisa_tiny
step() { printf '\n== %s\n' "$*"; }

step "1/5 data: the toy world, in the layouts of the real data sets"
"$PYTHON" -m seglm.dataset.toy --dataset_dir data/toy
step "2/5 training: LISA's recipe at toy size, LoRA on two pretrained bases"
"$PYTHON" -m seglm.utils.launch train_ds.py --recipe lisa_tiny --dataset_dir data/toy --exp_name lisa_tiny --overwrite
step "3/5 merge: one folder that loads everywhere, compared with the trained model"
"$PYTHON" merge_lora_weights_and_save_hf_model.py --weight "$run/portable" --save_path "$run/merged"
step "4/5 evaluation: before and after, between predictors that never read the words and a box at the truth"
for benchmark in "ReasonSeg|val" "refcoco|unc|val"; do
    "$PYTHON" -m seglm.evaluation.baselines --dataset_dir data/toy --dataset "$benchmark" --untrained --version "$run/merged" \
        --out "$run/eval/${benchmark%%|*}"
done
step "5/5 an answer"
"$PYTHON" chat.py --version "$run/merged" --image imgs/toy_ring.png --prompt "Please segment the ring in this image." \
    --vis_save_path "$run/chat"

step "done"
echo "scores    $run/eval/ReasonSeg/table.md $run/eval/refcoco/table.md    (pictures: table.png beside them)"
echo "masks     $run/eval/validation/worst_and_best.png"
echo "curve     $run/curve.png"
# From here on the user types: the interpreter as seen from this folder.
echo "chat      $(printf '%q' "${PYTHON#"$here"/}") chat.py --version $run/merged"
