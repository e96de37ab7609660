"""Making training samples our way and the released code's, side by side: what the loaders' benchmarks have in common.

The replica repeats the released code's operations in their order (utils/dataset.py of LISA at 3cb2d43,
which VideoLISA's at 0f14b22 begins with), from our description of them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
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
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.training.from_recipe import spoken
from seglm.utils.flags import Parser

TOKENIZER = Path(__file__).parents[1] / "tests" / "goldens" / "tokenizer"
SQUARE, PATCH, BATCH, SEED = 1024, 14, 2, 0
LONGEST = 2048  # tokens of a dialogue, videolisa_3_8b's
CORNERS = 40
JPEG_QUALITY = 90  # about that of COCO's files
SAM_MEAN, SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
WORDS = "left right red blue large man dog chair table near behind cup front window".split()
SIDES = ("original", "fast", "peer")


def photograph(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Smooth shapes and noise, uint8 [H, W, 3]."""
    smooth = rng.integers(0, 256, (size[0] // 32, size[1] // 32, 3), dtype=np.uint8)
    picture = cv2.resize(smooth, size[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
    noisy: NDArray[np.uint8] = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    return noisy


def outline(size: tuple[int, int], rng: np.random.Generator) -> list[float]:
    """A wavy disk as a polygon of 40 corners."""
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)[:, None]
    radius = rng.uniform(0.1, 0.3) * min(size) * rng.uniform(0.8, 1.2, (CORNERS, 1))
    centre = rng.uniform(0.3, 0.7, 2) * np.array(size[::-1])
    points = centre + np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * radius
    return [round(float(value), 2) for value in points.ravel()]


class Preparation:
    """What the released code does to pixels and texts, whatever the data set."""

    def __init__(self, vision: int, side: int = SQUARE) -> None:
        """vision, side: of CLIP's square and of SAM's, pixels."""
        from transformers import CLIPImageProcessorPil
        from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

        self.side, square = side, {"height": vision, "width": vision}
        self.clip = CLIPImageProcessorPil(size={"shortest_edge": vision}, crop_size=square)
        # use_fast=False: Python splits at added tokens, sentencepiece cuts, Python looks every piece up.
        self.tokenizer = SentencePieceBackend(vocab_file=str(TOKENIZER / "tokenizer.model"), eos_token="</s>")
        self.tokenizer.add_tokens(["[SEG]", "<im_start>", "<im_end>"])
        self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in (SAM_MEAN, SAM_STD))

    def seen(self, image: NDArray[np.uint8]) -> Tensor:
        pixels: Tensor = self.clip.preprocess(image, return_tensors="pt")["pixel_values"][0]
        return pixels

    def longest_side(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        scale = self.side / max(image.shape[:2])
        height, width = (int(side * scale + 0.5) for side in image.shape[:2])
        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))

    def preprocess(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[-2:]
        pixels = (pixels - self.mean) / self.std
        return torch.nn.functional.pad(pixels, (0, self.side - width, 0, self.side - height))


class Samples(Preparation, ABC):
    """Those of a data set, and how they become a batch."""

    @abstractmethod
    def sample(self, index: int) -> tuple[Tensor, Tensor, list[str], Tensor, Tensor, tuple[int, int]]:
        """SAM images, CLIP images, conversations, masks, label, resized."""

    @abstractmethod
    def index_of(self, key: str) -> int:
        """Which of its samples is ours with that key."""

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


def encoder_of(recipe: Recipe, patches: int) -> DialogueEncoder:
    """The recipe's dialogues in the tokens of the tests' tokenizer. patches: visual tokens of a frame."""
    backbone = recipe.backbone
    assert isinstance(backbone, Llava), f"the original reads as LLaVA v1 does, {recipe.name} as {backbone}"
    return DialogueEncoder(
        tokenizer=load_tokenizer(TOKENIZER, recipe.vocabulary, backbone.image_tokens),
        template=template(backbone.template),
        patches=patches,
        image_tokens=backbone.image_tokens,
        tokens=recipe.vocabulary,
        max_length=LONGEST,
    )


def training_set(
    root: Path,
    pixels: Mode,
    *,
    recipe: str,
    families: Mapping[str, tuple[str, ...]],
    vision: int,
    expressions: int,
) -> TrainingSet:
    """Our samples. recipe: its name; vision: side of CLIP's square; expressions: at most so many of a sample."""
    chosen, sources = named(recipe), open_sources(root, families)
    return TrainingSet(
        mixture=Mixture(sources, dict.fromkeys(families, 1.0), seed=SEED),
        sources=sources,
        frames=chosen.frames,
        script=partial(spoken, recipe=chosen),
        encode=encoder_of(chosen, (vision // PATCH) ** 2).encode_script,
        targets_per_sample=expressions,
        vision_size=vision,
        decoder_size=SQUARE,
        pixels=pixels,
    )


@dataclass(frozen=True)
class Race:
    """A data set, and the two that read it."""

    module: str
    """of the benchmark, `benchmarks.loader`"""
    told: str
    """what a sample holds"""
    write: Callable[[Path, int, tuple[int, int]], None]
    """folder, number of samples, (H, W)"""
    original: Callable[[Path], Samples]
    ours: Callable[[Path, Mode], TrainingSet]

    def agree(self, root: Path) -> None:
        """Raises RuntimeError unless both sides see the same pictures and the same masks."""
        original, example = self.original(root), self.ours(root, "peer")[0]
        sam, clip, _, masks, _, resized = original.sample(original.index_of(example.key))
        height, width = example.resized
        drawn = (torch.from_numpy(example.drawn[:, :, :height, :width]) - original.mean) / original.std
        mean, std = (
            torch.tensor(getattr(original.clip, name)).view(-1, 1, 1) for name in ("image_mean", "image_std")
        )
        vision = (torch.from_numpy(example.vision) / 255 - mean) / std
        areas = sorted((masks > 0).sum((1, 2)).tolist())
        same = {
            "size": (height, width) == tuple(resized),
            "SAM pixels": torch.equal(drawn, sam.view(-1, *sam.shape[-3:])[..., :height, :width]),
            "CLIP pixels": torch.allclose(vision, clip.view(-1, *clip.shape[-3:]), atol=1e-5),
            "masks": areas == sorted(example.masks.sum((2, 3)).flatten().tolist()),
        }
        if not all(same.values()):
            raise RuntimeError(f"the two sides do not agree: {same}")

    def side(self, root: Path, samples: int, name: str) -> Callable[[], None]:
        """A function that makes batches of so many samples."""
        batches = [list(range(first, first + BATCH)) for first in range(0, samples, BATCH)]
        original = self.original(root) if name == "original" else None
        own = self.ours(root, cast(Mode, name)) if name != "original" else None

        def run() -> None:
            for indices in batches:
                if original:
                    original.batch(indices)
                elif own:
                    collate([own[number] for number in indices])

        return run

    def run(
        self, arguments: Sequence[str] | None, about: str | None, *, samples: int, size: tuple[int, int]
    ) -> None:
        """The command. samples, size: its defaults."""
        parser = Parser(
            prog=f"python -m {self.module}",
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("--images", type=int, default=samples, help="samples, two a batch")
        parser.add_argument("--repeats", type=int, default=5)
        parser.add_argument("--size", type=int, nargs=2, default=size, metavar=("H", "W"))
        parser.add_argument("--side", help=argparse.SUPPRESS)
        parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
        options = parser.parse_args(arguments)
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        if options.side:
            self.side(options.root, options.images, options.side)()
            print(peak_mebibytes())
            return
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            self.write(root, options.images, tuple(options.size))
            self.agree(root)
            sides = {name: self.side(root, options.images, name) for name in SIDES}
            taken = in_turn(sides, options.repeats)
            print(f"{options.size[0]} x {options.size[1]}, {self.told}, CPU ms a sample, one thread")
            for name, seconds in taken.items():
                self._tell(name, seconds, taken["original"], root, options.images)

    def _tell(
        self, name: str, seconds: Sequence[float], original: Sequence[float], root: Path, samples: int
    ) -> None:
        low, median, high = (pick(seconds) / samples for pick in (min, statistics.median, max))
        ratio = statistics.median(original) / samples / median
        again = ("--side", name, "--root", str(root), "--images", str(samples))
        print(
            f"{name:9} {1e3 * median:6.2f} ({1e3 * low:.1f}-{1e3 * high:.1f})  {1 / median:5.0f}/s  x{ratio:.2f}"
            f"  peak {peak_of_child(self.module, *again):.0f} MiB"
        )
