"""Writes a toy world to disk, in the real layouts of thirteen data sets under one `--dataset_dir`.

A world is a pure function of (seed, size, numbers of pictures): the same arguments give the same bytes. No picture is in two
of train, val and test, not even under two names in two data sets.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from seglm.dataset.toy.layouts import conversations, grefer, parts, reasonseg, refer, semantic
from seglm.dataset.toy.layouts.coco import write_pictures
from seglm.dataset.toy.layouts.shots import Shot, make_shot, positives, save_json
from seglm.dataset.toy.scenes import GRID, Scene
from seglm.dataset.toy.world import Manifest, Pool, differences, digest_of, draft_of, manifest_in

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
"""(things, what they are) -> the same things; a hook for a progress bar"""

MANIFEST_NAME = "toy_world.json"
TRAIN_IMAGES, VAL_IMAGES, TEST_IMAGES = 3000, 200, 100
SHOTS_PER_POOL = 1_000_000  # numbers kept free for each pool
MIN_TRAIN_IMAGES = 10  # so that every data set gets one
PROBES = 8  # scenes whose phrases are part of the world's fingerprint
LAYOUT_VERSION = 6  # raise it when the files change though the phrases do not


@dataclass(frozen=True)
class _Pool(Pool):
    """Pictures that are used together."""

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


POOL_BY_NAME = {pool.name: pool for pool in POOLS}
REFER_SETS = {one.name: one for one in (refer.REFCOCO, refer.REFCOCO_PLUS, refer.REFCOCOG, refer.REFCLEF)}
GENERAL_SETS = {one.name: one for one in (grefer.GREFCOCO, grefer.REFZOM)}
PLAIN_SETS: dict[str, Callable[[Path, Iterable[Shot]], int]] = {
    "ade20k": semantic.write_ade20k,
    "mapillary": semantic.write_mapillary,
    "cocostuff": semantic.write_cocostuff,
    "paco_lvis": parts.write_paco,
    "pascal_part": parts.write_pascal_part,
    "llava_instruct_150k": conversations.write_conversations,
}
JOBS = (
    *(f"pictures {pool.name.split()[1]}" for pool in POOLS if pool.name.startswith("coco ")),
    *REFER_SETS,
    *GENERAL_SETS,
    *(f"ReasonSeg {split}" for split in ("train", "val", "test")),
    *(f"{name} {split}" for split in ("train", "val") for name in ("ade20k", "mapillary")),
    *(f"{name} train" for name in ("cocostuff", "paco_lvis", "pascal_part", "llava_instruct_150k")),
)
"""what is written, in the order of the counts; no two of them write one file with different bytes"""


def write(
    root: Path,
    *,
    images: int = TRAIN_IMAGES,
    val_images: int = VAL_IMAGES,
    test_images: int = TEST_IMAGES,
    seed: int = 0,
    size: int = GRID,
    processes: int = 1,
    progress: Progress = lambda jobs, _: jobs,
) -> Manifest:
    """Write the world under `root`, whole or not at all; does nothing if the same world is there already.

    `images`, `val_images`, `test_images`: see Manifest; `size`: side of the pictures, pixels; `processes`: how many write at the
    same time, with the same outcome; `progress` is called with the data sets that are (or were) written.
    Raises ValueError if the numbers are too small or `root` holds anything else.
    """
    if images < MIN_TRAIN_IMAGES or min(val_images, test_images) < 4 or seed < 0:
        raise ValueError(
            f"a toy world of {images} train, {val_images} val and {test_images} test pictures with seed {seed}; permitted: "
            f"at least {MIN_TRAIN_IMAGES}, 4 and 4, and a seed from 0 up"
        )
    wanted = Manifest(seed, size, images, val_images, test_images, fingerprint(), {})
    root = root.resolve()
    if (found := _world_at(root, wanted)) is not None:
        return found
    with draft_of(root, "writing") as draft:
        world = replace(wanted, counts=_write_sets(draft, wanted, progress, processes))
        save_json(asdict(world), draft / MANIFEST_NAME)
        # Another process may have written a world meanwhile: the same one is as good, any other one is refused.
        if (found := _world_at(root, wanted)) is not None:
            return found
        draft.replace(root)
    return world


def read_manifest(root: Path) -> Manifest | None:
    """The manifest of the world under `root`; None if there is none."""
    return manifest_in(root / MANIFEST_NAME)


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
    if other := differences(found, wanted):
        raise ValueError(
            f"{root} holds another toy world: {other}; remove it (rm -r '{root}') or give another --dataset_dir"
        )
    return found


def fingerprint() -> str:
    """Hash of what is said about a few scenes; blind to rounding, which differs between machines."""
    shots = (make_shot(number, world_seed=0, split="train", size=GRID) for number in range(PROBES))
    said = [
        str(LAYOUT_VERSION),
        *(phrase.text for shot in shots for phrase in positives(shot, "fingerprint")),
    ]
    return digest_of(said)


def _write_sets(root: Path, world: Manifest, progress: Progress, processes: int) -> dict[str, int]:
    """All data sets; returns `data set|split` -> samples, in the order of JOBS whoever was ready first."""
    write_one = partial(_write_set, root, world)
    if processes == 1:
        written = dict(zip(JOBS, map(write_one, progress(JOBS, "toy world")), strict=True))
    else:
        # A fresh interpreter each: a copy of this one could hold locks of threads that it has not.
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            # The largest first, so that none of them is left for the end.
            begun = {pool.submit(write_one, job): job for job in sorted(JOBS, key=_effort, reverse=True)}
            done = progress(as_completed(begun), "toy world")
            written = {begun[one]: one.result() for one in done}
    return {name: count for job in JOBS for name, count in written[job].items()}


def _write_set(root: Path, world: Manifest, job: str) -> dict[str, int]:
    """One of JOBS: writes files that no other job writes, and returns `data set|split` -> samples."""
    kind, _, split = job.partition(" ")
    if kind == "pictures":
        return {f"coco|{split}": write_pictures(root, _shots(f"coco {split}", world))}
    if kind in REFER_SETS:
        return _write_refer_set(root, world, REFER_SETS[kind])
    if kind in GENERAL_SETS:
        general = GENERAL_SETS[kind]
        pools = {split: _shots(f"coco {split}", world) for split in general.splits}
        written = grefer.write_general(root, general, pools)
        return {f"{kind}|{general.split_by}|{split}": count for split, count in written.items()}
    if kind == "ReasonSeg":
        pool = POOL_BY_NAME[f"reasonseg {split}"]
        count = reasonseg.write_reasonseg(
            root, _numbered(pool, world.seed, world.size), count=_size(pool, world)
        )
        return {f"ReasonSeg|{split}": count}
    pictures = kind if f"{kind} {split}" in POOL_BY_NAME else "coco"
    return {f"{kind}|{split}": PLAIN_SETS[kind](root, _shots(f"{pictures} {split}", world))}


def _write_refer_set(root: Path, world: Manifest, chosen: refer.ReferSet) -> dict[str, int]:
    splits = ("train", "val", "test") if chosen is refer.REFCOCOG else ("train", "val", "testA", "testB")
    splits = (*splits, "testC") if chosen.clef else splits
    pictures = "refclef" if chosen.clef else "coco"
    written = refer.write_refer(
        root, chosen, {split: _shots(f"{pictures} {split}", world) for split in splits}
    )
    return {f"{chosen.name}|{chosen.split_by}|{split}": count for split, count in written.items()}


def _effort(job: str) -> float:
    """How long a job takes, roughly: ReasonSeg looks at many more pictures than it keeps, the rest says little of each."""
    kind, _, split = job.partition(" ")
    each = {"ReasonSeg": 4.0, "pictures": 0.5} | dict.fromkeys((*REFER_SETS, *GENERAL_SETS), 2.0)
    return each.get(kind, 0.4) * (1.0 if split in ("", "train") else 0.1)


def _shots(name: str, world: Manifest) -> tuple[Shot, ...]:
    """The pictures of a pool that are not chosen."""
    pool = POOL_BY_NAME[name]
    return _made(pool, world.seed, world.size, _size(pool, world))


@lru_cache(len(POOLS))
def _made(pool: _Pool, seed: int, size: int, count: int) -> tuple[Shot, ...]:
    """The first pictures of a pool, made once a process."""
    return tuple(islice(_numbered(pool, seed, size), count))


def _size(pool: _Pool, world: Manifest) -> int:
    """How many pictures of a pool are wanted."""
    return round(pool.share * int(getattr(world, pool.base)))


def _numbered(pool: _Pool, seed: int, size: int) -> Iterator[Shot]:
    """The shots of a pool, as many as are asked for; a shot has its number, and with it its seed, to itself."""
    first = POOLS.index(pool) * SHOTS_PER_POOL + 1
    for number in range(first, first + SHOTS_PER_POOL):
        yield make_shot(number, world_seed=seed, split=pool.split, size=size)
