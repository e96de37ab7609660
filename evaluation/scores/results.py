"""One line for every expression: what was asked, what was said, and the pixels; and the scores that they make together."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

from seglm.evaluation.scores import expressions, grefer, iou, ref_davis17, revos
from seglm.evaluation.scores.columns import Score, columns
from seglm.evaluation.scores.expressions import Asked, Track
from seglm.evaluation.scores.iou import Counts
from seglm.model.settings import Protocol
from seglm.utils.answers import Answer
from seglm.utils.types import Sample, Target

NO_KIND = "(none)"
LISTED = 10  # expressions without a prediction that a table names
Convention = Literal["lisa", "plain", "gsva", "rela", "every", "found", "revos", "ref_sav", "official"]
"""how expressions are averaged: `iou.py` has the first two, `grefer.py` the next two; in those of `expressions.py`
and `revos.py` a result is an expression in all frames of its video; that of `ref_davis17.py` merges expressions"""
OFFICIAL: Convention = "official"
OF_VIDEOS: Sequence[Convention] = ("every", "found", "revos", "ref_sav", OFFICIAL)
LONG, SHORT = "long", "short"
"""kinds of Ref-SAV's expressions"""
REF_SAV = (
    "Sa2VA's J&F of Ref-SAV: two decimals an expression, mean over the long and over the short ones, overall the mean of both; "
    "a missing prediction scores 0"
)
Made = Literal[Protocol, "foreign"]
"""how answers were made; foreign: by another program, so that nothing is known of what it said"""
CONVENTIONS: Mapping[str, str] = dict(
    [
        *iou.CONVENTIONS.items(),
        *grefer.CONVENTIONS.items(),
        *expressions.CONVENTIONS.items(),
        ("revos", revos.CONVENTION_JF),
        ("ref_sav", REF_SAV),
        (OFFICIAL, ref_davis17.CONVENTIONS["official"]),
    ]
)


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
    """the mask, relative to the folder of predictions; of a video the folder of its masks, a file a frame"""


@dataclass(frozen=True)
class Result:
    """An expression with what was measured."""

    said: Said
    found: Counts | Track
    """the pixels of a picture, or J and F over the frames of a video"""

    @property
    def worth(self) -> float:
        """How good the answer is, 0 to 1: IoU, or J&F."""
        return self.found.iou if isinstance(self.found, Counts) else self.found.jf


@dataclass(frozen=True)
class Scores:
    """A benchmark's outcome. Prints as the table that a run ends with."""

    benchmark: str
    protocol: Made
    convention: str
    """in words: what an expression is and how it is scored"""
    all: Score
    kinds: Mapping[str, Score]
    """the same, for the expressions of each kind"""
    missing: str = ""
    """how many expressions had no prediction, and as what they count; empty where all had one"""
    upstream: str = ""
    """the numbers as the convention's own program prints them; empty where it has no line of its own"""
    leak: str = ""
    """why this is a score on data that the weights were trained on; empty where nothing says so"""
    weights: str = ""
    """whose answers they are, see `origin.py`; empty where nothing says so"""
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    """size and time of each file of these weights"""

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


def is_of_videos(convention: str) -> bool:
    """Whether results of this convention are about videos."""
    return convention in OF_VIDEOS


def summarise(
    results: Sequence[Result],
    *,
    benchmark: str,
    protocol: Made,
    convention: Convention,
    rule: str,
    drawn_empty_adds: bool = True,
    asked: Sequence[Asked] = (),
) -> Scores:
    """Scores of all results and of each kind.

    rule: the benchmark's own line on what an expression is. drawn_empty_adds: see `grefer.score`. asked: everything that was
    asked of a benchmark of videos, where some of it has no result. The convention `official` needs more than results: see
    `asking/summary.py`.
    """
    assert convention != OFFICIAL, convention
    if is_of_videos(convention):
        return _of_videos(
            results, asked, benchmark=benchmark, protocol=protocol, convention=convention, rule=rule
        )
    tally = partial(_score, protocol=protocol, convention=convention, drawn_empty_adds=drawn_empty_adds)
    return Scores(
        benchmark=benchmark,
        protocol=protocol,
        convention=f"{CONVENTIONS[convention]}; {rule}; mask of the first slot, logit > 0, at original size",
        all=tally(results),
        kinds={
            kind: tally([result for result in results if result.said.kind == own])
            for kind, own in _kinds([result.said.kind for result in results]).items()
        },
        upstream=_upstream(_generalised(results, convention, drawn_empty_adds))
        if convention in get_args(grefer.Convention)
        else "",
    )


def _of_videos(
    results: Sequence[Result],
    asked: Sequence[Asked],
    *,
    benchmark: str,
    protocol: Made,
    convention: Convention,
    rule: str,
) -> Scores:
    found = {result.found.asked: result for result in results if isinstance(result.found, Track)}
    if blank := [
        one
        for one, result in found.items()
        if isinstance(result.found, Track) and not result.found.num_frames
    ]:
        raise ValueError(
            f"{benchmark}: no frame of {blank[0]} has a truth, and of {len(blank) - 1} further expressions; "
            "is the split one that only a server scores? `python -m seglm.dataset.check` reads it whole"
        )
    everything = list(asked or found)

    def tally(some: Sequence[Asked], average: Callable[..., expressions.Score]) -> expressions.Score:
        own = [found[one] for one in some if one in found]
        score = average([result.found for result in own], some)
        slots = [result.said.slots > 0 for result in own]
        return score if protocol != "generate" else replace(score, emission=iou.share(sum(slots), len(slots)))

    plain = partial(expressions.score, convention="found" if convention == "found" else "every")
    by_type: dict[Convention, Callable[..., expressions.Score]] = {
        "revos": revos.overall,
        "ref_sav": partial(revos.overall, types=(LONG, SHORT)),
    }
    score = tally(everything, by_type.get(convention, plain))
    return Scores(
        benchmark=benchmark,
        protocol=protocol,
        convention=f"{CONVENTIONS[convention]}; {rule}; masks of the first slot, logit > 0, at original size",
        all=score,
        kinds={
            kind: tally([one for one in everything if one.kind == own], plain)
            for kind, own in _kinds([one.kind for one in everything]).items()
        },
        missing=told_missing(
            score.missing, len(everything), "are left out" if convention == "found" else "score 0"
        ),
    )


def told_missing(missing: Sequence[str], asked: int, counted: str) -> str:
    """The line about expressions without a prediction; empty if all have one. counted: as what they count."""
    if not missing:
        return ""
    more = ", ..." if len(missing) > LISTED else ""
    return (
        f"{len(missing)} of {asked} expressions had no prediction and {counted}: "
        f"{', '.join(missing[:LISTED])}{more}"
    )


def _kinds(labels: Iterable[str]) -> dict[str, str]:
    """What a kind is called in tables -> its label; nothing where nothing has a label."""
    kinds = sorted(set(labels))
    return {kind or NO_KIND: kind for kind in kinds} if kinds != [""] else {}


def _score(
    results: Sequence[Result], *, protocol: Made, convention: Convention, drawn_empty_adds: bool
) -> iou.Score:
    """Some results in a convention; what the convention does not speak of is counted as everywhere."""
    emitted = None if protocol != "generate" else [result.said.slots > 0 for result in results]
    counts, rejected = _columns(results)
    if convention == "lisa" or convention == "plain":
        return iou.score(counts, emitted, rejected=rejected, convention=convention)
    whole = _generalised(results, convention, drawn_empty_adds)
    positives = [result for result, one in zip(results, counts, strict=True) if not one.is_empty]
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
    counts = [result.found for result in results if isinstance(result.found, Counts)]
    return counts, [result.said.rejected for result in results]


def _upstream(score: grefer.Score) -> str:
    if score.convention == "gsva":
        return grefer.gsva_line(score)
    return ", ".join(f"{name}: {value:.4f}" for name, value in grefer.rela_results(score).items())


def _text(scores: Scores) -> str:
    """The scores as a Markdown table, with their convention."""
    names = [column.name for column in columns(scores.all)]
    lines = [
        f"### {scores.benchmark}, "
        + ("masks of another program" if scores.protocol == "foreign" else f"protocol {scores.protocol}"),
        "",
        "| | n | " + " | ".join(names) + " |",
        "|---|" + "---:|" * (1 + len(names)),
        _line("all", scores.all),
        *(_line(kind, score) for kind, score in scores.kinds.items()),
        "",
        f"Convention: {scores.convention}.",
        *(part for note in notes(scores.weights, scores.fingerprint, scores.leak) for part in ("", note)),
        *(["", f"{scores.missing}."] if scores.missing else []),
        *(["", scores.upstream] if scores.upstream else []),
    ]
    return "\n".join(lines)


def notes(weights: str, fingerprint: Mapping[str, Any], leak: str) -> list[str]:
    """Lines below a table: whose scores they are, with a sum by which other files of the same name are seen to be others."""
    files = f"{zlib.crc32(json.dumps(fingerprint, sort_keys=True).encode()):08x}"
    return [
        *([f"Weights: {weights}, files {files}."] if weights else []),
        *([f"LEAK: {leak}; this is no validation score."] if leak else []),
    ]


def _line(name: str, score: Score) -> str:
    cells = ["-" if column.value is None else f"{column.value:.4f}" for column in columns(score)]
    return f"| {name} | {score.n} | " + " | ".join(cells) + " |"
