"""Scores a folder of predictions; no model is needed.

python -m seglm.evaluation.offline --predictions FOLDER --dataset_dir DATA --val_dataset "ReasonSeg|val"

FOLDER holds predictions.csv and masks/, as `evaluation.run --inference_only` writes them, or just one PNG an expression, called
like its sentence id or its picture (`1234.png`, `1000_0446549.png`), as other programs write them; a name that could be that of
several expressions is refused. Of videos it is such a folder,
or a folder or a zip of `VIDEO/EXPRESSION/FRAME.png`, or a JSON of run lengths. The report goes beside predictions.csv; if there
is none the folder is another program's and left as it is: then it goes to runs/eval/<folder>_<benchmark>.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.asking import foreign
from seglm.evaluation.asking.benchmark import Benchmark, benchmark
from seglm.evaluation.asking.evaluate import folder_name
from seglm.evaluation.asking.predict import decoded, truth_of
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.shown import picture_of, strip_of
from seglm.evaluation.asking.summary import check_convention, summary
from seglm.evaluation.asking.written import read_written, what_to_do
from seglm.evaluation.scores.expressions import Asked
from seglm.evaluation.scores.files import MASKS, SAID, read_mask, read_said
from seglm.evaluation.scores.iou import count
from seglm.evaluation.scores.origin import ORIGIN, read_origin
from seglm.evaluation.scores.report import SCORES, Shown, write_report
from seglm.evaluation.scores.results import Convention, Made, Result, Said, Scores, line_of, told_missing
from seglm.evaluation.scores.video_files import Predictions
from seglm.model.settings import Protocol
from seglm.utils.answers import Answer, Spoken
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import Count, place, typed
from seglm.utils.types import Sample


def score_folder(
    predictions: Path,
    selection: Selection,
    chosen: Benchmark,
    *,
    out_dir: Path,
    protocol: Protocol | None = None,
    convention: Convention | None = None,
    missing_is_empty: bool = False,
    processes: int | None = 1,
) -> Scores:
    """Scores the masks in a folder and writes the report into `out_dir`.

    protocol: how the answers were made; None takes what origin.json beside them says, else `generate`, and of another program's
    masks nothing else is taken, because nothing is known of what was said. convention: None takes the benchmark's.
    missing_is_empty: an expression without a prediction is an empty mask; else it is an error. processes: that share the videos,
    see `in_processes`.
    Raises ValueError that counts and names missing predictions (of everything in any case), or names a mask of another size.
    """
    if protocol is not None and not _is_ours(predictions):
        raise ValueError(
            f"--protocol {protocol}: {predictions} has no {SAID}, so that nothing is known of what was said; leave the flag out"
        )
    origin = read_origin(predictions)
    if origin is not None and protocol not in (None, origin.protocol):
        raise ValueError(
            f"--protocol {protocol}: the answers in {predictions} are {origin.protocol}, says {ORIGIN}; leave the flag out"
        )
    if predictions.is_dir() and not _is_ours(predictions) and not _holds_png(predictions):
        raise ValueError(
            f"{predictions}: holds no PNG and no {SAID}; expected is a folder of PNGs called like their sentence id or picture "
            "(of videos VIDEO/EXPRESSION/FRAME.png), or the one that run_inference wrote"
        )
    average = chosen.average(convention)
    check_convention(average, selection)
    if chosen.is_of_videos:
        scored = _videos(predictions, selection, missing_is_empty=missing_is_empty, processes=processes)
    else:
        scored = _pictures(predictions, selection)
    missing = len(scored.missing)
    if missing and (missing == scored.num_asked or not missing_is_empty):
        raise ValueError(
            f"{predictions}: no prediction for {missing} of {scored.num_asked} expressions, first {scored.missing[0]}"
            f"{scored.hint}; " + what_to_do(missing, scored.num_asked)
        )
    made: Made = protocol or (origin.protocol if origin else "generate")
    if scored.is_foreign or not _is_ours(predictions):
        made = "foreign"
    scores = summary(
        chosen,
        selection,
        scored.results,
        scored.masks,
        protocol=made,
        convention=average,
        asked=scored.asked,
        processes=processes,
    )
    if scored.missing:
        told = told_missing(scored.missing, scored.num_asked, "count as empty masks")
        scores = replace(scores, missing=told)
    scores = origin.mark(scores) if origin else scores
    out_dir.mkdir(parents=True, exist_ok=True)
    write_report(out_dir, scores, scored.results, shown=scored.shown)
    return scores


@dataclass(frozen=True)
class Scored:
    """What lies in a folder, against the truth."""

    results: Sequence[Result]
    missing: Sequence[str]
    """expressions without a prediction, which are in `results` as empty masks; of videos they were looked for before"""
    num_asked: int
    shown: Callable[[Said], Shown]
    is_foreign: bool
    """whether another program drew some of it"""
    hint: str = ""
    """what a missing one would be called"""
    asked: Sequence[Asked] = ()
    """of a benchmark of videos everything"""
    masks: Predictions | None = None
    """of a benchmark of videos"""


def _pictures(predictions: Path, selection: Selection) -> Scored:
    known = _by_expression(_lines(predictions), predictions)
    is_foreign, hint = False, ""
    results: list[Result] = []
    paths: dict[tuple[int, int], Path | None] = {}
    missing: list[str] = []
    owners: foreign.Owners = {}
    for number in range(len(selection)):
        sample = decoded(selection.sample(number))
        for position, target in enumerate(sample.targets):
            line = known.get((sample.key, target.key, target.texts[0]))
            if line is None:
                owners = owners or foreign.owners(selection)
            path = (
                predictions / MASKS / line.file
                if line
                else foreign.find(predictions, sample, position, owners)
            )
            if path is None:
                missing.append(f"{sample.key} {target.key}".strip())
                hint = hint or foreign.looked_for(sample, position, owners)
            is_foreign = is_foreign or (line is None and path is not None)
            mask = _mask(path, sample)
            if line is None:
                line = _foreign_line(number, position, sample, mask, found=path is not None)
            else:  # it may have been asked with more, by other numbers
                line = replace(line, sample=number, target=position)
            truth, ignore = truth_of(sample, position)
            results.append(Result(line, count(mask, truth, ignore=ignore)))
            paths[line.sample, line.target] = path
    return Scored(
        results,
        missing,
        len(results),
        lambda said: picture_of(selection, paths[said.sample, said.target], said),
        is_foreign,
        "" if known else hint,
    )


def _videos(
    predictions: Path, selection: Selection, *, missing_is_empty: bool, processes: int | None
) -> Scored:
    written = read_written(predictions, selection, missing_is_empty=missing_is_empty, processes=processes)
    return Scored(
        written.results,
        (),
        len(written.asked),
        partial(strip_of, selection, written.predictions),
        written.is_foreign,
        asked=written.asked,
        masks=written.predictions,
    )


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line at the top of this file."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen = benchmark(given.val_dataset)
    chosen.check_truth()
    out: Path = given.out or _beside(given.predictions, chosen)
    check_writable(out, "--out")
    if (out / SCORES).exists() and not given.overwrite:
        raise ValueError(f"{out / SCORES} is there already; pass --overwrite to replace it, or another --out")
    scores = score_folder(
        given.predictions,
        chosen.open(given.dataset_dir),
        chosen,
        out_dir=out,
        protocol=given.protocol,
        convention=given.convention,
        missing_is_empty=given.missing == "empty",
        processes=given.processes,
    )
    print(f"{scores}\n\nfiles: {out}")  # noqa: T201


def _is_ours(predictions: Path) -> bool:
    return (predictions / SAID).is_file()


def _beside(predictions: Path, chosen: Benchmark) -> Path:
    """Where a report goes: into our own folder, and not into that of another program."""
    if _is_ours(predictions):
        return predictions
    name = predictions.resolve().name if predictions.is_dir() else predictions.stem
    return Path("runs/eval", folder_name(name, chosen))


def _holds_png(predictions: Path) -> bool:
    """At any depth, also behind a link."""
    walked = os.walk(predictions, followlinks=True)
    return any(name.lower().endswith(".png") for _, _, names in walked for name in names)


def _lines(predictions: Path) -> list[Said]:
    if not predictions.is_dir():
        raise FileNotFoundError(f"{predictions}: no such folder of predictions")
    return read_said(predictions / SAID) if (predictions / SAID).exists() else []


def _by_expression(lines: Sequence[Said], predictions: Path) -> dict[tuple[str, str, str], Said]:
    """Raises ValueError for two answers to one expression: files that were put together hold them."""
    known: dict[tuple[str, str, str], Said] = {}
    for line in lines:
        other = known.setdefault((line.key, line.name, line.text), line)
        if other is not line:
            raise ValueError(
                f"{predictions / SAID}: two lines are about {line.key} {line.name} {line.text!r}, with the masks {other.file} "
                f"and {line.file}; keep one of them"
            )
    return known


def _foreign_line(
    number: int, position: int, sample: Sample, mask: NDArray[np.bool_], *, found: bool
) -> Said:
    """What is known of another program's answer: whether there is a mask; one that is empty stands for a rejection."""

    target = sample.targets[position]
    answer = Answer(Spoken("", (), "ok" if found else "no_seg_token", ("?",) * found))
    return line_of(number, position, sample, target, answer, rejected=not mask.any())


def _mask(path: Path | None, sample: Sample) -> NDArray[np.bool_]:
    if path is None:
        return np.zeros(sample.size, dtype=np.bool_)
    return read_mask(path, size=sample.size, key=sample.key)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m seglm.evaluation.offline", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument(
        "--predictions",
        required=True,
        type=place,
        help="folder with predictions.csv and masks/, or with PNGs; of videos also a zip or a JSON",
    )
    parser.add_argument(
        "--dataset_dir", required=True, type=place, help="where the data lie, as for train_ds.py"
    )
    parser.add_argument(
        "--val_dataset", required=True, help='what they are predictions of, e.g. "ReasonSeg|val"'
    )
    parser.add_argument("--out", type=place, help="folder for the report; default: see above")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier report there")
    parser.add_argument(
        "--missing",
        choices=("error", "empty"),
        default="error",
        help="without a prediction: stop, or count as empty (a video: as the convention does)",
    )
    parser.add_argument(
        "--protocol",
        choices=get_args(Protocol),
        help="how the answers were made: generate or forced; default: as origin.json says",
    )
    parser.add_argument(
        "--convention",
        choices=get_args(Convention),
        help="how IoU or J&F is averaged; default: the benchmark's",
    )
    parser.add_argument(
        "--processes", type=typed(Count), help="that share the videos; default: as many as are worth it"
    )
    return parser


if __name__ == "__main__":
    main()
