"""One line for every expression: what was asked, what was said, and the pixels. The same lines make CSVs, scores and pictures."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from seglm.evaluation.metrics.iou import CONVENTIONS, THRESHOLDS, Convention, Counts, Score, score
from seglm.model.recipe import Protocol
from seglm.utils.types import Answer, Sample, Target

NO_KIND = "(none)"


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
    """`ok` or `no_seg_token`"""
    slots: int
    """how many mask tokens were written; the first one's mask is scored"""
    confidence: float | None
    """the decoder's own estimate of the mask's IoU"""
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

    def __str__(self) -> str:
        return _text(self)


def said(index: int, position: int, sample: Sample, target: Target, answer: Answer) -> Said:
    """The line of one answer; its mask has a name of its own that a reader can still make sense of."""
    readable = re.sub(r"[^A-Za-z0-9.+-]+", "_", f"{sample.key.rpartition('/')[2]}_{target.key}").strip("_")
    return Said(
        sample=index,
        target=position,
        key=sample.key,
        name=target.key,
        kind=target.kind,
        text=target.texts[0],
        answer=answer.text,
        status=answer.status,
        slots=len(answer.tokens),
        confidence=answer.scores[0] if answer.scores else None,
        file=f"{index:05d}_{position:02d}_{readable[:80]}.png",
    )


def summarise(
    results: Sequence[Result], *, benchmark: str, protocol: Protocol, convention: Convention, rule: str
) -> Scores:
    """Scores of all results and of each kind.

    rule: the benchmark's own line on what an expression is.
    """
    kinds = sorted({result.said.kind for result in results})
    by_kind = {kind or NO_KIND: [result for result in results if result.said.kind == kind] for kind in kinds}
    return Scores(
        benchmark=benchmark,
        protocol=protocol,
        convention=f"{CONVENTIONS[convention]}; {rule}; mask of the first slot, logit > 0, at original size",
        all=_score(results, protocol, convention),
        kinds={kind: _score(some, protocol, convention) for kind, some in by_kind.items()}
        if kinds != [""]
        else {},
    )


def _score(results: Sequence[Result], protocol: Protocol, convention: Convention) -> Score:
    emitted = None if protocol == "forced" else [result.said.slots > 0 for result in results]
    return score([result.counts for result in results], emitted, convention=convention)


def _text(scores: Scores) -> str:
    """The scores as a Markdown table, with their convention."""
    lines = [
        f"### {scores.benchmark}, protocol {scores.protocol}",
        "",
        "| | n | gIoU | cIoU | [SEG] rate | " + " | ".join(f"Pr@{x}" for x in THRESHOLDS) + " | N-acc |",
        "|---|" + "---:|" * (5 + len(THRESHOLDS)),
        _line("all", scores.all),
        *(_line(kind, score) for kind, score in scores.kinds.items()),
        "",
        f"Convention: {scores.convention}.",
    ]
    return "\n".join(lines)


def _line(name: str, score: Score) -> str:
    cells = [
        str(score.n),
        f"{score.giou:.4f}",
        f"{score.ciou:.4f}",
        "-" if score.emission is None else f"{score.emission:.4f}",
        *(f"{value:.4f}" for value in score.precision),
        "-" if score.n_acc is None else f"{score.n_acc:.4f}",
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


# ---- files ----------------------------------------------------------------------------------------------------------
def write_said(path: Path, lines: Iterable[Said]) -> None:
    """predictions.csv: what was said, without any truth."""
    _write(path, [field.name for field in fields(Said)], [asdict(line) for line in lines])


def read_said(path: Path) -> list[Said]:
    """The lines of predictions.csv. Raises FileNotFoundError or ValueError that name the file and what to run."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; run_inference writes it beside the masks")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    columns = [field.name for field in fields(Said)]
    if rows and list(rows[0]) != columns:
        raise ValueError(f"{path} has columns {list(rows[0])}; run_inference writes {columns}")
    return [_said(row) for row in rows]


def write_results(path: Path, results: Iterable[Result]) -> None:
    """samples.csv: one line an expression, with its pixels and IoU, so that two programs' scores can be compared line by line."""
    rows = [
        {**asdict(result.said), **asdict(result.counts), "iou": f"{result.counts.iou:.6f}"}
        for result in results
    ]
    columns = [field.name for field in (*fields(Said), *fields(Counts))]
    _write(path, [*columns, "iou"], rows)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def _said(row: Mapping[str, str]) -> Said:
    return Said(
        sample=int(row["sample"]),
        target=int(row["target"]),
        key=row["key"],
        name=row["name"],
        kind=row["kind"],
        text=row["text"],
        answer=row["answer"],
        status=row["status"],
        slots=int(row["slots"]),
        confidence=float(row["confidence"]) if row["confidence"] else None,
        file=row["file"],
    )
