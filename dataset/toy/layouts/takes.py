"""A clip with its place in the world, and what every layout of videos needs of it."""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from seglm.dataset.masks import run_lengths
from seglm.dataset.toy.clips import Clip, draw_frames, make_clip, seen
from seglm.dataset.toy.layouts.shots import SEEDS_PER_WORLD, save_picture
from seglm.dataset.toy.moving_language import Expression, expressions, fill
from seglm.dataset.toy.scenes import Split
from seglm.dataset.toy.words import Phrase
from seglm.utils.folders import same_file

Json = dict[str, object]
Codes = list[list[Json | None]]
"""run lengths of each thing at each frame, None where nothing of it is seen"""

PALETTE_BITS = 8
OWN_KINDS = ("motion", "order", "growth", "interaction")
"""kinds of what things do; a clip has expressions of one of them"""


@dataclass(frozen=True)
class Take:
    """One clip of a world."""

    number: int
    """unique among the clips of the world; folder names are made of it"""
    split: Split
    """of the clip and of the language"""
    clip: Clip

    @property
    def num_frames(self) -> int:
        """How many frames it has."""
        return len(self.clip.scenes)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""
        return self.clip.scenes[0].height, self.clip.scenes[0].width

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of this clip for one purpose, e.g. a data set's name; independent of all other purposes."""
        return np.random.default_rng([self.clip.seed, zlib.crc32(purpose.encode()), 1])


Watch = Callable[[Iterable[Take], str], Iterable[Take]]
"""(takes, what is written) -> the same takes; a hook for a progress bar"""


def make_take(number: int, *, world_seed: int, split: Split, size: int) -> Take:
    """The take of a number: a pure function of its arguments; `size` in pixels."""
    return Take(number, split, make_clip(world_seed * SEEDS_PER_WORLD + number, size=size, split=split))


def frame_names(take: Take, *, step: int = 1) -> list[str]:
    """Names of the frames without suffix: 00000, 00005, ... for a step of 5."""
    return [f"{step * frame:05d}" for frame in range(take.num_frames)]


def save_frames(take: Take, folder: Path, *, step: int = 1) -> None:
    """Draw the frames and write each as JPEG."""
    folder.mkdir(parents=True)
    for name, picture in zip(frame_names(take, step=step), draw_frames(take.clip)):
        save_picture(picture, folder / f"{name}.jpg")


def save_labels(take: Take, folder: Path, values: Mapping[int, int], *, step: int = 1) -> None:
    """Write a palette PNG for each frame: the value of the thing that is seen at a pixel; `values`: thing -> value."""
    folder.mkdir(parents=True)
    for name, scene in zip(frame_names(take, step=step), take.clip.scenes):
        label, masks = np.zeros(take.size, dtype=np.uint8), seen(scene)
        for thing, value in values.items():
            label[masks[thing]] = value
        save_label(label, folder / f"{name}.png")


def save_label(label: np.ndarray, path: Path) -> None:
    """Write uint8 [H, W] as a PNG with the palette of DAVIS."""
    picture = Image.fromarray(label)
    picture.putpalette(DAVIS_PALETTE)
    picture.save(path)


def link_files(source: Path, target: Path) -> None:
    """Second names in a new folder for the files of another; copies where the disk knows no hard links."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        same_file(path, target / path.name)


def codes_of(take: Take) -> Codes:
    """Run lengths of what is seen of each thing."""
    codes: Codes = [[] for _ in take.clip.things]
    for scene in take.clip.scenes:
        for thing, mask in enumerate(seen(scene)):
            codes[thing].append(run_lengths(mask) if mask.any() else None)
    return codes


def names_of(codes: Sequence[Json | None], names: Sequence[str]) -> list[str]:
    """The names of the frames in which a thing is seen."""
    return [name for name, code in zip(names, codes) if code is not None]


def picked(take: Take, purpose: str, quotas: Mapping[str, int]) -> list[Expression]:
    """Expressions of a clip, at most `quotas` of each kind ("own": of what things do), in random order."""
    left, chosen = dict(quotas), []
    for expression in expressions(take.clip, take.rng(purpose), split=take.split):
        kind = expression.pair.there.kind
        quota = "own" if kind in OWN_KINDS else kind
        if left.get(quota, 0) > 0:
            left[quota] -= 1
            chosen.append(expression)
    return chosen


def asked(take: Take, purpose: str, quotas: Mapping[str, int], *, none_odds: float) -> list[Phrase]:
    """The picked expressions, each filled one way; the coin falls after they are picked."""
    rng = take.rng(f"{purpose} coin")
    return [fill(one.pair, rng, none_odds=none_odds) for one in picked(take, purpose, quotas)]


def _davis_palette() -> list[int]:
    """256 x (r, g, b): the bits of a number, three by three, from the highest bit of each colour downwards."""
    palette = []
    for number in range(256):
        colour = [0, 0, 0]
        for bit in range(PALETTE_BITS):
            for channel in range(3):
                colour[channel] |= (number >> (3 * bit + channel) & 1) << (PALETTE_BITS - 1 - bit)
        palette += colour
    return palette


DAVIS_PALETTE = _davis_palette()
