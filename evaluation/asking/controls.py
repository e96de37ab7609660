"""What a score has to beat and what it cannot pass: predictors that never read the words, the wrong picture, a box at the truth.

Each is an `Asker`, as a model is, so that all go through the same questions, the same masks and the same metric.
Letters: N objects, H W original pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import cv2
import numpy as np
from numpy.typing import NDArray

from seglm.dataset.masks import Mask
from seglm.dataset.pipeline import picture
from seglm.dataset.pixels import decoder_pixels
from seglm.evaluation.asking.ask import Asker
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.things import Objects, known_truth, no_mask
from seglm.model.decoders.base import TakesBoxes, restore
from seglm.model.recipe import Recipe
from seglm.model.settings import Pixels
from seglm.utils.answers import Answer, Drawn, Spoken
from seglm.utils.types import Sample

INSIDE = 0.9  # of an object's pixels in the target: it is one of the things that are asked for
SAME = 0.95  # IoU of these things with the target: together they are it (else it is a part of a thing)


# ---- predictors that never read the words ----------------------------------------------------------------------------
def all_objects(objects: Objects) -> Asker:
    """Everything in the frame, whatever is asked."""
    return _same_for_all(objects, lambda found: np.asarray(found.any(axis=0)))


def largest_object(objects: Objects) -> Asker:
    """The object with the most visible pixels, whatever is asked."""
    return _same_for_all(objects, lambda found: found[int(found.sum(axis=(1, 2)).argmax())])


def random_object(objects: Objects) -> Asker:
    """One object, drawn by the sample's key and the target's number: the same in every run."""

    def masks_of(sample: Sample, frame: int) -> list[Mask]:
        found, masks = objects(sample, frame), []
        for number in range(len(sample.targets)):
            rng = np.random.default_rng([zlib.crc32(sample.key.encode()), number])
            masks.append(found[int(rng.integers(len(found)))] if len(found) else no_mask(sample))
        return masks

    return drawing(lambda sample: partial(masks_of, sample))


# ---- a model that looks elsewhere --------------------------------------------------------------------------------------
def wrong_picture(ask: Asker, selection: Selection) -> Asker:
    """The same questions about another picture of the benchmark, which the sample's key chooses."""
    moved = elsewhere(selection)
    return lambda samples: ask([moved(sample) for sample in samples])


def elsewhere(selection: Selection) -> Callable[[Sample], Sample]:
    """A sample -> the same with the frames of another one, from its beginning to its end, brought to its size.

    Raises ValueError for a benchmark of one sample.
    """
    if len(selection) < 2:
        raise ValueError(
            f"{selection.name} has {len(selection)} sample; the wrong picture needs two at least"
        )

    def moved(sample: Sample) -> Sample:
        number = zlib.crc32(sample.key.encode()) % len(selection)
        other = selection.sample(number)
        if other.key == sample.key:
            other = selection.sample((number + 1) % len(selection))
        height, width = sample.size

        @lru_cache(1)
        def frame(number: int) -> NDArray[np.uint8]:
            there = number * other.num_frames // sample.num_frames
            shown = cv2.resize(other.frame(there), (width, height), interpolation=cv2.INTER_AREA)
            return shown.astype(np.uint8)

        return replace(sample, frame=frame)

    return moved


# ---- the upper bound ---------------------------------------------------------------------------------------------------
def box_at_truth(decoder: TakesBoxes, objects: Objects, *, pixels: Pixels = "fast") -> Asker:
    """The decoder prompted by the box of each thing that is asked for; the masks of several things together are the answer.

    A target that is no union of whole objects (a part) gets one box of its own.
    """

    def masks_of(sample: Sample, frame: int) -> list[Mask]:
        return _boxed(decoder, sample, frame, objects(sample, frame), pixels)

    return drawing(lambda sample: partial(masks_of, sample))


def base_decoder(recipe: Recipe) -> TakesBoxes:
    """The recipe's mask decoder before any training, in float32. Raises ValueError for one that takes no boxes."""
    from seglm.model.released.checkpoint import Checkpoint

    checkpoint = recipe.decoder.complete(Checkpoint(recipe.decoder.weights, {}))
    decoder = recipe.decoder.build(checkpoint.decoder or {})
    if not isinstance(decoder, TakesBoxes):
        raise ValueError(f"recipe {recipe.name}: its decoder takes no boxes, so there is no box at the truth")
    weights = {name.removeprefix("decoder."): value.float() for name, value in checkpoint.tensors.items()}
    decoder.load_state_dict(weights)
    return decoder.eval()


def boxes(target: Mask, objects: Mask) -> NDArray[np.float32]:
    """Boxes to prompt with, float [B, 4], (x0, y0, x1, y1), pixels of the original image, half open; none for an empty target.

    target: bool [H, W]; objects: bool [N, H, W].
    """
    if not target.any():
        return np.zeros((0, 4), dtype=np.float32)
    inside = [one for one in objects if one.any() and (one & target).sum() >= INSIDE * one.sum()]
    together = np.any(inside, axis=0) if inside else np.zeros_like(target)
    is_whole = (together & target).sum() >= SAME * (together | target).sum()
    return np.stack([_box(mask) for mask in (inside if is_whole else [target])])


def _box(mask: Mask) -> NDArray[np.float32]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)


def _boxed(decoder: TakesBoxes, sample: Sample, frame: int, objects: Mask, pixels: Pixels) -> list[Mask]:
    import torch

    square, size = decoder.image_size, sample.size
    shown, resized = decoder_pixels(picture(sample, frame), square, mode=pixels)
    found = []
    with torch.no_grad():
        features = decoder.encode(torch.from_numpy(shown)[None], [resized])
        scale = torch.tensor([resized[1], resized[0]] * 2) / torch.tensor([size[1], size[0]] * 2)
        for target in sample.targets:
            corners = torch.from_numpy(boxes(known_truth(sample, target, frame), objects)) * scale
            prompts = decoder.prompts_of_boxes(corners.to(features.device))
            logits, _ = decoder.decode(features.expand(len(corners), -1, -1, -1), prompts)
            full = restore(logits[:, :1], resized=resized, size=size, square=square)
            found.append((full[:, 0] > 0).any(dim=0).cpu().numpy())
    return found


# ---- a mask as an answer -----------------------------------------------------------------------------------------------
def drawing(of: Callable[[Sample], Callable[[int], Sequence[Mask]]]) -> Asker:
    """An asker that says nothing but masks: sample -> frame -> for each target bool [H, W]."""

    def ask(samples: Sequence[Sample]) -> Iterator[Drawn]:
        for number, sample in enumerate(samples):
            masks_of = of(sample)
            for frame in range(sample.num_frames):
                yield Drawn(number, frame, tuple(map(_answer, masks_of(frame))))

    return ask


def _same_for_all(objects: Objects, choice: Callable[[Mask], Mask]) -> Asker:
    """One mask for all targets of a sample, which `choice` makes of bool [N, H, W]; an empty one where there is nothing."""

    def masks_of(sample: Sample, frame: int) -> list[Mask]:
        found = objects(sample, frame)
        return [np.asarray(choice(found)) if len(found) else no_mask(sample)] * len(sample.targets)

    return drawing(lambda sample: partial(masks_of, sample))


def _answer(mask: Mask) -> Answer:
    import torch

    logits = torch.from_numpy(np.where(mask, 1.0, -1.0).astype(np.float32))
    return Answer(Spoken("", (), "ok", ("[SEG]",)), (logits,))
