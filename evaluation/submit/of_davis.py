"""Ref-DAVIS17 in its official protocol, annotator by annotator."""

from __future__ import annotations

from collections.abc import Sequence

from tqdm import tqdm

from seglm.evaluation.asking.annotators import Annotators, check_official, of_each_annotator
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.written import see_missing
from seglm.evaluation.scores import davis, ref_davis17
from seglm.evaluation.scores.video_files import Predictions
from seglm.evaluation.submit.table import percent, table
from seglm.utils.pool import in_processes


def score(
    selection: Selection,
    predictions: Predictions,
    *,
    missing_is_empty: bool = False,
    processes: int | None = 1,
) -> str:
    """The table of the four annotators and their mean. processes: see `in_processes`.

    Raises ValueError that counts and names missing expressions, FileNotFoundError for a missing frame.
    """
    check_official(selection)
    work, count = Annotators(selection, predictions), len(selection)
    missing = "" if work.is_merged else see_missing(selection, predictions, missing_is_empty=missing_is_empty)
    videos = in_processes(work, range(count), processes=processes)
    of_each = of_each_annotator(
        list(tqdm(videos, total=count, desc=selection.name, unit="video", dynamic_ncols=True))
    )
    rows = {f"annotator {number}": _row(one) for number, one in enumerate(of_each)}
    rows["mean"] = _row(ref_davis17.score(of_each))
    columns = ["objects", "J&F", *(f"{kind} {name}" for kind in "JF" for name in ("mean", "recall", "decay"))]
    told = table(f"{selection.name}, official protocol", columns, rows, ref_davis17.CONVENTIONS["official"])
    return f"{told}\n\n{missing}." if missing else told


def _row(one: davis.Score) -> Sequence[str]:
    values = [one.jf, *(value for of in (one.j, one.f) for value in (of.mean, of.recall, of.decay))]
    return [str(one.n), *map(percent, values)]
