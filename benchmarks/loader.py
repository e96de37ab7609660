"""One training sample, from files to a batch, against the original's way to make one.

    python -m benchmarks.loader [--images 16] [--repeats 5] [--size 480 640]

RefCOCO's layout with pictures of COCO's size, three expressions a picture, batches of two. One thread, process CPU seconds, A/B
interleaved, medians; peak memory is that of a child process a side. Both sides read the same files with the same tokenizer model;
the run fails unless masks and `peer` pixels agree. The replica repeats the released code's operations in their order
(utils/refer_seg_dataset.py and utils/dataset.py at 3cb2d43), from our description of them.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from torch import Tensor

from benchmarks.loading import JPEG_QUALITY, WORDS, Race, Samples, outline, photograph, training_set
from seglm.model.backbones.templates import template

VISION, EXPRESSIONS = 224, 3


def write_refcoco(root: Path, images: int, size: tuple[int, int]) -> None:
    """A RefCOCO of synthetic photographs: smooth shapes, noise, outlines of 40 corners."""
    rng = np.random.default_rng(0)
    folder = root / "refer_seg/images/mscoco/images/train2014"
    folder.mkdir(parents=True)
    (home := root / "refer_seg/refcoco").mkdir()
    instances: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
    refs = []
    for number in range(1, images + 1):
        name = f"COCO_train2014_{number:012d}.jpg"
        cv2.imwrite(str(folder / name), photograph(size, rng), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        instances["images"].append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
        for thing in range(EXPRESSIONS):
            annotation = number * 10 + thing
            instances["annotations"].append({"id": annotation, "segmentation": [outline(size, rng)]})
            sentence = {"sent": " ".join(rng.choice(WORDS, 5)), "sent_id": annotation}
            ref = {"ref_id": annotation, "ann_id": annotation, "image_id": number, "split": "train"}
            refs.append({**ref, "sentences": [sentence]})
    (home / "instances.json").write_text(json.dumps(instances))
    (home / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))


class Original(Samples):
    """Samples as the released code makes them."""

    def __init__(self, root: Path) -> None:
        super().__init__(VISION)
        self.folder = root / "refer_seg/images/mscoco/images/train2014"
        content = json.loads((root / "refer_seg/refcoco/instances.json").read_text())
        self.images = content["images"]
        self.annotations = {one["id"]: one for one in content["annotations"]}
        refs = pickle.loads((root / "refer_seg/refcoco/refs(unc).p").read_bytes())
        self.refs = {one["id"]: [ref for ref in refs if ref["image_id"] == one["id"]] for one in self.images}

    def index_of(self, key: str) -> int:
        return next(i for i, info in enumerate(self.images) if info["id"] == int(key.rpartition("/")[2]))

    def sample(self, index: int) -> tuple[Tensor, Tensor, list[str], Tensor, Tensor, tuple[int, int]]:
        info = self.images[index]
        refs = self.refs[info["id"]]
        read: Any = cv2.imread(str(self.folder / info["file_name"]))
        image: Any = cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
        clip = self.seen(image)
        resized = self.longest_side(image)
        questions = [
            f"Can you segment the {ref['sentences'][0]['sent'].lower()} in this image?" for ref in refs
        ]
        system = template("llava_v1").first
        conversations = [
            f"{system}<im_start><image><im_end>\n{question} ASSISTANT: It is [SEG].</s>"
            for question in questions
        ]
        sam = self.preprocess(torch.from_numpy(resized).permute(2, 0, 1).contiguous())
        masks = np.stack([self.mask(ref, info) for ref in refs])
        label = torch.ones(masks.shape[1:]) * 255
        return sam, clip, conversations, torch.from_numpy(masks), label, resized.shape[:2]

    def mask(self, ref: Any, info: Any) -> NDArray[np.uint8]:
        parts = self.annotations[ref["ann_id"]]["segmentation"]
        planes = coco.decode(coco.frPyObjects(parts, info["height"], info["width"]))
        mask: NDArray[np.uint8] = np.sum(planes, axis=2).astype(np.uint8)
        return mask


RACE = Race(
    module="benchmarks.loader",
    told=f"{EXPRESSIONS} expressions",
    write=write_refcoco,
    original=Original,
    ours=partial(
        training_set,
        recipe="lisa_7b",
        families={"refer_seg": ("refcoco",)},
        vision=VISION,
        expressions=EXPRESSIONS,
    ),
)


def side(root: Path, images: int, name: str) -> Callable[[], None]:
    """What benchmarks/probe.py times in a checkout."""
    return RACE.side(root, images, name)


def main(arguments: Sequence[str] | None = None) -> None:
    RACE.run(arguments, __doc__, samples=16, size=(480, 640))


if __name__ == "__main__":
    main()
