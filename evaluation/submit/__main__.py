"""Makes what the servers of video benchmarks take, and checks it.

python -m seglm.evaluation.submit --dataset_dir DATA --benchmark "mevis|valid" --predictions FOLDER --zip FILE
python -m seglm.evaluation.submit --dataset_dir DATA --benchmark "mevis|valid" --validate FILE

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
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores.video_files import open_predictions
from seglm.evaluation.submit.check import check_zip
from seglm.evaluation.submit.forms import FORMS, Form
from seglm.evaluation.submit.make import make_zip
from seglm.utils.command import command
from seglm.utils.did_you_mean import unknown
from seglm.utils.folders import check_writable
from seglm.utils.ranges import place


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line at the top of this file."""
    given = _parsed(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    selection, form = _opened(given.benchmark, given.dataset_dir)
    if given.validate is not None:
        count = check_zip(given.validate, form, selection)
        print(f"{given.validate}: {_told(count, selection)}, as it is taken")  # noqa: T201
        return
    check_writable(given.zip.parent, "--zip")
    given.zip.parent.mkdir(parents=True, exist_ok=True)
    predictions = open_predictions(given.predictions)
    make_zip(given.zip, form, selection, predictions, missing_is_empty=given.missing == "empty")
    print(f"{given.zip}: {_told(check_zip(given.zip, form, selection), selection)}, checked")  # noqa: T201


def _opened(spec: str, root: Path) -> tuple[Selection, Form]:
    """The expressions of a benchmark and their form. Raises ValueError if there is none, or if videos are not there."""
    chosen = benchmark(spec)
    about, split = describe(chosen.data)
    if about.name not in FORMS:
        raise ValueError(
            unknown(
                "benchmark of a server",
                about.name,
                FORMS,
                more=f"{about.name} is scored here: python -m seglm.evaluation.offline",
            )
        )
    selection = chosen.open(root)
    wanted = about.counts.get(split)
    if wanted not in (None, len(selection)) and read_video_manifest(root) is None:
        raise ValueError(
            f"{selection.name}: {len(selection)} videos are below {root}, the published split has {wanted}, and a server wants "
            "all of them; `python -m seglm.dataset.check` says what is missing"
        )
    return selection, FORMS[about.name]


def _told(count: int, selection: Selection) -> str:
    asked = sum(len(selection.sample(number).targets) for number in range(len(selection)))
    return f"{count} files of {asked} expressions about {len(selection)} videos of {selection.name}"


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; it says either what is made or what is checked."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.validate is None and (given.predictions is None or given.zip is None):
        parser.error(
            "the following arguments are required: --predictions and --zip (or --validate alone, to check a zip)"
        )
    if given.validate is not None and (given.predictions is not None or given.zip is not None):
        parser.error("--validate checks a zip that is there; it goes without --predictions and --zip")
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m seglm.evaluation.submit", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument(
        "--dataset_dir", required=True, type=place, help="where the data lie, as for train_ds.py"
    )
    parser.add_argument(
        "--benchmark",
        required=True,
        help='what they are predictions of: "mevis|valid", "ref_youtube_vos|valid", "ref_davis17|valid"',
    )
    parser.add_argument("--predictions", type=place, help="folder, zip or JSON of masks")
    parser.add_argument("--zip", type=place, help="the file to make; one that is there is replaced")
    parser.add_argument("--validate", type=place, metavar="ZIP", help="check a zip, whoever made it")
    parser.add_argument(
        "--missing",
        choices=("error", "empty"),
        default="error",
        help="an expression without a prediction: stop, or hand in empty masks",
    )
    return parser


if __name__ == "__main__":
    main()
