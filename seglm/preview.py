"""What a model will be shown and taught, before it is: the first samples of a recipe's mixture, exactly as a run draws them.

python -m seglm.preview --recipe lisa_tiny --dataset_dir data/toy

Writes samples.png, pictures and frames of clips with the masks that are asked for, and samples.txt, each dialogue with what is
trained between [[ and ]]: if it is not the answer, or the mask lies elsewhere, no training will put it right. Nothing is trained.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np

from seglm.dataset.mixture import phases
from seglm.dataset.pipeline import TrainingSet
from seglm.evaluation.pictures.masks import IGNORED, MASK_COLOURS, Mask, Picture
from seglm.evaluation.pictures.sheet import Layer, Panel, Row, sheet
from seglm.evaluation.pictures.strip import spread
from seglm.evaluation.pictures.text import PAPER
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.load import start
from seglm.model.recipe import Recipe
from seglm.preflight import add_recipe_flags, chosen_recipe
from seglm.training.from_recipe import training_set, training_sources
from seglm.utils.atomic import write_atomic
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import between, place, typed
from seglm.utils.types import IGNORE_LABEL, IMAGE_POSITION, Branch, Example

SAMPLES = 12
FRAMES = 4  # of a clip on the sheet, evenly spread
DIALOGUES = 3  # of a sample on the sheet, beside which no more words fit; samples.txt has all
EMPTY = np.full((1, 1, 3), PAPER, np.uint8)


def shown(encoder: DialogueEncoder, branch: Branch) -> str:
    """A dialogue as the model reads it; what is trained stands between [[ and ]], an image as its number of tokens."""
    return " ".join(text for _, text in _pieces(encoder, branch))


def question_and_answer(encoder: DialogueEncoder, branch: Branch) -> str:
    """The same from the last image on: without the template's beginning, which is equal in all of them."""
    pieces = list(_pieces(encoder, branch))
    last = max((place for place, (kind, _) in enumerate(pieces) if kind == "image"), default=-1)
    return " ".join(text.strip() for _, text in pieces[last + 1 :])


def _pieces(encoder: DialogueEncoder, branch: Branch) -> Iterator[tuple[str, str]]:
    """What follows each other as (image, trained or read; its text)."""
    for kind, places in groupby(range(len(branch.ids)), lambda place: _kind(branch, place)):
        ids = [int(branch.ids[place]) for place in places]
        if kind == "image":
            yield kind, f"<{len(ids)} image tokens>"
        else:
            text = encoder.decode(ids)
            yield kind, f"[[{text}]]" if kind == "trained" else text


def _kind(branch: Branch, place: int) -> str:
    if branch.ids[place] == IMAGE_POSITION:
        return "image"
    return "trained" if branch.labels[place] != IGNORE_LABEL else "read"


def trained_text(encoder: DialogueEncoder, branch: Branch) -> str:
    """What the labels alone say."""
    return encoder.decode([int(label) for label in branch.labels if label != IGNORE_LABEL])


def write(folder: Path, examples: Sequence[Example], encoder: DialogueEncoder, *, title: str) -> list[Path]:
    """samples.png and samples.txt in `folder`, which may be there; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "samples.txt"
    write_atomic(text, "\n".join(line for example in examples for line in told(encoder, example)) + "\n")
    picture = folder / "samples.png"
    frames = max(1, *(min(len(example.drawn), FRAMES) for example in examples))
    columns = (
        ["picture", "masks"] if frames == 1 else ["first picture", "masks over time", *[""] * (frames - 1)]
    )
    rows = [row(encoder, example, panels=1 + frames) for example in examples]
    legend = {f"mask {number + 1}": colour for number, colour in enumerate(MASK_COLOURS[:4])}
    sheet(picture, title=title, legend={**legend, "ignored": IGNORED}, columns=columns, rows=rows)
    return [picture, text]


def told(encoder: DialogueEncoder, example: Example) -> Iterator[str]:
    yield f"== {example.key}: {len(example.branches)} dialogues, {example.masks.shape[0]} masks"
    for number, branch in enumerate(example.branches, 1):
        yield f"{number} ({len(branch.ids)} tokens, {len(branch.slots)} slots): {shown(encoder, branch)}"


def row(encoder: DialogueEncoder, example: Example, *, panels: int = 2) -> Row:
    """The first drawn frame as the mask decoder sees it, then frames with the masks of the targets, and what is asked and said.

    panels: how many the row has; those that a shorter clip does not fill are empty.
    """
    chosen = spread(len(example.drawn), FRAMES)
    # A conversation may be about nothing that is shown.
    first = np.ascontiguousarray(example.drawn[0].transpose(1, 2, 0)) if len(example.drawn) else EMPTY
    filled = (Panel(first), *(_frame(example, frame) for frame in chosen))
    sizes = ", ".join(f"{100 * mask.mean():.1f}" for mask in example.masks)
    said = [question_and_answer(encoder, branch) for branch in example.branches]
    if len(said) > DIALOGUES:
        said = [*said[: DIALOGUES - 1], f"... and {len(said) - DIALOGUES + 1} more in samples.txt"]
    lines = (*said, *([f"masks: {sizes} % of the picture"] if sizes else []))
    return Row((*filled, *[Panel(EMPTY)] * (panels - len(filled))), example.key, lines)


def _frame(example: Example, frame: int) -> Panel:
    pixels = np.ascontiguousarray(example.drawn[frame].transpose(1, 2, 0))
    layers = [
        Layer(_fitted(mask[frame], pixels), MASK_COLOURS[number % len(MASK_COLOURS)])
        for number, mask in enumerate(example.masks)
    ]
    if example.ignore is not None:
        layers.append(Layer(_fitted(example.ignore[frame], pixels), IGNORED, "veiled"))
    return Panel(pixels, tuple(layers))


def _fitted(mask: Mask, picture: Picture) -> Mask:
    height, width = picture.shape[:2]
    return cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(
        np.bool_
    )


FewSamples = Annotated[int, between(least=1, most=256)]
"""what one sheet shows; each takes a row of it, and its pixels in memory"""


def first(samples: TrainingSet, wanted: int) -> list[Example]:
    """The samples of a run's first numbers. Raises Fault as the run would."""
    return [samples[number] for number in range(wanted)]


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = Parser(
        prog="python -m seglm.preview",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_recipe_flags(parser)
    parser.add_argument("--samples", type=typed(FewSamples), default=SAMPLES)
    parser.add_argument("--out", type=place, default=Path("runs/preview"), help="default %(default)s")
    options = parser.parse_args(arguments)
    check_writable(options.out, "--out")
    recipe = chosen_recipe(options)
    sources = training_sources(recipe)
    model = start(recipe).model
    examples = first(training_set(recipe, sources, model), options.samples)
    for path in write(options.out, examples, model.encoder, title=f"{recipe.name}: what it is taught"):
        sys.stdout.write(f"{path}\n")
    if later := joining(recipe):
        said = " ".join(f"data.joins.{family}=0" for family in later)
        sys.stdout.write(
            f"not among them, because a run draws them later: {', '.join(later)}; {said} shows them\n"
        )
    return 0


def joining(recipe: Recipe) -> list[str]:
    """The families that are not drawn from at the start of a run."""
    first = phases(rates := recipe.data.shares(), recipe.data.joins)[0][2]
    return [family for family, rate in rates.items() if rate and not first[family]]


if __name__ == "__main__":
    sys.exit(main())
