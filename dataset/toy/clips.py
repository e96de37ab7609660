"""The toy world in motion: clips of coloured things, drawn from a seed, with the true mask of every thing in every frame.

A clip is a scene for each of its frames, and every function here is a pure function of the clip. Looks are dealt out before the
roles are and without a look at them. A mask is what is seen: nothing outside the picture, nothing behind another thing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from seglm.dataset.toy.families import ANCHOR, BY_NAME, FAMILIES, Family
from seglm.dataset.toy.motion import RANKS, Cast, Motion
from seglm.dataset.toy.scenes import (
    COLOURS,
    GRID,
    MATERIAL_ODDS,
    MATERIALS,
    MAX_TILT,
    RADII,
    REACH,
    SPLITS,
    Mask,
    Picture,
    Scene,
    Split,
    Thing,
    ground,
    paint,
    visible_masks,
)
from seglm.dataset.toy.words import is_held_out

FRAMES = (14, 18)  # fewest and most of a clip
CAST_SIZES = (3, 4, 5)
CAST_ODDS = (0.35, 0.5, 0.15)
PARTS_OF_ROLES = {
    3: (1, 1, 1, 0),
    4: (2, 1, 1, 0),
    5: (2, 2, 1, 0),
}  # things that play each role, before the shuffle
TWINS = ("none", "shape", "colour", "both")  # what all things of a clip have in common
TWIN_ODDS = (0.45, 0.25, 0.2, 0.1)
GROWING_RADII = (11.5, 14.5)
ANCHOR_SHAPES = ("circle", "square")  # behind which a small thing is hidden whole
NOISE = 6.0  # standard deviation, grey levels
NOISE_SHIFTS = 32  # rows and columns by which the noise of a frame is shifted at most
CLIP_STREAM = 7  # keeps a clip's generators apart from those of the scene with its seed


@dataclass(frozen=True)
class Clip:
    """A video before it is drawn."""

    seed: int
    """different for each (seed, split)"""
    family: str
    """name of a family"""
    roles: tuple[str, ...]
    """what each thing does, in the order of the things"""
    scenes: tuple[Scene, ...]
    """the things at each frame; a thing may lie outside the picture"""

    @property
    def things(self) -> tuple[Thing, ...]:
        """As they look at the first frame, back to front."""
        return self.scenes[0].things


def make_clip(seed: int, *, size: int = GRID, split: Split = "train", family: str | None = None) -> Clip:
    """The clip of a seed: 14 to 18 frames of 3 to 5 things; the same layout at every `size` (pixels).

    family: name of a family, drawn from the seed if not given.
    """
    own_seed = seed * len(SPLITS) + SPLITS.index(split)
    rng = np.random.default_rng([own_seed, CLIP_STREAM])
    shares = np.array([one.share for one in FAMILIES], dtype=float)
    drawn = FAMILIES[int(rng.choice(len(FAMILIES), p=shares / shares.sum()))]
    chosen = BY_NAME[family] if family else drawn
    roles = _cast_roles(chosen, rng)
    looks = _looks(chosen, len(roles), rng, split=split)
    frames = FRAMES[1] if chosen.is_ranked else int(rng.integers(FRAMES[0], FRAMES[1] + 1))
    motions = chosen.play(Cast(roles, tuple(look.radius for look in looks), frames), rng)
    order = sorted(range(len(roles)), key=lambda i: motions[i].level)
    scenes = [
        Scene(own_seed, size, size, tuple(_placed(looks[i], motions[i], frame, size / GRID) for i in order))
        for frame in range(frames)
    ]
    return Clip(own_seed, chosen.name, tuple(roles[i] for i in order), tuple(scenes))


def draw_frames(clip: Clip) -> Iterator[Picture]:
    """The frames one after the other: uint8 [H, W, 3] RGB. Ground, shades and light stay, the noise is new at each frame."""
    first = clip.scenes[0]
    rng = np.random.default_rng([clip.seed, CLIP_STREAM, 0])
    bare = ground(first.height, first.width, rng)
    light = np.linspace(rng.uniform(0.85, 1.1), rng.uniform(0.85, 1.1), first.width, dtype=np.float32)[
        None, :, None
    ]
    # One sheet of noise, of which each frame shows another part: drawing new noise would take longer than all the rest.
    noise = np.float32(NOISE) * rng.standard_normal(
        (first.height + NOISE_SHIFTS, first.width + NOISE_SHIFTS, 3), dtype=np.float32
    )
    for scene in clip.scenes:
        canvas = bare.copy()
        for number, thing in enumerate(scene.things):
            if is_in_view(thing, scene):
                paint(
                    canvas,
                    thing,
                    np.random.default_rng([clip.seed, CLIP_STREAM, 2 + number]),
                    unit=scene.width / GRID,
                )
        canvas *= light
        top, left = (int(shift) for shift in rng.integers(NOISE_SHIFTS, size=2))
        canvas += noise[top : top + scene.height, left : left + scene.width]
        yield np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)


def seen(scene: Scene) -> Mask:
    """What is seen of each thing of a frame: bool [N, H, W]; all False for a thing outside the picture or hidden."""
    there = [i for i, thing in enumerate(scene.things) if is_in_view(thing, scene)]
    masks = np.zeros((len(scene.things), scene.height, scene.width), dtype=bool)
    masks[there] = visible_masks(replace(scene, things=tuple(scene.things[i] for i in there)))
    return masks


def is_in_view(thing: Thing, scene: Scene) -> bool:
    """False if the thing lies outside the picture altogether."""
    reach = REACH * thing.radius + 1
    return -reach < thing.x < scene.width + reach and -reach < thing.y < scene.height + reach


def cast_of(clip: Clip) -> tuple[int, ...]:
    """Indices of the things that may be asked for: all but the anchor."""
    return tuple(i for i, role in enumerate(clip.roles) if role != ANCHOR)


def _cast_roles(family: Family, rng: np.random.Generator) -> tuple[str, ...]:
    """The role of each thing, in random order, the anchor last."""
    if family.is_ranked:
        count = int(rng.choice((3, 4)))
        names = [*RANKS[: count - 1], RANKS[-1]]
    else:
        count = 3 if family.has_anchor else int(rng.choice(CAST_SIZES, p=CAST_ODDS))
        shuffled = rng.permutation(list(family.roles))
        names = [str(name) for name, times in zip(shuffled, PARTS_OF_ROLES[count]) for _ in range(times)]
    names = [names[i] for i in rng.permutation(len(names))]
    return tuple([*names, ANCHOR] if family.has_anchor else names)


def _looks(family: Family, count: int, rng: np.random.Generator, *, split: Split) -> list[Thing]:
    """What the things look like, not yet placed."""
    twins = TWINS[int(rng.choice(len(TWINS), p=TWIN_ODDS))]
    anchor = _look(ANCHOR_SHAPES, tuple(COLOURS), rng, split=split)
    shapes = tuple(s for s in family.shapes if not family.has_anchor or s != anchor.shape)
    colours = tuple(c for c in COLOURS if not family.has_anchor or c != anchor.colour)
    looks: list[Thing] = []
    while len(looks) < count:
        look = _look(shapes, colours, rng, split=split)
        if looks and twins != "none":
            look = replace(
                look,
                shape=looks[0].shape if twins in ("shape", "both") else look.shape,
                colour=looks[0].colour if twins in ("colour", "both") else look.colour,
            )
        if split != "train" or not is_held_out(look):
            looks.append(_sized(look, family, count, rng))
    if family.has_anchor:
        size = "large" if family.name == "passing" else looks[0].size
        looks[-1] = replace(anchor, size=size, radius=float(rng.uniform(*RADII[size])))
    return looks


def _look(shapes: Sequence[str], colours: Sequence[str], rng: np.random.Generator, *, split: Split) -> Thing:
    """Shape, colour, material and tilt, all uniform but for what training never shows."""
    while True:
        look = Thing(
            shape=shapes[int(rng.integers(len(shapes)))],
            colour=colours[int(rng.integers(len(colours)))],
            size="small",
            material=MATERIALS[int(rng.choice(len(MATERIALS), p=MATERIAL_ODDS))],
            x=0.0,
            y=0.0,
            radius=0.0,
            angle=float(rng.uniform(-MAX_TILT, MAX_TILT)),
        )
        if split != "train" or not is_held_out(look):
            return look


def _sized(look: Thing, family: Family, count: int, rng: np.random.Generator) -> Thing:
    """With a size for which there is room: the more things, the narrower their lanes."""
    if family.name == "growing":
        return replace(look, radius=float(rng.uniform(*GROWING_RADII)))
    is_small = count > 4 or family.name == "passing" or rng.random() < 0.5
    size = "small" if is_small else "medium"
    return replace(look, size=size, radius=float(rng.uniform(*RADII[size])))


def _placed(look: Thing, motion: Motion, frame: int, scale: float) -> Thing:
    """The thing at a frame, in pixels of the picture."""
    return replace(
        look,
        x=float(motion.x[frame]) * scale,
        y=float(motion.y[frame]) * scale,
        radius=look.radius * float(motion.swell[frame]) * scale,
        angle=(look.angle + float(motion.angle[frame])) % (2 * math.pi),
    )
