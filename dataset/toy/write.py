"""Writes a toy world to disk, in the real layouts of thirteen data sets under one `--dataset_dir`.

A world is a pure function of (seed, size, numbers of pictures): the same arguments give the same bytes. No picture is in two
of train, val and test, not even under two names in two data sets.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from seglm.dataset.toy.layouts import conversations, grefer, parts, reasonseg, refer, semantic
from seglm.dataset.toy.layouts.coco import write_pictures
from seglm.dataset.toy.layouts.shots import Progress, Shot, make_shot, positives, save_json
from seglm.dataset.toy.scenes import GRID, Scene, Split

MANIFEST_NAME = "toy_world.json"
TRAIN_IMAGES, VAL_IMAGES, TEST_IMAGES = 3000, 200, 100
SHOTS_PER_POOL = 1_000_000  # numbers kept free for each pool
MIN_TRAIN_IMAGES = 10  # so that every data set gets one
PROBES = 8  # scenes whose phrases are part of the world's fingerprint
LAYOUT_VERSION = 5  # raise it when the files change though the phrases do not


@dataclass(frozen=True)
class Manifest:
    """What a written world is; stands in its folder as toy_world.json."""

    seed: int
    size: int
    """side of the pictures, pixels"""
    images: int
    """pictures of the train split, all data sets together"""
    val_images: int
    """pictures of each large val split (and of RefCOCO's testA and testB); ReasonSeg's has twice as many"""
    test_images: int
    """pictures of each other test split"""
    fingerprint: str
    """of the scenes and the language; another version of them makes another world"""
    counts: dict[str, int]
    """`data set|split` -> samples: sentences, pictures, annotations or conversations, as the set counts them"""


@dataclass(frozen=True)
class _Pool:
    """Pictures that are used together."""

    name: str
    split: Split
    share: float
    """of the number of pictures of its `base`"""
    base: str
    """field of Manifest that says how many pictures there are"""

    @property
    def is_chosen(self) -> bool:
        """True if pictures are chosen from endless ones, so that their numbers have gaps."""
        return self.name.startswith("reasonseg ")


POOLS = (
    _Pool("coco train", "train", 0.40, "images"),
    _Pool("reasonseg train", "train", 0.40, "images"),
    _Pool("ade20k train", "train", 0.10, "images"),
    _Pool("mapillary train", "train", 0.10, "images"),
    _Pool("pascal_part train", "train", 0.10, "images"),
    _Pool("refclef train", "train", 0.10, "images"),
    _Pool("coco val", "val", 1.0, "val_images"),
    _Pool("reasonseg val", "val", 2.0, "val_images"),
    _Pool("ade20k val", "val", 0.25, "val_images"),
    _Pool("mapillary val", "val", 0.25, "val_images"),
    _Pool("refclef val", "val", 0.25, "val_images"),
    _Pool("coco testA", "test", 1.0, "val_images"),
    _Pool("coco testB", "test", 1.0, "val_images"),
    _Pool("coco test", "test", 1.0, "test_images"),
    _Pool("reasonseg test", "test", 1.0, "test_images"),
    _Pool("refclef testA", "test", 0.25, "test_images"),
    _Pool("refclef testB", "test", 0.25, "test_images"),
    _Pool("refclef testC", "test", 0.25, "test_images"),
)


def write(
    root: Path,
    *,
    images: int = TRAIN_IMAGES,
    val_images: int = VAL_IMAGES,
    test_images: int = TEST_IMAGES,
    seed: int = 0,
    size: int = GRID,
    progress: Progress = lambda shots, _: shots,
) -> Manifest:
    """Write the world under `root`, whole or not at all; does nothing if the same world is there already.

    `images`, `val_images`, `test_images`: see Manifest; `size`: side of the pictures, pixels; `progress` is called with each
    sequence of pictures and the name of what is written.
    Raises ValueError if the numbers are too small or `root` holds anything else.
    """
    if images < MIN_TRAIN_IMAGES or min(val_images, test_images) < 4 or seed < 0:
        raise ValueError(
            f"a toy world of {images} train, {val_images} val and {test_images} test pictures with seed {seed}; permitted: "
            f"at least {MIN_TRAIN_IMAGES}, 4 and 4, and a seed from 0 up"
        )
    wanted = Manifest(seed, size, images, val_images, test_images, _fingerprint(), {})
    root = root.resolve()
    if (found := _world_at(root, wanted)) is not None:
        return found
    root.parent.mkdir(parents=True, exist_ok=True)
    draft = root.with_name(f".{root.name}.writing-{os.getpid()}")
    try:
        draft.mkdir()
        world = Manifest(**{**asdict(wanted), "counts": _write_sets(draft, wanted, progress)})
        save_json(asdict(world), draft / MANIFEST_NAME)
        draft.replace(root)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return world


def read_manifest(root: Path) -> Manifest | None:
    """The manifest of the world under `root`; None if there is none."""
    path = root / MANIFEST_NAME
    return Manifest(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def scene_of(root: Path, picture: Path) -> Scene:
    """The scene of a picture of the world under `root`: everything that is in it, asked for or not.

    Raises ValueError if `root` holds no world or the picture is not of it.
    """
    world = read_manifest(root)
    numbers = re.findall(r"\d{7,}", picture.stem)
    index = (int(numbers[-1]) - 1) // SHOTS_PER_POOL if numbers else len(POOLS)
    if world is None or index >= len(POOLS):
        raise ValueError(
            f"{picture} is no picture of a toy world under {root} (no {MANIFEST_NAME}, or another name)"
        )
    return make_shot(int(numbers[-1]), world_seed=world.seed, split=POOLS[index].split, size=world.size).scene


def _world_at(root: Path, wanted: Manifest) -> Manifest | None:
    """The world at `root` if it is the wanted one; None if there is room for it."""
    found = read_manifest(root)
    if found is None:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise ValueError(
                f"{root} is not empty and holds no toy world; give another --dataset_dir, or empty it"
            )
        return None
    differences = [
        f"{name} {value!r} (wanted {asdict(wanted)[name]!r})"
        for name, value in asdict(found).items()
        if name != "counts" and value != asdict(wanted)[name]
    ]
    if differences:
        raise ValueError(
            f"{root} holds another toy world: {', '.join(differences)}; remove it (rm -r '{root}') or give another --dataset_dir"
        )
    return found


def _fingerprint() -> str:
    """Hash of what is said about a few scenes; blind to rounding, which differs between machines."""
    shots = (make_shot(number, world_seed=0, split="train", size=GRID) for number in range(PROBES))
    said = [
        str(LAYOUT_VERSION),
        *(phrase.text for shot in shots for phrase in positives(shot, "fingerprint")),
    ]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _write_sets(root: Path, world: Manifest, progress: Progress) -> dict[str, int]:
    """All data sets; returns `data set|split` -> samples."""
    pools = {
        pool.name: list(islice(_numbered(pool, world), _size(pool, world)))
        for pool in POOLS
        if not pool.is_chosen
    }

    def watched(name: str, label: str) -> Iterable[Shot]:
        return progress(pools[name], label)

    coco = [pool.name for pool in POOLS if pool.name.startswith("coco ")]
    counts = {f"coco|{name.split()[1]}": write_pictures(root, watched(name, "pictures")) for name in coco}
    for refer_set in (refer.REFCOCO, refer.REFCOCO_PLUS, refer.REFCOCOG, refer.REFCLEF):
        pictures = "refclef" if refer_set.clef else "coco"
        splits = (
            ("train", "val", "test") if refer_set is refer.REFCOCOG else ("train", "val", "testA", "testB")
        )
        splits = (*splits, "testC") if refer_set.clef else splits
        watched_splits = {split: watched(f"{pictures} {split}", refer_set.name) for split in splits}
        written = refer.write_refer(root, refer_set, watched_splits)
        counts |= {
            f"{refer_set.name}|{refer_set.split_by}|{split}": count for split, count in written.items()
        }
    for general in (grefer.GREFCOCO, grefer.REFZOM):
        watched_splits = {split: watched(f"coco {split}", general.name) for split in general.splits}
        written = grefer.write_general(root, general, watched_splits)
        counts |= {f"{general.name}|{general.split_by}|{split}": count for split, count in written.items()}
    for split in ("train", "val", "test"):
        pool = next(pool for pool in POOLS if pool.name == f"reasonseg {split}")
        shots = progress(_numbered(pool, world), "ReasonSeg")
        counts[f"ReasonSeg|{split}"] = reasonseg.write_reasonseg(root, shots, count=_size(pool, world))
    for split in ("train", "val"):
        counts[f"ade20k|{split}"] = semantic.write_ade20k(root, watched(f"ade20k {split}", "ade20k"))
        counts[f"mapillary|{split}"] = semantic.write_mapillary(
            root, watched(f"mapillary {split}", "mapillary")
        )
    counts["cocostuff|train"] = semantic.write_cocostuff(root, watched("coco train", "cocostuff"))
    counts["paco_lvis|train"] = parts.write_paco(root, watched("coco train", "paco_lvis"))
    counts["pascal_part|train"] = parts.write_pascal_part(root, watched("pascal_part train", "pascal_part"))
    counts["llava_instruct_150k|train"] = conversations.write_conversations(
        root, watched("coco train", "llava_instruct")
    )
    return counts


def _size(pool: _Pool, world: Manifest) -> int:
    """How many pictures of a pool are wanted."""
    return round(pool.share * int(getattr(world, pool.base)))


def _numbered(pool: _Pool, world: Manifest) -> Iterator[Shot]:
    """The shots of a pool, as many as are asked for; a shot has its number, and with it its seed, to itself."""
    first = POOLS.index(pool) * SHOTS_PER_POOL + 1
    for number in range(first, first + SHOTS_PER_POOL):
        yield make_shot(number, world_seed=world.seed, split=pool.split, size=world.size)
