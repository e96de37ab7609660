"""ReasonVOS: questions that take reasoning, about videos of MeViS, MOSE, BURST and VIPSeg; for tests only (VideoLISA)."""

from functools import partial
from pathlib import Path

from seglm.dataset.description import Description, Scored
from seglm.dataset.faults import blamed
from seglm.dataset.fields import take
from seglm.dataset.readers.expressions import (
    Expression,
    Find,
    Rule,
    ids_of,
    open_expressions,
)
from seglm.dataset.readers.files import first_of, read_json
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_masks import LabelMaps
from seglm.dataset.readers.video_records import EXPRESSIONS, Found

FOLDERS = ("ReasonVOS", "reasonvos", "reason_vos")
DESCRIPTION = Description(
    names=("reasonvos", "reason_vos"),
    family="ref_vos",
    splits=("test",),
    tree=(
        "ReasonVOS/JPEGImages/*/*.jpg",
        "ReasonVOS/Annotations/{source}_{video}_{obj_id}/*.png",
        "ReasonVOS/meta_expressions.json",
    ),
    home="https://github.com/showlab/VideoLISA/blob/main/BENCHMARK.md",
    counts={"test": 91},
    quirks=(
        "a folder of masks for each object, 0 and 255; frames without a file have no published mask",
        "predictions are paired by exp_id (VideoLISA); GLUS writes the place in the list instead",
    ),
    scored=Scored(texts=EXPRESSIONS, conventions=("found", "every")),
)


def load(root: Path, split: str) -> Stills:
    name = f"reasonvos|{split}"
    home = first_of(root, FOLDERS, name, DESCRIPTION)
    meta, masks = home / "meta_expressions.json", home / "Annotations"
    return open_expressions(
        home,
        split,
        DESCRIPTION,
        meta,
        frames=("JPEGImages",),
        masks=LabelMaps(masks, is_sparse=True),
        find=partial(_in_folders, meta, masks, name),
        rule=Rule(text="exp_text"),
        files=(masks,),
    )


def _in_folders(meta: Path, masks: Path, name: str) -> Find:
    """Finds the folder of an object's masks."""
    with blamed(name, meta):
        videos = take(read_json(meta, name), "videos", dict)

    def find(expression: Expression) -> Found:
        [one] = ids_of(expression.entry, "obj_id")
        folder = f"{take(videos[expression.video], 'source', str)}_{expression.video}_{one}"
        if not (masks / folder).is_dir():
            raise ValueError(f"`obj_id` is {one!r}, and there is no folder {masks.name}/{folder}")
        return Found([one], [[folder, None]])

    return find
