"""Writes the toy world's videos to disk, in the real layouts of seven data sets, beside its pictures or alone.

As the pictures are, they are a pure function of (seed, size, numbers of pictures): the same arguments give the same bytes. The
numbers of videos follow from those of pictures. No clip is in two of train, val and test. Frames are written as they are drawn;
what is kept until a file is written are texts and run lengths.
"""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from seglm.dataset.toy.layouts import (
    films,
    lvvis,
    mevis,
    reasonvos,
    ref_davis17,
    ref_youtube_vos,
    revos,
    youtube_vos,
)
from seglm.dataset.toy.layouts.takes import Take, Watch, make_take
from seglm.dataset.toy.moving_language import expressions
from seglm.dataset.toy.scenes import GRID
from seglm.dataset.toy.world import Beside, Manifest, Pool, digest_of, manifest_in
from seglm.dataset.toy.write import TEST_IMAGES, TRAIN_IMAGES, VAL_IMAGES

MANIFEST_NAME = "toy_videos.json"
TAKES_PER_POOL = 10_000  # numbers kept free for each pool
LEAST = 2  # clips of a pool, however small the world
PROBES = 8  # clips whose expressions are part of the fingerprint
LAYOUT_VERSION = 2  # raise it when the files change though the expressions do not


POOLS = (
    Pool("mevis train", "train", 0.05, "images"),
    Pool("mevis valid_u", "val", 0.25, "val_images"),
    Pool("mevis valid", "test", 0.10, "test_images"),
    Pool("youtube train", "train", 0.02, "images"),
    Pool("youtube valid", "val", 0.05, "val_images"),
    Pool("youtube test", "test", 0.10, "test_images"),
    Pool("refer valid", "val", 0.05, "val_images"),
    Pool("davis train", "train", 0.005, "images"),
    Pool("davis valid", "val", 0.10, "val_images"),
    Pool("lvvis train", "train", 0.01, "images"),
    Pool("lvvis val", "val", 0.05, "val_images"),
    Pool("revos train", "train", 0.015, "images"),
    Pool("revos valid", "val", 0.10, "val_images"),
    Pool("reasonvos test", "test", 0.20, "test_images"),
)


_MODULES = (lvvis, mevis, reasonvos, ref_davis17, ref_youtube_vos, revos, youtube_vos)
PART = Beside(
    "toy videos",
    MANIFEST_NAME,
    sorted({one.FOLDER.parts[0] for one in _MODULES} | {ref_davis17.RAW.parts[0], films.FOLDER.parts[0]}),
)
"""the top folders of the seven sets, and that of the films"""


def write_videos(
    root: Path,
    *,
    images: int = TRAIN_IMAGES,
    val_images: int = VAL_IMAGES,
    test_images: int = TEST_IMAGES,
    seed: int = 0,
    size: int = GRID,
    progress: Watch = lambda takes, _: takes,
) -> Manifest:
    """Write the videos under `root`, whole or not at all; does nothing if the same ones are there already.

    `images`, `val_images`, `test_images`: as of the pictures; `size`: side of the frames, pixels, even; `progress` is called with
    each sequence of clips and the name of what is written.
    Raises ValueError if the numbers are wrong, or if other videos or folders with their names are there.
    """
    if min(images, val_images, test_images, seed) < 0 or size % 2:
        raise ValueError(
            f"toy videos for {images} train, {val_images} val and {test_images} test pictures with seed {seed} and size {size}; "
            f"permitted: numbers from 0 up and an even size, which video files need"
        )
    wanted = Manifest(seed, size, images, val_images, test_images, fingerprint(), {})
    return PART.write(root, wanted, partial(_write_sets, wanted, progress))


def read_video_manifest(root: Path) -> Manifest | None:
    """The manifest of the videos under `root`; None if there is none."""
    return manifest_in(root / MANIFEST_NAME)


def take_of(root: Path, name: str) -> Take:
    """The take of a video of the world under `root`, by the name of its folder: everything that is in it, asked for or not.

    Raises ValueError if `root` holds no videos of the toy world or the video is not of it.
    """
    world, digits = read_video_manifest(root), re.search(r"\d+$", name)
    pool = int(digits[0]) // TAKES_PER_POOL if digits else len(POOLS)
    if world is None or pool >= len(POOLS):
        raise ValueError(
            f"{name!r} is no video of a toy world under {root} (no {MANIFEST_NAME}, or another name)"
        )
    return make_take(
        int(digits[0] if digits else 0), world_seed=world.seed, split=POOLS[pool].split, size=world.size
    )


def fingerprint() -> str:
    """Hash of what is said about a few clips; blind to rounding, which differs between machines."""
    said = [str(LAYOUT_VERSION), *(f"{pool.name} {pool.share}" for pool in POOLS)]
    for number in range(PROBES):
        take = make_take(number, world_seed=0, split="train", size=GRID)
        said += [
            one.pair.there.text for one in expressions(take.clip, take.rng("fingerprint"), split="train")
        ]
    return digest_of(said)


def _write_sets(world: Manifest, progress: Watch, root: Path) -> dict[str, int]:
    """All data sets; returns `data set|split` -> expressions, or objects where there are none."""

    def takes(name: str, label: str) -> Iterable[Take]:
        pool = next(pool for pool in POOLS if pool.name == name)
        return progress(islice(_numbered(pool, world), num_takes(pool, world)), label)

    counts = {
        f"mevis|{s}": mevis.write_mevis(root, s, takes(f"mevis {s}", "MeViS"))
        for s in ("train", "valid_u", "valid")
    }
    for split in ("train", "valid"):
        videos = takes(f"youtube {split}", "YouTube-VOS")
        counts[f"youtube_vos|{split}"] = youtube_vos.write_youtube_vos(root, split, videos)
    pools = {"train": "youtube train", "valid": "refer valid", "test": "youtube test"}
    refer = {split: takes(pool, "Refer-YouTube-VOS") for split, pool in pools.items()}
    davis = {split: takes(f"davis {split}", "Ref-DAVIS17") for split in ("train", "valid")}
    own = {split: takes(f"revos {split}", "ReVOS") for split in ("train", "valid")}
    written = {
        "ref_youtube_vos": ref_youtube_vos.write_ref_youtube_vos(root, refer),
        "ref_davis17": ref_davis17.write_ref_davis17(root, davis),
        "revos": revos.write_revos(root, own),
    }
    counts |= {
        f"{name}|{split}": count for name, of_set in written.items() for split, count in of_set.items()
    }
    for split in ("train", "val"):
        counts[f"lvvis|{split}"] = lvvis.write_lvvis(root, split, takes(f"lvvis {split}", "LV-VIS"))
    counts["reasonvos|test"] = reasonvos.write_reasonvos(root, takes("reasonvos test", "ReasonVOS"))
    films.write_films(root, world.size)
    return counts


def num_takes(pool: Pool, world: Manifest) -> int:
    """How many clips of a pool are wanted."""
    return max(LEAST, round(pool.share * int(getattr(world, pool.base))))


def _numbered(pool: Pool, world: Manifest) -> Iterator[Take]:
    """The takes of a pool, as many as are asked for; a take has its number, and with it its seed, to itself."""
    first = POOLS.index(pool) * TAKES_PER_POOL
    for number in range(first, first + TAKES_PER_POOL):
        yield make_take(number, world_seed=world.seed, split=pool.split, size=world.size)
