"""Asks a model for words, or reads what another program said, and scores it.

python -m seglm.evaluation.told --version MODEL --dataset_dir DATA --val_dataset "grandf_gcg|val"
python -m seglm.evaluation.told --predictions PLACE --dataset_dir DATA --val_dataset "grandf_gcg|val"

What is asked follows from the data set: captions with masked phrases (METEOR, CIDEr, AP50, mIoU, recall), captions of regions
(METEOR, CIDEr), or the data set's own questions (accuracy by kind). PLACE is what `--version` wrote, or what others write: of
captions with phrases a folder of PICTURE.json as GLaMM and Sa2VA have it, of regions Sa2VA's JSON list.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from seglm.dataset.sources import describe, open_source
from seglm.evaluation.scores import answers, grounded
from seglm.evaluation.told import captions, questions, regions
from seglm.evaluation.told.captions import Chosen
from seglm.utils.atomic import write_atomic
from seglm.utils.command import command
from seglm.utils.did_you_mean import unknown
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import Count, place, typed

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

Score = answers.Score | grounded.Score | regions.Score


class Task(Protocol):
    """How the words about a family of data sets are asked for, read and scored."""

    def ask(self, model: Segmenter, chosen: Chosen, out: Path, /, *, max_new_tokens: int) -> None:
        """Writes what the model says into a folder."""

    def score(self, chosen: Chosen, place: Path, alike: grounded.Likeness, /) -> Mapping[str, Score]:
        """Of what is written there, by kind; `all` comes first."""
        ...


TASKS: Mapping[str, Task] = {"gcg": captions, "region": regions, "vqa": questions, "video_qa": questions}
"""family of a data set -> how it is asked, read and scored"""
SCORES = "scores.json"
WORDS = "words"


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line at the top of this file."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if (given.version is None) == (given.predictions is None):
        parser.error("give either --version, a model to ask, or --predictions, what was said")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    about, split = describe(given.val_dataset)
    name = f"{about.name}|{split}"
    if about.family not in TASKS:
        raise ValueError(unknown("family of a data set whose words are scored", about.family, TASKS))
    task = TASKS[about.family]
    chosen = Chosen(open_source(name, given.dataset_dir), given.limit)
    alike = (
        grounded.word_likeness if given.likeness == WORDS else grounded.bert_likeness(Path(given.likeness))
    )
    out: Path = given.out / name.replace("|", "-")
    if given.version is not None:
        check_writable(given.out, "--out")
        if (out / SCORES).exists() and not given.overwrite:
            raise ValueError(
                f"{out / SCORES} is there already; pass --overwrite to replace it, or another --out"
            )
        from seglm.evaluation.asking.open_model import open_model

        model, line = open_model(given.version, recipe=given.recipe, precision=given.precision)
        logging.getLogger(__name__).info(line)
        out.mkdir(parents=True, exist_ok=True)
        task.ask(model, chosen, out, max_new_tokens=given.max_new_tokens)
    found = task.score(chosen, out if given.version is not None else given.predictions, alike)
    table = _table(name, found)
    if given.version is not None:
        write_atomic(out / SCORES, json.dumps({kind: asdict(one) for kind, one in found.items()}, indent=1))
        table += f"\n\nfiles: {out}"
    sys.stdout.write(f"{table}\n")


def _table(name: str, found: Mapping[str, Score]) -> str:
    """The scores as a Markdown table, one row a kind."""
    lines: list[str] = []
    for kind, one in found.items():
        fields = asdict(one)
        columns = [column for column in fields if column != "n"]
        if not lines:
            lines += [
                f"### {name}",
                "",
                f"| | n | {' | '.join(columns)} |",
                "|---|---:|" + "---:|" * len(columns),
            ]
        cells = (
            f"{value:.4f}" if isinstance(value := fields[column], float) else str(value) for column in columns
        )
        lines.append(f"| {kind} | {one.n} | {' | '.join(cells)} |")
    return "\n".join(lines)


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
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier outcome in --out")
    parser.add_argument("--limit", type=typed(Count), help="only the first so many pictures or videos")
    parser.add_argument("--max_new_tokens", type=typed(Count), default=512, help="longest answer")
    parser.add_argument(
        "--likeness", default=WORDS,
        help="how alike two phrases are: `words` (stems, the default), or a folder of bert-base-uncased, as GLaMM has it",
    )  # fmt: skip
    parser.add_argument("--recipe", help="name of the recipe; found out from the weights if not given")
    parser.add_argument("--precision", help="default: the recipe's")
    return parser


if __name__ == "__main__":
    main()
