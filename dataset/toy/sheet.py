"""A contact sheet of the toy world: pictures, the targets of a phrase outlined, the phrases below.

`python -m seglm.dataset.toy.sheet sheet.png`
"""

import textwrap
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from seglm.dataset.toy.language import Phrase, phrases, questions
from seglm.dataset.toy.scenes import SPLITS, Mask, Scene, Split, draw, make_scene, parts, visible_masks
from seglm.utils.flags import Parser

PICTURE = 256  # px
LINES, LINE = 9, 15  # of text below a picture, and their height in px
INKS = ((230, 30, 30), (20, 110, 230), (20, 150, 60))  # of the phrases that are outlined
PER_LINE = 44  # characters


def main() -> None:
    """The command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("path", type=Path, help="the PNG to write")
    parser.add_argument("--first", type=int, default=0, help="seed of the first scene")
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--split", choices=SPLITS, default="train")
    args = parser.parse_args()
    picture = sheet(args.first, rows=args.rows, columns=args.columns, split=args.split)
    if not cv2.imwrite(str(args.path), picture[..., ::-1]):
        raise RuntimeError(f"could not write {args.path}; is it a PNG in a folder that exists?")


def sheet(first: int, *, rows: int, columns: int, split: Split) -> NDArray[np.uint8]:
    """The sheet of `rows` x `columns` consecutive scenes: uint8 [H, W, 3] RGB."""
    cards = [_card(make_scene(first + i, size=PICTURE, split=split), split) for i in range(rows * columns)]
    lines = [np.concatenate(cards[row * columns : (row + 1) * columns], axis=1) for row in range(rows)]
    return np.concatenate(lines, axis=0)


def outlined(picture: NDArray[np.uint8], mask: Mask, ink: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A copy of the picture with the outline of the mask in the ink."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(picture.copy(), found, -1, ink, 2))


def meant(scene: Scene, phrase: Phrase) -> Mask:
    """What a phrase asks for: bool [H, W]."""
    if phrase.part is not None and phrase.targets:
        return parts(scene, phrase.targets[0])[phrase.part]
    return np.asarray(visible_masks(scene)[list(phrase.targets)].any(axis=0))


def _card(scene: Scene, split: Split) -> NDArray[np.uint8]:
    rng = np.random.default_rng(scene.seed)
    picture = draw(scene)
    listed = phrases(scene, rng, split=split)
    kinds = {phrase.kind: phrase for phrase in listed if phrase.kind != "none"}
    shown = list(kinds.values())[: len(INKS)]
    card = np.full((PICTURE + LINES * LINE + 8, PICTURE, 3), 255, dtype=np.uint8)
    text = []
    for phrase, ink in zip(shown, INKS, strict=False):
        picture = outlined(picture, meant(scene, phrase), ink)
        text += [(line, ink) for line in textwrap.wrap(f"{phrase.kind}: {phrase.text}", PER_LINE)]
    text += [(f"none: {phrase.text}", (90, 90, 90)) for phrase in listed if phrase.kind == "none"][:1]
    for question in questions(scene, rng, split=split)[:2]:
        text += [(line, (0, 0, 0)) for line in textwrap.wrap(f"{question.text} {question.answer}", PER_LINE)]
    card[:PICTURE] = picture
    for number, (line, ink) in enumerate(text[:LINES]):
        place = (3, PICTURE + LINE * (number + 1) - 2)
        cv2.putText(card, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, ink, 1, cv2.LINE_AA)
    return card


if __name__ == "__main__":
    main()
