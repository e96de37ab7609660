"""Films to look at and to chat about: a few clips as GIF, as mp4 where PyAV is installed, and a contact sheet."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from seglm.dataset.toy.clips import Clip, draw_frames, make_clip
from seglm.dataset.toy.families import FAMILIES
from seglm.dataset.toy.film import can_write_mp4, coloured, contact_sheet, save_gif, save_mp4
from seglm.dataset.toy.moving_language import expressions
from seglm.dataset.toy.scenes import Picture
from seglm.dataset.toy.words import Phrase

FOLDER = Path("films")
SHEET_SIZE = 128  # px, side of a frame on the sheet
FILM_SEED = 9_000_000  # of the first film, in the test split; no pool of world seed 0 uses these numbers
FILMED = ("across", "rhythm", "stopping", "passing")


def write_films(root: Path, size: int) -> None:
    """Write NAME.gif (and NAME.mp4) of a clip for some families, NAME_masks.gif with the targets coloured, and sheet.png.

    size: side of the films' frames, pixels. The films do not depend on the world's seed: they are the same in every world.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True)
    shown = [shown_clip(family.name, SHEET_SIZE) for family in FAMILIES]
    Image.fromarray(contact_sheet(shown)).save(folder / "sheet.png")
    for name in FILMED:
        clip, phrases = shown_clip(name, size)
        save_gif(draw_frames(clip), folder / f"{name}.gif")
        save_gif(_coloured_frames(clip, phrases), folder / f"{name}_masks.gif")
        (folder / f"{name}.txt").write_text("".join(f"{p.text}\n" for p in phrases), encoding="utf-8")
        if can_write_mp4():
            save_mp4(draw_frames(clip), folder / f"{name}.mp4")


def shown_clip(family: str, size: int) -> tuple[Clip, list[Phrase]]:
    """A clip of the family and two of its own phrases with different targets (one if there are no two)."""
    names = [one.name for one in FAMILIES]
    clip = make_clip(FILM_SEED + names.index(family), size=size, split="test", family=family)
    kind = FAMILIES[names.index(family)].kind
    found: dict[tuple[int, ...], Phrase] = {}
    for one in expressions(clip, np.random.default_rng(clip.seed), split="test"):
        if one.pair.there.kind == kind:
            found.setdefault(one.pair.there.targets, one.pair.there)
    return clip, list(found.values())[:2]


def _coloured_frames(clip: Clip, phrases: list[Phrase]) -> Iterator[Picture]:
    for frame, picture in enumerate(draw_frames(clip)):
        yield coloured(clip, frame, picture, phrases)
