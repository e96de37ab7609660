"""Asks a model for words, or reads what another program said, and scores it; on any number of processes with the same outcome.

python -m seglm.evaluation.told --version MODEL --dataset_dir DATA --val_dataset "grandf_gcg|val"
python -m seglm.evaluation.told --predictions PLACE --dataset_dir DATA --val_dataset "grandf_gcg|val"

What is asked follows from the data set: captions with masked phrases (METEOR, CIDEr, AP50, mIoU, recall), captions of regions
(METEOR, CIDEr), or the data set's own questions (accuracy by kind). PLACE is what `--version` wrote, or what others write: of
captions with phrases a folder of PICTURE.json as GLaMM and Sa2VA have it, of regions Sa2VA's JSON list. A base that was never
trained to segment is asked, too; `--against` puts the scores of another model beside these.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from seglm.dataset.sources import describe, open_source
from seglm.evaluation.asking import weights
from seglm.evaluation.asking.parts import PARTS, Parts, check_fresh
from seglm.evaluation.scores import answers, grounded
from seglm.evaluation.scores.origin import Origin, read_origin, write_origin
from seglm.evaluation.told import captions, questions, regions
from seglm.evaluation.told.captions import Chosen
from seglm.evaluation.told.outcome import (
    BERT,
    SCORES,
    WORDS,
    Outcome,
    beside,
    folder_name,
    read_outcome,
    write_outcome,
)
from seglm.evaluation.told.say import Row, say
from seglm.utils import dist
from seglm.utils.command import command
from seglm.utils.config import to_json
from seglm.utils.did_you_mean import unknown
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import Count, place, typed
from seglm.utils.types import Sample

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

Score = answers.Score | grounded.Score | regions.Score


class Task(Protocol):
    """How the words about a family of data sets are asked for, written, read and scored."""

    def ask(self, model: Segmenter, sample: Sample, /, *, max_new_tokens: int) -> list[Row]:
        """What the model says about a sample."""
        ...

    def write(self, rows: Iterable[Row], out: Path, /) -> None:
        """All that was said, into a folder."""

    def score(self, chosen: Chosen, place: Path, alike: grounded.Likeness, /) -> Mapping[str, Score]:
        """Of what is written there, by kind; `all` comes first."""
        ...


TASKS: Mapping[str, Task] = {"gcg": captions, "region": regions, "vqa": questions, "video_qa": questions}
"""family of a data set -> how it is asked, read and scored"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line at the top of this file."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if (given.version is None) == (given.predictions is None):
        parser.error("give either --version, a model to ask, or --predictions, what was said")
    about, split = describe(given.val_dataset)
    if about.family not in TASKS:
        raise ValueError(unknown("family of a data set whose words are scored", about.family, TASKS))
    name, task = f"{about.name}|{split}", TASKS[about.family]
    before = read_outcome(given.against, name) if given.against else None
    chosen = Chosen(open_source(name, given.dataset_dir), given.limit)
    if given.version is None:
        _show(_scored(task, chosen, given.predictions, name, given), before)
        return
    out: Path = given.out / folder_name(name)
    world = dist.start()
    logging.basicConfig(level=logging.INFO if world.is_main else logging.ERROR, format="%(message)s")
    try:
        _run(task, chosen, out, name, given, before)
    except KeyboardInterrupt:
        kept = f"the same command goes on from what is in {out}" if (out / PARTS).exists() else ""
        raise KeyboardInterrupt(kept) from None
    finally:
        dist.stop()


def _run(
    task: Task, chosen: Chosen, out: Path, name: str, given: argparse.Namespace, before: Outcome | None
) -> None:
    """Asks the model on all processes; the main one writes what was said, and scores it."""
    check_writable(given.out, "--out")
    check_fresh(out, (SCORES,), overwrite=given.overwrite)
    [leak] = weights.leaks(given, name)
    world = dist.world()
    model, recipe = weights.opened(given, world, takes_base=True)
    parts = Parts(out / PARTS)
    asked = {"benchmark": name, "limit": given.limit, "max_new_tokens": given.max_new_tokens}
    asked["data"] = chosen.source.fingerprint()
    about = {"weights": weights.fingerprint(given), "recipe": to_json(recipe), **asked}
    origin = Origin(weights.named(given), about, leak)
    parts.begin_together(about, overwrite=given.overwrite)
    rows = say(partial(task.ask, model, max_new_tokens=given.max_new_tokens), chosen, parts, name=name)
    if world.is_main:
        write_origin(out, origin)
        task.write(rows, out)
        outcome = _scored(task, chosen, out, name, given)
        write_outcome(out, outcome)
        parts.remove()
        _show(outcome, before, f"files: {out}")


def _scored(task: Task, chosen: Chosen, place: Path, name: str, given: argparse.Namespace) -> Outcome:
    """The scores of what lies in a place."""
    origin = read_origin(place)
    likeness: str = given.likeness
    alike = grounded.word_likeness if likeness == WORDS else grounded.bert_likeness(Path(likeness))
    found = task.score(chosen, place, alike)
    scores = {kind: asdict(one) for kind, one in found.items()}
    outcome = Outcome(name, scores, likeness=WORDS if likeness == WORDS else BERT)
    if origin is None:
        return outcome
    return replace(outcome, leak=origin.leak, weights=origin.weights, fingerprint=origin.about["weights"])


def _show(outcome: Outcome, before: Outcome | None, *more: str) -> None:
    """Prints the scores, and beside them another model's."""
    tables = [str(outcome), *([beside(outcome, before)] if before else [])]
    sys.stdout.write("\n\n".join([*tables, *more]) + "\n")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m seglm.evaluation.told", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--version", help="the model to ask: a folder or a hub id")
    parser.add_argument("--predictions", type=place, help="what was said, instead of a model")
    parser.add_argument(
        "--dataset_dir", type=place, required=True, help="where the data lie, as for train_ds.py"
    )
    parser.add_argument(
        "--val_dataset",
        required=True,
        help='what is asked: "grandf_gcg|val", "refcocog_regions|val", "my_qa|val"',
    )
    parser.add_argument(
        "--out", type=place, default=Path("runs/told"), help="folder for what is said and its scores"
    )
    parser.add_argument(
        "--against",
        type=place,
        metavar="OUT",
        help="the --out of another model, whose scores are put beside these",
    )
    parser.add_argument("--limit", type=typed(Count), help="only the first so many pictures or videos")
    parser.add_argument("--max_new_tokens", type=typed(Count), default=512, help="longest answer")
    parser.add_argument(
        "--likeness", default=WORDS,
        help="how alike two phrases are: `words` (stems, the default), or a folder of bert-base-uncased, as GLaMM has it",
    )  # fmt: skip
    weights.add_flags(parser)
    return parser


if __name__ == "__main__":
    main()
