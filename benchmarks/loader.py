"""One training sample, from files to a batch, against the original's way to make one.

    python -m benchmarks.loader [--images 16] [--repeats 5] [--size 480 640]

RefCOCO's layout with pictures of COCO's size, three expressions a picture, batches of two. One thread, process CPU seconds, A/B
interleaved, medians; peak memory is that of a child process a side. Both sides read the same files with the same tokenizer model;
the run fails unless masks and `peer` pixels agree. The replica repeats the released code's operations in their order
(utils/refer_seg_dataset.py and utils/dataset.py at 3cb2d43), from our description of them.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import tempfile
from collections.abc import Callable, Sequence
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

from benchmarks.measure import in_turn, peak_mebibytes, peak_of_child
from seglm.dataset.collate import collate
from seglm.dataset.mixture import Mixture
from seglm.dataset.pipeline import TrainingSet
from seglm.dataset.pixels import Mode
from seglm.dataset.sources import open_sources
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.llava import Llava
from seglm.model.backbones.templates import template
from seglm.model.backbones.tokenizer import load_tokenizer
from seglm.model.recipes import recipe as named
from seglm.training.from_recipe import spoken

TOKENIZER = Path(__file__).parents[1] / "tests" / "goldens" / "tokenizer"
VISION, SQUARE, PATCHES = 224, 1024, 256
EXPRESSIONS, CORNERS, BATCH = 3, 40, 2
JPEG_QUALITY = 90  # about that of COCO's files
SAM_MEAN, SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
WORDS = "left right red blue large man dog chair table near behind cup front window".split()


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
        cv2.imwrite(str(folder / name), _photograph(size, rng), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        instances["images"].append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
        for thing in range(EXPRESSIONS):
            annotation = number * 10 + thing
            instances["annotations"].append({"id": annotation, "segmentation": [_outline(size, rng)]})
            sentence = {"sent": " ".join(rng.choice(WORDS, 5)), "sent_id": annotation}
            ref = {"ref_id": annotation, "ann_id": annotation, "image_id": number, "split": "train"}
            refs.append({**ref, "sentences": [sentence]})
    (home / "instances.json").write_text(json.dumps(instances))
    (home / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))


def _photograph(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    smooth = rng.integers(0, 256, (size[0] // 32, size[1] // 32, 3), dtype=np.uint8)
    picture = cv2.resize(smooth, size[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
    noisy: NDArray[np.uint8] = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    return noisy


def _outline(size: tuple[int, int], rng: np.random.Generator) -> list[float]:
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)[:, None]
    radius = rng.uniform(0.1, 0.3) * min(size) * rng.uniform(0.8, 1.2, (CORNERS, 1))
    centre = rng.uniform(0.3, 0.7, 2) * np.array(size[::-1])
    points = centre + np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * radius
    return [round(float(value), 2) for value in points.ravel()]


class Original:
    """Samples and batches as the released code makes them."""

    def __init__(self, root: Path) -> None:
        from transformers import CLIPImageProcessorPil
        from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

        self.folder = root / "refer_seg/images/mscoco/images/train2014"
        content = json.loads((root / "refer_seg/refcoco/instances.json").read_text())
        self.images = content["images"]
        self.annotations = {one["id"]: one for one in content["annotations"]}
        refs = pickle.loads((root / "refer_seg/refcoco/refs(unc).p").read_bytes())
        self.refs = {one["id"]: [ref for ref in refs if ref["image_id"] == one["id"]] for one in self.images}
        self.clip = CLIPImageProcessorPil()
        # use_fast=False: Python splits at added tokens, sentencepiece cuts, Python looks every piece up.
        self.tokenizer = SentencePieceBackend(vocab_file=str(TOKENIZER / "tokenizer.model"), eos_token="</s>")
        self.tokenizer.add_tokens(["[SEG]", "<im_start>", "<im_end>"])
        self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in (SAM_MEAN, SAM_STD))

    def sample(self, index: int) -> tuple[Tensor, Tensor, list[str], Tensor, Tensor, tuple[int, int]]:
        """SAM image, CLIP image, conversations, masks, label, resized."""
        info = self.images[index]
        refs = self.refs[info["id"]]
        read: Any = cv2.imread(str(self.folder / info["file_name"]))
        image: Any = cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
        clip = self.clip.preprocess(image, return_tensors="pt")["pixel_values"][0]
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

    def longest_side(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        scale = SQUARE / max(image.shape[:2])
        height, width = (int(side * scale + 0.5) for side in image.shape[:2])
        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))

    def preprocess(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[-2:]
        pixels = (pixels - self.mean) / self.std
        return torch.nn.functional.pad(pixels, (0, SQUARE - width, 0, SQUARE - height))

    def mask(self, ref: Any, info: Any) -> NDArray[np.uint8]:
        parts = self.annotations[ref["ann_id"]]["segmentation"]
        planes = coco.decode(coco.frPyObjects(parts, info["height"], info["width"]))
        mask: NDArray[np.uint8] = np.sum(planes, axis=2).astype(np.uint8)
        return mask

    def ids(self, text: str) -> list[int]:
        """Chunks round the image tokenised apart, with the image's position between them."""
        chunks = [[1, *self.tokenizer(chunk).input_ids] for chunk in text.split("<image>")]
        return [*chunks[0], *(number for chunk in chunks[1:] for number in (-200, *chunk[1:]))]

    def batch(self, indices: list[int]) -> dict[str, Any]:
        """Conversations padded in one tensor, targets found by tokenising every piece once more."""
        samples = [self.sample(index) for index in indices]
        conversations = [text for sample in samples for text in sample[2]]
        rows = [torch.tensor(self.ids(text)) for text in conversations]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
        targets = ids.clone()
        for text, target in zip(conversations, targets, strict=True):
            question = text.split(" ASSISTANT: ")[0] + " ASSISTANT: "
            length, asked = len(self.ids(text)), len(self.ids(question)) - 2
            target[:asked] = -100
            target[length:] = -100
        return {
            "images": torch.stack([sample[0] for sample in samples]),
            "images_clip": torch.stack([sample[1] for sample in samples]),
            "input_ids": ids,
            "labels": targets,
            "attention_masks": ids.ne(0),
            "masks_list": [sample[3].float() for sample in samples],
            "label_list": [sample[4] for sample in samples],
            "resize_list": [sample[5] for sample in samples],
        }


def training_set(root: Path, pixels: Mode) -> TrainingSet:
    recipe = named("lisa_7b")
    backbone = recipe.backbone
    assert isinstance(backbone, Llava), f"the original reads as LLaVA v1 does, {recipe.name} as {backbone}"
    sources = open_sources(root, {"refer_seg": ("refcoco",)})
    encoder = DialogueEncoder(
        tokenizer=load_tokenizer(TOKENIZER, recipe.vocabulary, backbone.image_tokens),
        template=template(backbone.template),
        patches=PATCHES,
        image_tokens=backbone.image_tokens,
        tokens=recipe.vocabulary,
        max_length=backbone.max_length,
    )
    return TrainingSet(
        mixture=Mixture(sources, {"refer_seg": 1.0}, seed=0),
        sources=sources,
        frames=recipe.frames,
        script=partial(spoken, recipe=recipe),
        encode=encoder.encode_script,
        targets_per_sample=EXPRESSIONS,
        vision_size=VISION,
        decoder_size=SQUARE,
        pixels=pixels,
    )


def agree(root: Path) -> None:
    """Raises RuntimeError unless both sides see the same picture and the same masks."""
    original, ours = Original(root), training_set(root, "peer")
    example = ours[0]
    number = int(example.key.rpartition("/")[2])
    index = next(i for i, info in enumerate(original.images) if info["id"] == number)
    sam, clip, _, masks, _, resized = original.sample(index)
    height, width = example.resized
    drawn = (torch.from_numpy(example.drawn[0, :, :height, :width]) - original.mean) / original.std
    mean, std = (
        torch.tensor(getattr(original.clip, name)).view(-1, 1, 1) for name in ("image_mean", "image_std")
    )
    vision = (torch.from_numpy(example.vision[0]) / 255 - mean) / std
    same = {
        "size": (height, width) == tuple(resized),
        "SAM pixels": torch.equal(drawn, sam[:, :height, :width]),
        "CLIP pixels": torch.allclose(vision, clip, atol=1e-5),
        "masks": sorted(masks.sum((1, 2)).tolist()) == sorted(example.masks.sum((1, 2, 3)).tolist()),
    }
    if not all(same.values()):
        raise RuntimeError(f"the two sides do not agree: {same}")


SIDES = ("original", "fast", "peer")


def side(root: Path, images: int, name: str) -> Callable[[], None]:
    """A function that makes batches of as many samples as there are images."""
    batches = [list(range(first, first + BATCH)) for first in range(0, images, BATCH)]
    original = Original(root) if name == "original" else None
    samples = training_set(root, cast(Mode, name)) if name != "original" else None

    def run() -> None:
        for indices in batches:
            if original:
                original.batch(indices)
            elif samples:
                collate([samples[number] for number in indices])

    return run


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loader",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if options.side:
        side(options.root, options.images, options.side)()
        print(peak_mebibytes())
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_refcoco(root, options.images, tuple(options.size))
        agree(root)
        taken = in_turn({name: side(root, options.images, name) for name in SIDES}, options.repeats)
        print(
            f"{options.size[0]} x {options.size[1]}, {EXPRESSIONS} expressions, CPU ms a sample, one thread"
        )
        for name, seconds in taken.items():
            low, median, high = (pick(seconds) / options.images for pick in (min, statistics.median, max))
            ratio = statistics.median(taken["original"]) / options.images / median
            arguments_of = ("--side", name, "--root", str(root), "--images", str(options.images))
            peak = peak_of_child("benchmarks.loader", *arguments_of)
            print(
                f"{name:9} {1e3 * median:6.2f} ({1e3 * low:.1f}-{1e3 * high:.1f})  {1 / median:5.0f}/s  x{ratio:.2f}"
                f"  peak {peak:.0f} MiB"
            )


if __name__ == "__main__":
    main()
