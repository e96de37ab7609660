"""A score between what it has to beat and what it cannot pass.

python -m seglm.evaluation.baselines --dataset_dir data/toy --dataset "ReasonSeg|val" [--untrained] [--version DIR] [--out DIR]

  all objects      everything in the picture; largest object, random object: one thing of it
  wrong picture    the model asked about another picture of the benchmark: what it answers without looking
  box at the truth SAM as it was before training, prompted by the true box: as good as finding the thing can make it

Of videos also the object that is largest at first and the one that moves most, each kept in all frames, and, in the toy world, an
oracle that sees one frame and knows all looks; a model is also asked while its LLM sees one frame instead of the video.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from seglm.evaluation.asking.ask import Asker, asker
from seglm.evaluation.asking.benchmark import Benchmark, benchmark
from seglm.evaluation.asking.controls import (
    all_objects,
    base_decoder,
    box_at_truth,
    elsewhere,
    largest_object,
    random_object,
    wrong_picture,
)
from seglm.evaluation.asking.evaluate import evaluate_asker
from seglm.evaluation.asking.leak import refuse_leak
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.things import objects_of
from seglm.evaluation.asking.video_controls import frozen, of_videos
from seglm.evaluation.scores.results import Scores
from seglm.evaluation.table import markdown, table, write_table
from seglm.model.recipe import Recipe
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import place

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter


def controls(asked: Benchmark, selection: Selection, recipe: Recipe, dataset_dir: Path) -> dict[str, Scores]:
    """Name -> scores of every control that needs no trained model; `forced`, as nothing here writes a `[SEG]`.

    Nor does anything write a `[REJ]`: an empty mask rejects, whatever the recipe's system has to say for it.
    """
    objects = objects_of(selection, dataset_dir)
    recipe = replace(recipe, tokens=recipe.tokens[:1])
    askers: Mapping[str, Asker] = {
        "all objects (text-blind)": all_objects(objects),
        "largest object (text-blind)": largest_object(objects),
        "random object (text-blind)": random_object(objects),
        **(of_videos(objects, dataset_dir) if selection.is_of_videos else {}),
        "box at the truth (bound)": box_at_truth(base_decoder(recipe), objects, pixels=recipe.data.pixels),
    }
    return {
        name: evaluate_asker(ask, asked, selection, recipe, protocol="forced") for name, ask in askers.items()
    }


def model_rows(name: str, model: Segmenter, asked: Benchmark, selection: Selection) -> dict[str, Scores]:
    """A model beside itself with the wrong picture, and with the wrong picture before the LLM only: what is left there is what
    the words alone tell the mask decoder. Of videos also with the LLM before one frame: what is left there does not move.
    """
    recipe = model.recipe
    protocol = recipe.evaluate.protocol
    asking = partial(asker, model, protocol=protocol, max_new_tokens=recipe.evaluate.max_new_tokens)
    askers = {
        name: asking(),
        f"{name}, wrong picture": wrong_picture(asking(), selection),
        f"{name}, LLM sees the wrong picture": asking(sees=elsewhere(selection)),
    }
    if selection.is_of_videos:
        askers[f"{name}, LLM sees one frame"] = asking(sees=frozen)
    return {
        row: evaluate_asker(one, asked, selection, recipe, protocol=protocol) for row, one in askers.items()
    }


@command
def main(arguments: Sequence[str] | None = None) -> str:
    """The command line at the top of this file; returns the table as Markdown."""
    parser = Parser(prog="python -m seglm.evaluation.baselines", description="the controls of a score")
    parser.add_argument("--dataset_dir", type=place, default=Path("data/toy"))
    parser.add_argument("--dataset", default="ReasonSeg|val", help="a benchmark, as for --val_dataset")
    parser.add_argument("--recipe", default="lisa_tiny", help="whose SAM and questions are used")
    parser.add_argument("--untrained", action="store_true", help="also the model as it is before training")
    parser.add_argument("--version", default="", help="also a trained model: a merged folder")
    parser.add_argument("--allow_leak", action="store_true", help="score a split the weights were trained on")
    parser.add_argument("--out", type=place, help="folder for table.md and table.png")
    given = parser.parse_args(arguments)
    if given.out is not None:
        check_writable(given.out, "--out")
    recipe = _recipe(given.recipe)
    asked = benchmark(given.dataset)
    asked.check_truth()
    leak = _leak(asked.data, given.version, allow=given.allow_leak) if given.version else ""
    selection = asked.open(given.dataset_dir)
    rows = controls(asked, selection, recipe, given.dataset_dir)
    if given.untrained:
        from seglm.model.build import build

        model = build(recipe).model
        ask = asker(model, protocol=recipe.evaluate.protocol, max_new_tokens=recipe.evaluate.max_new_tokens)
        rows["untrained start"] = evaluate_asker(
            ask, asked, selection, recipe, protocol=recipe.evaluate.protocol
        )
    if given.version:
        from seglm.model.load import load

        model, _ = load(given.version)
        trained = model_rows("trained", model, asked, selection)
        rows |= {name: replace(scores, leak=leak) for name, scores in trained.items()}
    title = f"{asked.name}: the score and its controls"
    if given.out is not None:
        return write_table(given.out, rows, title=title)
    return markdown(table(rows, title=title))


def _leak(data: str, version: str, *, allow: bool) -> str:
    """See `refuse_leak`. Raises FileNotFoundError for weights that are not there."""
    from seglm.model.released.identify import manifest_of
    from seglm.utils.resolve import resolve

    return refuse_leak(data, version=version, manifest=manifest_of(resolve(version)), allow=allow)


def _recipe(name: str) -> Recipe:
    from seglm.model.recipes import recipe

    return recipe(name)


if __name__ == "__main__":
    print(main())  # noqa: T201
