"""Writes what Sa2VA and DeSa2VA are trained on beside segmentation: captions with masked phrases, regions, conversations, films.

In the real layouts, beside the toy world's pictures and videos or alone, and as these a pure function of (seed, size, numbers of
pictures). No picture or clip is in two of train, val and test, nor in another part of the world.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path

from seglm.dataset.toy import write as pictures
from seglm.dataset.toy import write_videos as videos
from seglm.dataset.toy.film import can_write_mp4
from seglm.dataset.toy.layouts import conversations, grounded, listed, regions, sav
from seglm.dataset.toy.layouts.shots import Shot, make_shot
from seglm.dataset.toy.layouts.takes import Take, make_take
from seglm.dataset.toy.scenes import GRID
from seglm.dataset.toy.world import Beside, Manifest, Pool, digest_of, manifest_in

MANIFEST_NAME = "toy_sa2va.json"
LAYOUT_VERSION = 4  # raise it when the files change though the language does not
SHOT_POOLS = (
    Pool("grandf train", "train", 0.04, "images"),
    Pool("openpsg train", "train", 0.02, "images"),
    Pool("refcocog_gcg train", "train", 0.02, "images"),
    Pool("flickr_gcg train", "train", 0.02, "images"),
    Pool("osprey train", "train", 0.04, "images"),
    Pool("llava_665k train", "train", 0.10, "images"),
    Pool("llava_pretrain train", "train", 0.02, "images"),
    Pool("my_data train", "train", 0.02, "images"),
    Pool("grandf val", "val", 0.25, "val_images"),
    Pool("grandf test", "test", 0.25, "test_images"),
    Pool("my_data val", "val", 0.10, "val_images"),
    Pool("my_qa val", "val", 0.25, "val_images"),
    Pool("refcocog_regions val", "val", 0.10, "val_images"),
)
TAKE_POOLS = (
    Pool("chat_univi train", "train", 0.01, "images"),
    Pool("ref_sav train", "train", 0.01, "images"),
    Pool("my_videos train", "train", 0.005, "images"),
    Pool("ref_sav valid", "val", 0.05, "val_images"),
    Pool("my_videos val", "val", 0.02, "val_images"),
    Pool("my_video_qa val", "val", 0.05, "val_images"),
)
PART = Beside(
    "toy sets of Sa2VA",
    MANIFEST_NAME,
    sorted(
        {
            grounded.FOLDER.name,
            regions.FOLDER.name,
            regions.CAPTIONS.parts[0],
            conversations.PRETRAIN.parts[0],
            conversations.CHAT.parts[0],
            sav.EVAL.name,
            sav.FILE.name,
            listed.FOLDER.name,
        }
    ),
)


def write_sa2va(
    root: Path,
    *,
    images: int = pictures.TRAIN_IMAGES,
    val_images: int = pictures.VAL_IMAGES,
    test_images: int = pictures.TEST_IMAGES,
    seed: int = 0,
    size: int = GRID,
    progress: Callable[[Iterable[str], str], Iterable[str]] = lambda jobs, _: jobs,
) -> Manifest:
    """Write these sets under `root`, whole or not at all; does nothing if the same ones are there already.

    `images`, `val_images`, `test_images`, `size`: as of the pictures; `progress` is called with the sets that are written.
    Raises ValueError if the numbers are wrong, or if other such sets or folders with their names are there, and RuntimeError if
    films cannot be written because PyAV is not installed.
    """
    if min(images, val_images, test_images, seed) < 0 or size % 2:
        raise ValueError(
            f"toy sets for {images} train, {val_images} val and {test_images} test pictures with seed {seed} and size {size}; "
            "permitted: numbers from 0 up and an even size, which video files need"
        )
    if not can_write_mp4():
        raise RuntimeError("Ref-SAV has films, which need PyAV; it is not installed, run: pip install av")
    pools = [f"{pool.name} {pool.share}" for pool in (*SHOT_POOLS, *TAKE_POOLS)]
    prints = (pictures.fingerprint(), videos.fingerprint(), str(LAYOUT_VERSION), *pools)
    wanted = Manifest(seed, size, images, val_images, test_images, digest_of(prints), {})
    return PART.write(root, wanted, partial(_write_sets, wanted, progress))


def read_sa2va_manifest(root: Path) -> Manifest | None:
    """The manifest of these sets under `root`; None if they are not there."""
    return manifest_in(root / MANIFEST_NAME)


def _write_sets(
    world: Manifest, progress: Callable[[Iterable[str], str], Iterable[str]], root: Path
) -> dict[str, int]:
    """All sets; returns `data set|split` -> captions, entries, conversations or texts, as the set counts them."""
    shots, takes = partial(_shots, world), partial(_takes, world)
    jobs: dict[str, Callable[[], int | dict[str, int]]] = {
        "grandf_gcg|train": lambda: grounded.write_grandf(root, shots("grandf train")),
        "grandf_gcg|val": lambda: grounded.write_truth(root, "val", shots("grandf val")),
        "grandf_gcg|test": lambda: grounded.write_truth(root, "test", shots("grandf test")),
        "openpsg_gcg|train": lambda: grounded.write_openpsg(root, shots("openpsg train")),
        "refcocog_gcg|train": lambda: grounded.write_refcocog(root, shots("refcocog_gcg train")),
        "flickr_gcg|train": lambda: grounded.write_flickr(root, shots("flickr_gcg train")),
        "refcocog_regions|val": lambda: regions.write_region_captions(root, shots("refcocog_regions val")),
        "osprey": lambda: regions.write_regions(root, shots("osprey train")),
        "llava_665k|train": lambda: conversations.write_mixture(root, shots("llava_665k train")),
        "llava_pretrain|train": lambda: conversations.write_pretrain(root, shots("llava_pretrain train")),
        "chat_univi|train": lambda: conversations.write_chat(root, takes("chat_univi train")),
        "ref_sav|train": lambda: sav.write_ref_sav(root, takes("ref_sav train")),
        "ref_sav|valid": lambda: sav.write_ref_sav_eval(root, takes("ref_sav valid")),
        "my_data|train": lambda: listed.write_pictures(root, "train", shots("my_data train")),
        "my_data|val": lambda: listed.write_pictures(root, "val", shots("my_data val")),
        "my_videos|train": lambda: listed.write_videos(root, "train", takes("my_videos train")),
        "my_videos|val": lambda: listed.write_videos(root, "val", takes("my_videos val")),
        "my_qa|val": lambda: conversations.write_questions(root, shots("my_qa val")),
        "my_video_qa|val": lambda: conversations.write_video_questions(root, takes("my_video_qa val")),
    }
    counts: dict[str, int] = {}
    for name in progress(jobs, "Sa2VA's sets"):
        written = jobs[name]()
        counts |= (
            {f"{name}|{part}": n for part, n in written.items()}
            if isinstance(written, dict)
            else {name: written}
        )
    return counts


def _shots(world: Manifest, name: str) -> list[Shot]:
    """The pictures of a pool, numbered behind those of all pools of the toy world's pictures."""
    number = next(place for place, pool in enumerate(SHOT_POOLS) if pool.name == name)
    pool, first = SHOT_POOLS[number], (len(pictures.POOLS) + number) * pictures.SHOTS_PER_POOL + 1
    numbers = range(first, first + videos.num_takes(pool, world))
    return [make_shot(one, world_seed=world.seed, split=pool.split, size=world.size) for one in numbers]


def _takes(world: Manifest, name: str) -> Iterable[Take]:
    """The clips of a pool, numbered behind those of all pools of the toy world's videos."""
    number = next(place for place, pool in enumerate(TAKE_POOLS) if pool.name == name)
    pool, first = TAKE_POOLS[number], (len(videos.POOLS) + number) * videos.TAKES_PER_POOL
    for one in islice(range(first, first + videos.TAKES_PER_POOL), videos.num_takes(pool, world)):
        yield make_take(one, world_seed=world.seed, split=pool.split, size=world.size)
