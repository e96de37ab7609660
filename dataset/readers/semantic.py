"""ADE20K, COCO-Stuff and Mapillary: a PNG beside each image, in which a number says what each pixel is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from seglm.dataset.description import Description, Scored
from seglm.dataset.faults import attempt, fault
from seglm.dataset.fields import coco_id
from seglm.dataset.frames import Pixels, read_labels
from seglm.dataset.index import LeftOut, Listed, Record
from seglm.dataset.masks import Mask
from seglm.dataset.readers.files import files_in, the_one
from seglm.dataset.readers.stills import Still, Stills, open_stills
from seglm.utils.types import Sample, Target

CLASSES = Scored(texts={"all": "one expression for each class in the picture"}, blank="left_out")


@dataclass(frozen=True)
class Pairs:
    """Which label map belongs to which image: the one of the same name."""

    images: str
    labels: str
    """folders, relative to the source's root"""
    is_coco: bool = False
    """names are COCO ids"""

    def records(self, root: Path, name: str) -> Iterator[Listed]:
        """One record for each label map; a missing image is an error when it is read, an image without a map is counted."""
        images, maps = files_in(root / self.images, ".jpg", ".jpeg"), files_in(root / self.labels, ".png")
        yield from (LeftOut("pictures without a label map") for stem in images if stem not in maps)
        for stem, labels in maps.items():
            pair = partial(self._record, root, labels, images.get(stem, [f"{stem}.jpg"]), stem)
            yield attempt(f"{name}/{stem}", root / self.labels, pair)

    def _record(self, root: Path, labels: Sequence[str], images: Sequence[str], stem: str) -> Record:
        record = {
            "id": stem,
            "image": f"{self.images}/{the_one(images, root / self.images)}",
            "labels": f"{self.labels}/{the_one(labels, root / self.labels)}",
        }
        return record | ({"coco": coco_id(stem)} if self.is_coco else {})


@dataclass(frozen=True)
class ReadSemantic:
    """One target for each class that is seen; records hold `image` and `labels`."""

    classes: tuple[str, ...]
    """in index order"""
    first: int = 0
    """number of class 0 in the label map"""
    unlabelled: Collection[int] = (255,)
    """numbers that stand for no class"""
    dropped: Collection[int] = ()
    """indices of classes that are never asked for"""

    def __call__(self, record: Record, still: Still) -> Sample:
        labels = read_labels(still.root / record["labels"], still.key)
        counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).reshape(
            -1
        )  # OpenCV 4 gives [256, 1], 5 gives [256]
        numbers = [number for number in np.flatnonzero(counts).tolist() if number not in self.unlabelled]
        wrong = [number for number in numbers if not 0 <= number - self.first < len(self.classes)]
        if wrong:
            raise fault(
                still.key,
                still.root / record["labels"],
                f"labels {wrong}, but {len(self.classes)} classes begin at {self.first}; is this another release of the set?",
            )
        size = (labels.shape[0], labels.shape[1])
        return Sample(
            key=still.key,
            size=size,
            frame=lambda _: still.frame(size),
            targets=tuple(
                Target(
                    texts=(self.classes[number - self.first],),
                    masks=partial(_masks, labels, number),
                    key=str(number),
                )
                for number in numbers
                if number - self.first not in self.dropped
            ),
            path=str(still.path),
        )


def open_semantic(root: Path, split: str, about: Description, read: ReadSemantic, pairs: Pairs) -> Stills:
    """Raises Fault if the folder of images or of label maps is missing."""
    return open_stills(
        root,
        split,
        about,
        read,
        partial(pairs.records, root),
        files=(root / pairs.labels, root / pairs.images),
    )


def _masks(labels: Pixels, number: int, frames: Sequence[int]) -> Mask:
    return np.broadcast_to(labels == number, (len(frames), *labels.shape))
