"""A benchmark's own protocol where it needs more than J and F of each expression, and J&F where it does not."""

from __future__ import annotations

from pathlib import Path

from seglm.evaluation.asking.benchmark import Benchmark
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.summary import summary
from seglm.evaluation.asking.written import read_written
from seglm.evaluation.scores.origin import read_origin
from seglm.evaluation.scores.results import Made
from seglm.evaluation.scores.video_files import open_predictions
from seglm.evaluation.submit import of_davis, of_lvvis, of_revos

REF_DAVIS, REVOS, LVVIS = "ref_davis17", "revos", "lvvis"


def scored(
    chosen: Benchmark,
    selection: Selection,
    place: Path,
    *,
    missing_is_empty: bool = False,
    processes: int | None = 1,
) -> str:
    """The table of a benchmark whose truth is there, and whose masks they are if they are ours.

    place: masks as `open_predictions` reads them, the annotators' folders of Ref-DAVIS17, or LV-VIS' results.json.
    missing_is_empty: an expression without a prediction counts as the benchmark counts it, else it is an error. processes: see
    `in_processes`; LV-VIS takes one.
    Raises ValueError that counts and names missing expressions, FileNotFoundError that names a missing frame.
    """
    origin = read_origin(place)
    made: Made = "generate" if origin is None else origin.protocol
    told = _table(chosen, selection, place, made, missing_is_empty=missing_is_empty, processes=processes)
    return "\n\n".join([told, *(origin.notes if origin else [])])


def _table(
    chosen: Benchmark,
    selection: Selection,
    place: Path,
    made: Made,
    *,
    missing_is_empty: bool,
    processes: int | None,
) -> str:
    name = chosen.data.partition("|")[0]
    if name == LVVIS:
        return of_lvvis.score(selection, place, missing_is_empty=missing_is_empty)
    if name in (REF_DAVIS, REVOS):
        table = of_davis.score if name == REF_DAVIS else of_revos.score
        given = open_predictions(place)
        return table(selection, given, missing_is_empty=missing_is_empty, processes=processes)
    written = read_written(place, selection, missing_is_empty=missing_is_empty, processes=processes)
    return str(
        summary(
            chosen,
            selection,
            written.results,
            protocol="foreign" if written.is_foreign else made,
            convention=chosen.average(None),
            asked=written.asked,
        )
    )
