"""Makes what the servers of video benchmarks take, checks it, and scores it as the benchmarks' own programs do.

python -m seglm.evaluation.submit --dataset_dir DATA --benchmark "mevis|valid" --predictions FOLDER --zip FILE
python -m seglm.evaluation.submit --dataset_dir DATA --benchmark "mevis|valid" --validate FILE
python -m seglm.evaluation.submit --dataset_dir DATA --benchmark "ref_davis17|valid" --predictions FOLDER --score

FOLDER is what `evaluation.run --inference_only` wrote, or another program's folder or zip of VIDEO/EXPRESSION/FRAME.png, or its
JSON of run lengths.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from seglm.dataset.sources import describe
from seglm.dataset.toy.write_videos import read_video_manifest
from seglm.evaluation.asking.benchmark import Benchmark, benchmark
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.written import see_missing
from seglm.evaluation.scores.video_files import open_predictions
from seglm.evaluation.submit import of_lvvis
from seglm.evaluation.submit.check import check_zip
from seglm.evaluation.submit.forms import FORMS
from seglm.evaluation.submit.make import make_zip
from seglm.evaluation.submit.official import LVVIS, scored
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import Count, place, typed


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line at the top of this file."""
    given = _parsed(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen = benchmark(given.benchmark)
    selection = chosen.open(given.dataset_dir)
    if given.score:
        chosen.check_truth()
        told = scored(
            chosen,
            selection,
            given.predictions,
            missing_is_empty=given.missing == "empty",
            processes=given.processes,
        )
    else:
        _check_form(chosen, selection, given.dataset_dir)
        told = _checked(given.validate, selection) if given.validate else _made(given, selection)
    print(told)  # noqa: T201


def _made(given: argparse.Namespace, selection: Selection) -> str:
    """Makes the zip, and looks at it again."""
    file: Path = given.zip
    check_writable(file.parent, "--zip")
    file.parent.mkdir(parents=True, exist_ok=True)
    missing_is_empty = given.missing == "empty"
    predictions = open_predictions(given.predictions)
    missing = see_missing(selection, predictions, missing_is_empty=missing_is_empty)
    if _name(selection) == LVVIS:
        of_lvvis.make(file, selection, given.predictions, missing_is_empty=missing_is_empty)
    else:
        make_zip(file, FORMS[_name(selection)], selection, predictions, missing_is_empty=missing_is_empty)
    return "; ".join([_checked(file, selection), *([missing] if missing else [])])


def _checked(file: Path, selection: Selection) -> str:
    is_json = _name(selection) == LVVIS
    count = (
        of_lvvis.validate(file, selection) if is_json else check_zip(file, FORMS[_name(selection)], selection)
    )
    asked = sum(len(selection.sample(number).targets) for number in range(len(selection)))
    return (
        f"{file}: {count} {'predictions' if is_json else 'masks'} for {asked} expressions about {len(selection)} videos of "
        f"{selection.name}, all as they are taken"
    )


def _check_form(chosen: Benchmark, selection: Selection, root: Path) -> None:
    """Raises ValueError if nobody takes a zip of the benchmark, or if some of its videos are not there."""
    about, split = describe(chosen.data)
    if about.name not in (*FORMS, LVVIS):
        raise ValueError(
            f"{chosen.name}: no server takes masks of it; permitted are {', '.join((*FORMS, LVVIS))}; --score scores it here"
        )
    wanted = about.counts.get(split)
    if wanted not in (None, len(selection)) and read_video_manifest(root) is None:
        raise ValueError(
            f"{selection.name}: {len(selection)} videos are below {root}, the published split has {wanted}, and a server wants "
            "all of them; `python -m seglm.dataset.check` says what is missing"
        )


def _name(selection: Selection) -> str:
    return selection.name.partition("|")[0]


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; it says what is made, checked or scored."""
    parser = _parser()
    given = parser.parse_args(arguments)
    needed = ["dataset_dir", "benchmark", *([] if given.validate else ["predictions"])]
    missing = [f"--{name}" for name in needed if getattr(given, name) is None]
    missing += [] if given.zip or given.validate or given.score else ["--zip, --validate or --score"]
    if missing:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    if sum(map(bool, (given.zip, given.validate, given.score))) > 1:
        parser.error("--zip, --validate and --score are three things to do; give one of them")
    if given.validate and given.predictions:
        parser.error("--validate looks at a zip that is there, and takes no --predictions")
    return given


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m seglm.evaluation.submit", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument(
        "--dataset_dir",
        "--truth",
        type=place,
        help="where the data lie, as for train_ds.py; to score, with masks",
    )
    parser.add_argument(
        "--benchmark",
        help='what they are predictions of: "mevis|valid", "refytvos|valid", "davis|valid", "lvvis|val", ...',
    )
    parser.add_argument("--predictions", type=place, help="folder, zip or JSON of masks")
    parser.add_argument("--zip", type=place, help="make this file; one that is there is replaced")
    parser.add_argument("--validate", type=place, metavar="ZIP", help="check a zip, whoever made it")
    parser.add_argument(
        "--score", action="store_true", help="print the score in the benchmark's own protocol"
    )
    parser.add_argument(
        "--missing",
        choices=("error", "empty"),
        default="error",
        help="an expression without a prediction: stop, or empty masks",
    )
    parser.add_argument(
        "--processes",
        type=typed(Count),
        help="that share the videos of --score; default: as many as are worth it",
    )
    return parser


if __name__ == "__main__":
    main()
