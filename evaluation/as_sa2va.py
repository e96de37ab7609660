"""A benchmark of videos by the flags of Sa2VA's own script: what `projects/llava_sam2/evaluation/ref_vos_eval.py` runs.

Its flags are those of magic-research/Sa2VA at d01bf3f; longmalongma/DeSa2VA at 1ef7e51 has the same file, and its README calls it
with `--model_path`. There masks are written, and tools/eval/eval_*.py score them; here what has a truth is scored at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from seglm.evaluation import run
from seglm.evaluation.asking.benchmark import benchmark
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.ranges import CountOrNone, place, typed

SCRIPT = "projects/llava_sam2/evaluation/ref_vos_eval.py"
COMMAND = "python -m seglm.evaluation.run"
DATASETS: Mapping[str, str] = {
    "DAVIS": "ref_davis17|valid",
    "MEVIS": "mevis|valid",
    "MEVIS_U": "mevis|valid_u",
    "REFYTVOS": "ref_youtube_vos|valid",
    "REVOS": "revos|valid",
}
"""what --dataset may be -> what is asked"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Asks a model the expressions of a benchmark. arguments: of the command line; None takes this process's."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if (given.model is None) == (given.model_path is None):
        parser.error(f"give the model once, as MODEL or as --model_path; the command itself is {COMMAND}")
    if given.launcher == "pytorch" and "RANK" not in os.environ:
        parser.error(
            "--launcher pytorch: nothing has started this as one of several processes; call it with python -m "
            f"torch.distributed.run --standalone --nproc_per_node 8 {SCRIPT} MODEL"
        )
    spec = DATASETS[given.dataset]
    is_served = spec.partition("|")[2] in benchmark(spec).scored.served
    words = ["--version", given.model or given.model_path, "--dataset_dir", str(given.data_root)]
    words += ["--val_dataset", spec, "--out", str(given.work_dir)]
    words += ["--inference_only"] if given.submit or is_served else []
    words += [f"--{name}" for name in ("overwrite", "allow_leak") if getattr(given, name)]
    if os.environ.get("RANK", "0") == "0":
        logging.getLogger(__name__).warning("%s is %s %s", SCRIPT, COMMAND, shlex.join(words))
    run.main(words)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"python {SCRIPT}",
        description="Asks a model every expression of a benchmark of videos, by Sa2VA's flags; what has a truth is scored",
        epilog=f"The command itself, which has more flags: {COMMAND} --help",
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="the model: a folder or a hub id")
    parser.add_argument("--model_path", "--model-path", help="the same, as DeSa2VA's README has it")
    parser.add_argument("--dataset", choices=tuple(DATASETS), default="MEVIS", help="default MEVIS")
    parser.add_argument(
        "--data_root",
        "--dataset_dir",
        type=place,
        default=Path("data"),
        help="the folder that holds video_datas (default data)",
    )
    parser.add_argument(
        "--work_dir",
        "--work-dir",
        type=place,
        default=Path("runs/eval"),
        help="folder for results (default runs/eval)",
    )
    parser.add_argument(
        "--submit",
        action="store_true",
        help="write masks and score nothing; always so for MEVIS and REFYTVOS",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier outcome in --work_dir")
    parser.add_argument("--allow_leak", action="store_true", help="score a split the weights were trained on")
    parser.add_argument(
        "--launcher", choices=("none", "pytorch"), default="none", help="pytorch: torchrun has started this"
    )
    parser.add_argument("--deepspeed", help="without effect, as there")
    parser.add_argument("--local_rank", "--local-rank", type=typed(CountOrNone), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
