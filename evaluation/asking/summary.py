"""Results as the scores of a benchmark, in any of its conventions: also in the one that needs the masks again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from seglm.evaluation.asking.annotators import Annotators, check_official, of_each_annotator
from seglm.evaluation.asking.benchmark import Benchmark
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores import davis, expressions, ref_davis17
from seglm.evaluation.scores.expressions import Asked
from seglm.evaluation.scores.results import CONVENTIONS, OFFICIAL, Convention, Made, Result, Scores, summarise
from seglm.evaluation.scores.video_files import Predictions
from seglm.utils import dist
from seglm.utils.pool import in_processes

DIGITS = 5  # of the official line, as VideoLISA prints it


def check_convention(convention: Convention, selection: Selection, *, has_masks: bool = True) -> None:
    """Raises ValueError if data cannot be scored so, or if there will be no masks on disk that are needed for it."""
    if convention != OFFICIAL:
        return
    if not has_masks:
        raise ValueError(
            f"--convention {OFFICIAL} merges the masks of {selection.name}, which are kept nowhere here; score with "
            "`python -m seglm.evaluation.run`, or another convention"
        )
    check_official(selection)


def summary(
    chosen: Benchmark,
    selection: Selection,
    results: Sequence[Result],
    masks: Predictions | None = None,
    *,
    protocol: Made,
    convention: Convention,
    asked: Sequence[Asked] = (),
    processes: int | None = 1,
) -> Scores:
    """The scores of all results; every process of the run calls it and gets the same.

    masks: of the same results, for the convention that merges them. asked: see `summarise`. processes: that read masks, see
    `in_processes`.
    """
    scores = summarise(
        results,
        benchmark=chosen.name,
        protocol=protocol,
        convention="every" if convention == OFFICIAL else convention,
        rule=chosen.rule,
        drawn_empty_adds=chosen.scored.drawn_empty_adds,
        asked=asked,
    )
    if convention != OFFICIAL:
        return scores
    assert masks is not None, "check_convention has seen to it"
    of_each = _of_each_annotator(Annotators(selection, masks), len(selection), processes)
    mean, all_ = ref_davis17.score(of_each), scores.all
    assert isinstance(all_, expressions.Score)
    return replace(
        scores,
        convention=f"{CONVENTIONS[OFFICIAL]}; masks of the first slot, logit > 0, at original size",
        all=_score(mean, all_),
        kinds={f"annotator {number}": _score(one, all_) for number, one in enumerate(of_each)},
        upstream=davis.csv_text(mean, DIGITS).strip(),
    )


def _of_each_annotator(work: Annotators, count: int, processes: int | None) -> list[davis.Score]:
    """Each process of the run reads the masks of its share of the videos."""
    world = dist.world()
    own = range(world.rank, count, world.size)
    scored = dict(zip(own, in_processes(work, own, processes=processes), strict=True))
    found = {number: video for part in dist.gather(scored) for number, video in part.items()}
    return of_each_annotator([found[number] for number in range(count)])


def _score(official: davis.Score, plain: expressions.Score) -> expressions.Score:
    """What is said of expressions stays; J and F are those of objects."""
    j, f = official.j.mean, official.f.mean
    return replace(plain, j=j, f=f, n=official.n, num_empty=0, positives=official.jf)
