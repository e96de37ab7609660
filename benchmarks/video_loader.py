"""One training sample of a video, from files to a batch, against VideoLISA's way to make one.

    python -m benchmarks.video_loader [--images 4] [--repeats 5] [--size 720 1280]

MeViS' layout: a video of 40 frames, JPEGs of a photograph that a camera passes over, and two things of an expression as run
lengths; 32 frames are shown and 4 of them drawn, a batch holds two samples. One thread, process CPU seconds, A/B interleaved,
medians; peak memory is that of a child process a side. Both sides read the same files and draw the same frames from the same
random numbers; the run fails unless masks and `peer` pixels agree. The replica repeats the released code's operations in their
order (utils/mevis_dataset.py and utils/dataset.py at 0f14b22), from our description of them: every frame is opened twice, the
masks of all frames are decoded and boxed, and every frame goes through CLIP's image processor by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco
from torch import Tensor

from benchmarks.loading import (
    JPEG_QUALITY,
    SEED,
    WORDS,
    Race,
    Samples,
    outline,
    photograph,
    training_set,
)
from seglm.dataset.mixture import LOOK, rng_of
from seglm.model.backbones.templates import template
from seglm.model.systems.videolisa import clip_and_some_whole

VISION = 336
FRAMES, THINGS = 40, 2
MARGIN = 64  # pixels that the camera moves over, each way
VIDEO, PART = "000000000001", "train"


def write_mevis(
    root: Path, size: tuple[int, int], *, frames: int, expressions: int = 1, split: str = PART
) -> None:
    """A MeViS of one video: a photograph that a camera passes over, and outlines that are new in every frame."""
    rng = np.random.default_rng(0)
    home = root / "mevis" / split
    (home / "JPEGImages" / VIDEO).mkdir(parents=True)
    height, width = size
    wide = (height + 2 * MARGIN, width + 2 * MARGIN)
    whole = cv2.resize(photograph((wide[0] // 32 * 32, wide[1] // 32 * 32), rng), wide[::-1])
    names = [f"{number:05d}" for number in range(frames)]
    for number, name in enumerate(names):
        top, left = (int(2 * MARGIN * number / frames),) * 2
        path = home / "JPEGImages" / VIDEO / f"{name}.jpg"
        view = whole[top : top + height, left : left + width]
        cv2.imwrite(str(path), view, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    masks = {str(thing): [_run_lengths(size, rng) for _ in names] for thing in range(THINGS * expressions)}
    said = {
        str(number): {
            "exp": " ".join(rng.choice(WORDS, 6)),
            "obj_id": [THINGS * number + one for one in range(THINGS)],
            "anno_id": [THINGS * number + one for one in range(THINGS)],
        }
        for number in range(expressions)
    }
    meta = {"videos": {VIDEO: {"expressions": said, "vid_id": 0, "frames": names}}}
    (home / "meta_expressions.json").write_text(json.dumps(meta))
    (home / "mask_dict.json").write_text(json.dumps(masks))


def _run_lengths(size: tuple[int, int], rng: np.random.Generator) -> dict[str, Any]:
    [code] = coco.frPyObjects([outline(size, rng)], *size)
    return {"size": list(size), "counts": code["counts"].decode()}


class Original(Samples):
    """Samples as the released code makes them."""

    def __init__(self, root: Path) -> None:
        super().__init__(VISION)
        self.home = root / "mevis" / PART
        self.video = json.loads((self.home / "meta_expressions.json").read_text())["videos"][VIDEO]
        self.masks = json.loads((self.home / "mask_dict.json").read_text())

    def sample(self, index: int) -> tuple[Tensor, Tensor, list[str], Tensor, Tensor, tuple[int, int]]:
        expression = self.video["expressions"]["0"]
        names = sorted(self.video["frames"])
        chosen = clip_and_some_whole(len(names), _rng(index))
        images, masks, boxes = [], [], []
        for frame in chosen.seen:
            image, mask, box = self.frame(names[frame], frame, [str(one) for one in expression["anno_id"]])
            images.append(image)
            masks.append(mask)
            boxes.append(box)
        every, _ = torch.stack(masks), torch.stack(boxes)
        dense = [chosen.seen.index(frame) for frame in chosen.drawn]
        clip = torch.stack([self.seen(image) for image in images])
        resized = [self.longest_side(image) for number, image in enumerate(images) if number in dense]
        own = torch.stack([every[number] for number in range(len(every)) if number in dense])
        phrase = " ".join(expression["exp"].lower().split())
        question = f"Can you segment the {phrase} in this image?"
        text = f"{template('llava_v1').first}<image>\n{question} ASSISTANT: It is [SEG].</s>"
        sam = torch.stack(
            [self.preprocess(torch.from_numpy(one).permute(2, 0, 1).contiguous()) for one in resized]
        )
        return sam, clip, [text], own, torch.ones(own.shape[1:]) * 255, resized[0].shape[:2]

    def index_of(self, key: str) -> int:
        return 0

    def frame(
        self, name: str, number: int, things: Sequence[str]
    ) -> tuple[NDArray[np.uint8], Tensor, Tensor]:
        """Picture, mask and box of one frame."""
        path = str(self.home / "JPEGImages" / VIDEO / f"{name}.jpg")
        width, height = Image.open(path).convert("RGB").size
        mask = np.zeros((height, width), dtype=np.float32)
        for thing in things:
            if (lengths := self.masks[thing][number]) is not None:
                mask += coco.decode(lengths)
        box = torch.zeros(4)
        if (mask > 0).any():
            rows, columns = (np.where(np.any(mask, axis=axis))[0][[0, -1]] for axis in (1, 0))
            box = torch.tensor([columns[0], rows[0], columns[1], rows[1]]).float()
        read: Any = cv2.imread(path)
        return cast(Any, cv2.cvtColor(read, cv2.COLOR_BGR2RGB)), torch.from_numpy(mask), box


def _rng(number: int) -> np.random.Generator:
    """That of our sample of this number, which draws its frames first: there is only one expression to ask for."""
    return rng_of(SEED, number, LOOK)


def _write(root: Path, samples: int, size: tuple[int, int]) -> None:
    write_mevis(root, size, frames=FRAMES)


RACE = Race(
    module="benchmarks.video_loader",
    told="32 frames, 4 of them drawn",
    write=_write,
    original=Original,
    ours=partial(
        training_set,
        recipe="videolisa_tiny",
        families={"ref_vos": ("mevis",)},
        vision=VISION,
        expressions=1,
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    RACE.run(arguments, __doc__, samples=4, size=(720, 1280))


if __name__ == "__main__":
    main()
