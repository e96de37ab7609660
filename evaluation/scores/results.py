"""One line for every expression: what was asked, what was said, and the pixels; and the scores that they make together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

from seglm.evaluation.scores import grefer, iou
from seglm.evaluation.scores.iou import Counts, Score
from seglm.model.recipe import Protocol
from seglm.utils.answers import Answer
from seglm.utils.types import Sample, Target

NO_KIND = "(none)"
Convention = Literal["lisa", "plain", "gsva", "rela"]
"""how expressions are averaged: `iou.py` has the first two, `grefer.py` the others"""
CONVENTIONS: Mapping[str, str] = dict([*iou.CONVENTIONS.items(), *grefer.CONVENTIONS.items()])


@dataclass(frozen=True)
class Said:
    """What a model said to one expression."""

    sample: int
    """number of the sample in the benchmark"""
    target: int
    """number of the target in the sample"""
    key: str
    """the sample's key"""
    name: str
    """the target's key, e.g. a sentence id; may be empty"""
    kind: str
    text: str
    """what was asked for, without the words around it"""
    answer: str
    """the model's words; empty where the answer was forced"""
    status: str
    """`ok`, `rejected` or `no_seg_token`"""
    slots: int
    """how many tokens that speak of a target were written, `[SEG]` or `[REJ]`; the first one's mask is scored"""
    confidence: float | None
    """the decoder's own estimate of the mask's IoU"""
    rejected: bool
    """whether the answer says that what was asked for is not there, see `first_mask.rejects`"""
    file: str
    """the mask, relative to the folder of predictions"""


@dataclass(frozen=True)
class Result:
    """An expression with its pixels."""

    said: Said
    counts: Counts


@dataclass(frozen=True)
class Scores:
    """A benchmark's outcome. Prints as the table that a run ends with."""

    benchmark: str
    protocol: Protocol
    convention: str
    """in words: what an expression is and how it is scored"""
    all: Score
    kinds: Mapping[str, Score]
    """the same, for the expressions of each kind"""
    upstream: str = ""
    """the numbers as the convention's own program prints them; empty where it has no line of its own"""

    def __str__(self) -> str:
        return _text(self)


def line_of(
    index: int, position: int, sample: Sample, target: Target, answer: Answer, *, rejected: bool
) -> Said:
    """The line of one answer; its mask has a name of its own that a reader can still make sense of."""
    readable = re.sub(r"[^A-Za-z0-9.+-]+", "_", f"{sample.key.rpartition('/')[2]}_{target.key}").strip("_")
    return Said(
        sample=index,
        target=position,
        key=sample.key,
        name=target.key,
        kind=target.kind,
        text=target.texts[0],
        answer=answer.spoken.text,
        status=answer.spoken.status,
        slots=len(answer.spoken.tokens),
        confidence=answer.scores[0] if answer.scores else None,
        rejected=rejected,
        file=f"{index:05d}_{position:02d}_{readable[:80]}.png",
    )


def summarise(
    results: Sequence[Result],
    *,
    benchmark: str,
    protocol: Protocol,
    convention: Convention,
    rule: str,
    drawn_empty_adds: bool = True,
) -> Scores:
    """Scores of all results and of each kind.

    rule: the benchmark's own line on what an expression is. drawn_empty_adds: see `grefer.score`.
    """
    tally = partial(_score, protocol=protocol, convention=convention, drawn_empty_adds=drawn_empty_adds)
    kinds = sorted({result.said.kind for result in results})
    by_kind = {kind or NO_KIND: [result for result in results if result.said.kind == kind] for kind in kinds}
    return Scores(
        benchmark=benchmark,
        protocol=protocol,
        convention=f"{CONVENTIONS[convention]}; {rule}; mask of the first slot, logit > 0, at original size",
        all=tally(results),
        kinds={kind: tally(some) for kind, some in by_kind.items()} if kinds != [""] else {},
        upstream=_upstream(_generalised(results, convention, drawn_empty_adds))
        if convention in get_args(grefer.Convention)
        else "",
    )


def _score(
    results: Sequence[Result], *, protocol: Protocol, convention: Convention, drawn_empty_adds: bool
) -> Score:
    """Some results in a convention; what the convention does not speak of is counted as everywhere."""
    emitted = None if protocol == "forced" else [result.said.slots > 0 for result in results]
    counts, rejected = _columns(results)
    if convention == "lisa" or convention == "plain":
        return iou.score(counts, emitted, rejected=rejected, convention=convention)
    whole = _generalised(results, convention, drawn_empty_adds)
    positives = [result for result in results if not result.counts.is_empty]
    return replace(
        iou.score(counts, emitted, rejected=rejected),
        giou=whole.giou,
        ciou=whole.ciou,
        precision=whole.precision,
        thresholds=grefer.THRESHOLDS,
        n_acc=whole.cells.n_acc,
        t_acc=whole.cells.t_acc,
        positives=_generalised(positives, convention, drawn_empty_adds).giou if positives else None,
    )


def _generalised(results: Sequence[Result], convention: Convention, drawn_empty_adds: bool) -> grefer.Score:
    assert convention == "gsva" or convention == "rela", convention
    counts, rejected = _columns(results)
    return grefer.score(counts, rejected, convention=convention, drawn_empty_adds=drawn_empty_adds)


def _columns(results: Sequence[Result]) -> tuple[list[Counts], list[bool]]:
    return [result.counts for result in results], [result.said.rejected for result in results]


def _upstream(score: grefer.Score) -> str:
    if score.convention == "gsva":
        return grefer.gsva_line(score)
    return ", ".join(f"{name}: {value:.4f}" for name, value in grefer.rela_results(score).items())


def _text(scores: Scores) -> str:
    """The scores as a Markdown table, with their convention."""
    lines = [
        f"### {scores.benchmark}, protocol {scores.protocol}",
        "",
        "| | n | gIoU | positives gIoU | cIoU | [SEG] rate | "
        + " | ".join(f"Pr@{x}" for x in scores.all.thresholds)
        + " | N-acc | T-acc |",
        "|---|" + "---:|" * (7 + len(scores.all.thresholds)),
        _line("all", scores.all),
        *(_line(kind, score) for kind, score in scores.kinds.items()),
        "",
        f"Convention: {scores.convention}.",
        *(["", scores.upstream] if scores.upstream else []),
    ]
    return "\n".join(lines)


def _line(name: str, score: Score) -> str:
    shares = (
        score.giou,
        score.positives,
        score.ciou,
        score.emission,
        *score.precision,
        score.n_acc,
        score.t_acc,
    )
    cells = [str(score.n), *("-" if value is None else f"{value:.4f}" for value in shares)]
    return f"| {name} | " + " | ".join(cells) + " |"
