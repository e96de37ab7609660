"""A benchmark's own protocol where it needs more than J and F of each expression, and J&F where it does not."""

from __future__ import annotations

from pathlib import Path

from seglm.evaluation.asking.benchmark import Benchmark
from seglm.evaluation.asking.renamed import renamed
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.written import read_written
from seglm.evaluation.scores.results import summarise
from seglm.evaluation.scores.video_files import open_predictions
from seglm.evaluation.submit import of_davis, of_lvvis, of_revos
from seglm.evaluation.submit.make import check_all_there

REF_DAVIS, REVOS, LVVIS = "ref_davis17", "revos", "lvvis"


def scored(chosen: Benchmark, selection: Selection, place: Path, *, missing_is_empty: bool = False) -> str:
    """The table of a benchmark whose truth is there.

    place: masks as `open_predictions` reads them, the annotators' folders of Ref-DAVIS17, or LV-VIS' results.json.
    missing_is_empty: an expression without a prediction counts as the benchmark counts it, else it is an error.
    Raises ValueError that counts and names missing expressions, FileNotFoundError that names a missing frame.
    """
    name = chosen.data.partition("|")[0]
    if name == LVVIS:
        return of_lvvis.score(selection, place, missing_is_empty=missing_is_empty)
    predictions = open_predictions(place)
    if name in (REF_DAVIS, REVOS):
        table = of_davis.score if name == REF_DAVIS else of_revos.score
        return table(selection, predictions, missing_is_empty=missing_is_empty)
    if not missing_is_empty:
        check_all_there(selection, renamed(predictions, selection))
    written = read_written(place, selection)
    return str(
        summarise(
            written.results,
            benchmark=chosen.name,
            protocol="generate",
            convention=chosen.average(None),
            rule=chosen.rule,
            asked=written.asked,
        )
    )
