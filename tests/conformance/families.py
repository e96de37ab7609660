"""Which of the originals' goldens are checked, and which belong to what is not built yet; any other folder is a failure."""

from __future__ import annotations

from pathlib import Path

CHECKED = frozenset(
    {
        "lisa",
        "gsva",
        "keyseg",
        "videolisa",
        "glus",
        "sa2va",
        "sam",
        "sam2",
        "sam2_0",
        "metrics/davis2017",
        "metrics/grefcoco",
        "metrics/jf_unit",
        "metrics/lvvis",
        "metrics/mevis",
        "metrics/reasonseg",
        "metrics/reasonvos",
        "metrics/ref_davis17",
        "metrics/refcoco",
        "metrics/revos",
        "metrics/youtube_vos",
        "datasets/ade20k",
        "datasets/coco_stuff",
        "datasets/grefcoco",
        "datasets/llava_instruct",
        "datasets/lvvis",
        "datasets/mapillary",
        "datasets/mevis",
        "datasets/paco_lvis",
        "datasets/pascal_part",
        "datasets/reasonseg",
        "datasets/reasonvos",
        "datasets/ref_davis17",
        "datasets/ref_youtube_vos",
        "datasets/refclef",
        "datasets/refcoco",
        "datasets/refcoco_plus",
        "datasets/refcocog",
        "datasets/revos",
        "datasets/youtube_vos",
    }
)
"""families that a test in this folder reads"""

OWN = frozenset(
    {
        "49f5cfb",  # folders that this version wrote
        "losses",  # five of every tiny recipe
        "tokenizer",  # strings with the ids that transformers 4.31 gave
    }
)
"""what lies beside them and is read by tests elsewhere"""

NOT_YET: frozenset[str] = frozenset()
"""families whose system or data set does not exist here yet; whoever builds one takes it out"""

NESTED = ("metrics", "datasets")
"""folders that hold families instead of being one"""


def families(root: Path) -> set[str]:
    """Every family that lies in a folder of goldens."""
    folders = {path for path in root.iterdir() if path.is_dir()}
    nested = {
        path for name in NESTED if (root / name).is_dir() for path in (root / name).iterdir() if path.is_dir()
    }
    return {path.relative_to(root).as_posix() for path in folders | nested} - set(NESTED)


def unknown(root: Path) -> list[str]:
    """Families that lie there and that nothing here knows of."""
    return sorted(families(root) - CHECKED - OWN - NOT_YET)
