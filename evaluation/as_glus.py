"""Scores by the flags of GLUS' own scripts: what `python utils/eval_mevis.py` and its three neighbours run.

GLUS' flags name files (utils/eval_{mevis,davis,revos,reason_vos}.py of GLUS-video/GLUS at 8fd138b); the root of the data sets is
some folders above the file of expressions. As there, an expression without a prediction scores 0, or is left out (ReasonVOS).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seglm.evaluation import offline
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.evaluate import folder_name
from seglm.evaluation.scores.files import SAID
from seglm.evaluation.submit import __main__ as submit
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.ranges import place


@dataclass(frozen=True)
class Script:
    """One of GLUS' scripts."""

    benchmark: str
    expressions: str
    """flag of the file of expressions"""
    levels: int
    """folders between the root of the data sets and that file"""
    masks: Mapping[str, str]
    """flag -> what it names, of the true masks"""
    predictions: str
    saves: bool = True
    """whether it has --save_name"""


SCRIPTS: Mapping[str, Script] = {
    "mevis": Script(
        "mevis|valid_u", "mevis_exp_path", 2, {"mevis_mask_path": "mask_dict.json"}, "mevis_pred_path"
    ),
    "davis": Script(
        "ref_davis17|valid", "mevis_exp_path", 3, {"mevis_mask_path": "mask_dict.pkl"}, "mevis_pred_path"
    ),
    "revos": Script(
        "revos|valid",
        "visa_exp_path",
        1,
        {"visa_mask_path": "mask_dict.json", "visa_foreground_mask_path": "mask_dict_foreground.json"},
        "visa_pred_path",
        saves=False,
    ),
    "reason_vos": Script("reasonvos|test", "meta_exp_path", 1, {"mask_path": "Annotations"}, "pred_path"),
}


@command
def main(name: str, arguments: Sequence[str] | None = None) -> None:
    """Scores as utils/eval_NAME.py does. arguments: of its command line; None takes this process's."""
    script = SCRIPTS[name]
    given = _parser(name, script).parse_args(sys.argv[1:] if arguments is None else arguments)
    # Not resolved: a data set may be a link to another disk, where it is called otherwise.
    expressions = Path(os.path.abspath(getattr(given, script.expressions)))
    root = expressions.parents[min(script.levels, len(expressions.parents) - 1)]
    for flag in (script.expressions, *script.masks):
        file: Path = getattr(given, flag)
        if not file.exists():
            raise FileNotFoundError(f"--{flag} {file} is not there")
        if not (
            Path(os.path.abspath(file)).is_relative_to(root) or file.resolve().is_relative_to(root.resolve())
        ):
            raise ValueError(
                f"--{flag} {file} does not lie below {root}, where the expressions' data sets are; all of a data set lies in one "
                "place, as GLUS' README has it"
            )
    predictions = _written(getattr(given, script.predictions), script)
    common = ["--dataset_dir", str(root), "--predictions", str(predictions)]
    if script.saves:
        out = ["--out", str(given.save_name.with_suffix(""))] if given.save_name else []
        offline.main(["--val_dataset", script.benchmark, "--missing", "empty", "--overwrite", *common, *out])
    else:
        submit.main(["--score", "--benchmark", script.benchmark, "--missing", "empty", *common])


def _written(place: Path, script: Script) -> Path:
    """The place; or what scripts/inference.sh wrote into it, which has a folder for each model and benchmark.

    Raises ValueError for masks of several models.
    """
    ours = f"*{folder_name('', benchmark(script.benchmark))}*"
    inside = sorted(said.parent for said in place.glob(f"{ours}/{SAID}"))
    if len(inside) > 1:
        names = ", ".join(one.name for one in inside)
        raise ValueError(
            f"--{script.predictions} {place} holds masks of several models ({names}); name one of these"
        )
    return inside[0] if inside else place


def _parser(name: str, script: Script) -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"python utils/eval_{name}.py",
        description=f"J and F of predictions of {script.benchmark}, by GLUS' flags",
        epilog="Without files to name: python -m seglm.evaluation.offline, or python -m seglm.evaluation.submit --score",
    )
    parser.add_argument(f"--{script.expressions}", type=place, required=True, help="the file of expressions")
    for flag, file in script.masks.items():
        parser.add_argument(f"--{flag}", type=place, required=True, help=f"{file} of the true masks")
    parser.add_argument(
        f"--{script.predictions}",
        type=place,
        required=True,
        help="predicted masks: VIDEO/EXPRESSION/FRAME.png, or VIS_SAVE_PATH of scripts/inference.sh",
    )
    if script.saves:
        parser.add_argument(
            "--save_name", type=place, help="a folder for the report, called so without its ending"
        )
    return parser
