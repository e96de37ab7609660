"""Dots: pictures with one rectangle each, in a JSON of `[{image, text, box}]`; box: (x0, y0, x1, y1), pixels, half open.

tests/house/test_one_file.py puts this file, and no other, into `dataset/sources` of a copy of the checkout.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.description import Description
from seglm.dataset.index import Record
from seglm.dataset.readers.files import read_json
from seglm.dataset.readers.stills import Still, Stills, open_stills
from seglm.utils.types import Sample, Target

DESCRIPTION = Description(
    names=("dots",),
    family="dots",
    splits=("train", "val"),
    tree=("dots/{train,val}.json", "dots/images/*.png"),
    home="made by the test that uses it",
    counts={},
)


def load(root: Path, split: str) -> Stills:
    file = root / "dots" / f"{split}.json"

    def records(name: str) -> list[Record]:
        return [{"id": str(number), **one} for number, one in enumerate(read_json(file, name))]

    return open_stills(
        root / "dots", split, DESCRIPTION, read, records, files=(file,), images=root / "dots/images"
    )


def read(record: Record, still: Still) -> Sample:
    size = still.size()
    target = Target(
        texts=(record["text"],), masks=partial(box_mask, tuple(record["box"]), size), kind="box", key="0"
    )
    return Sample(still.key, size, lambda _: still.frame(size), targets=(target,), path=str(still.path))


def box_mask(
    box: tuple[int, int, int, int], size: tuple[int, int], frames: Sequence[int]
) -> NDArray[np.bool_]:
    mask = np.zeros((len(frames), *size), dtype=np.bool_)
    mask[:, box[1] : box[3], box[0] : box[2]] = True
    return mask
