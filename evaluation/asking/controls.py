"""What a score has to beat and what it cannot pass: predictors that never read the words, the wrong picture, a box at the truth.

Each is an `Asker`, as a model is, so that all go through the same questions, the same masks and the same metric.
Letters: N objects, H W original pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from seglm.dataset.pipeline import picture, truth
from seglm.dataset.pixels import decoder_pixels
from seglm.dataset.toy.scenes import visible_masks
from seglm.dataset.toy.write import read_manifest, scene_of
from seglm.evaluation.asking.ask import Asker
from seglm.evaluation.asking.selection import Selection
from seglm.model.decoders.base import TakesBoxes, restore
from seglm.model.recipe import Pixels, Recipe
from seglm.utils.answers import Answer, Drawn, Spoken
from seglm.utils.types import Sample

Masks = NDArray[np.bool_]
Objects = Callable[[Sample, int], Masks]
"""a sample and a frame of it -> bool [N, H, W], everything that can be seen in it"""

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

    def masks_of(sample: Sample, frame: int) -> list[Masks]:
        found, masks = objects(sample, frame), []
        for number in range(len(sample.targets)):
            rng = np.random.default_rng([zlib.crc32(sample.key.encode()), number])
            masks.append(found[int(rng.integers(len(found)))] if len(found) else _no_mask(sample))
        return masks

    return _drawing(masks_of)


# ---- a model that looks elsewhere --------------------------------------------------------------------------------------
def wrong_picture(ask: Asker, selection: Selection) -> Asker:
    """The same questions about another picture of the benchmark, which the sample's key chooses."""
    moved = elsewhere(selection)
    return lambda samples: ask([moved(sample) for sample in samples])


def elsewhere(selection: Selection) -> Callable[[Sample], Sample]:
    """A sample -> the same with the first frame of another one in all its frames, brought to its size.

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
        frame = cv2.resize(other.frame(0), (width, height), interpolation=cv2.INTER_AREA)
        return replace(sample, frame=lambda _: frame.astype(np.uint8))

    return moved


# ---- the upper bound ---------------------------------------------------------------------------------------------------
def box_at_truth(decoder: TakesBoxes, objects: Objects, *, pixels: Pixels = "fast") -> Asker:
    """The decoder prompted by the box of each thing that is asked for; the masks of several things together are the answer.

    A target that is no union of whole objects (a part) gets one box of its own.
    """

    return _drawing(lambda sample, frame: _boxed(decoder, sample, frame, objects(sample, frame), pixels))


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


def boxes(target: Masks, objects: Masks) -> NDArray[np.float32]:
    """Boxes to prompt with, float [B, 4], (x0, y0, x1, y1), pixels of the original image, half open; none for an empty target.

    target: bool [H, W]; objects: bool [N, H, W].
    """
    if not target.any():
        return np.zeros((0, 4), dtype=np.float32)
    inside = [one for one in objects if one.any() and (one & target).sum() >= INSIDE * one.sum()]
    together = np.any(inside, axis=0) if inside else np.zeros_like(target)
    is_whole = (together & target).sum() >= SAME * (together | target).sum()
    return np.stack([_box(mask) for mask in (inside if is_whole else [target])])


def _box(mask: Masks) -> NDArray[np.float32]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)


def _boxed(decoder: TakesBoxes, sample: Sample, frame: int, objects: Masks, pixels: Pixels) -> list[Masks]:
    import torch

    square, size = decoder.image_size, sample.size
    shown, resized = decoder_pixels(picture(sample, frame), square, mode=pixels)
    found = []
    with torch.no_grad():
        features = decoder.encode(torch.from_numpy(shown)[None], [resized])
        scale = torch.tensor([resized[1], resized[0]] * 2) / torch.tensor([size[1], size[0]] * 2)
        for target in sample.targets:
            corners = torch.from_numpy(boxes(truth(sample, target, (frame,))[0], objects)) * scale
            prompts = decoder.prompts_of_boxes(corners.to(features.device))
            logits, _ = decoder.decode(features.expand(len(corners), -1, -1, -1), prompts)
            full = restore(logits[:, :1], resized=resized, size=size, square=square)
            found.append((full[:, 0] > 0).any(dim=0).cpu().numpy())
    return found


# ---- what is in a picture ----------------------------------------------------------------------------------------------
def objects_of(selection: Selection, dataset_dir: Path) -> Objects:
    """What is in the pictures of a benchmark: the scene itself in a toy world, else the different targets of the picture.

    Raises ValueError where the targets of a picture do not tell, as in ReasonSeg, which has one.
    """
    if read_manifest(dataset_dir) is not None:
        return lambda sample, _: visible_masks(scene_of(dataset_dir, Path(sample.path)))
    if all(len(selection.source.sample(number).targets) < 2 for number in range(len(selection.source))):
        raise ValueError(
            f"{selection.name}: a picture has one target, which does not tell what else is in it; predictors that do not read "
            "the words need the toy world, or a set with several targets a picture, as the RefCOCO family"
        )
    return _targets_apart


def _targets_apart(sample: Sample, frame: int) -> Masks:
    """The different masks among a sample's targets, without those that have another one inside.

    Several expressions may mean the same thing, one several things (its mask is their union), and one nothing at all.
    """
    every = [truth(sample, target, (frame,))[0] for target in sample.targets]
    apart = list({mask.tobytes(): mask for mask in every if mask.any()}.values())
    single = [
        one for one in apart if not any(other is not one and not (other & ~one).any() for other in apart)
    ]
    return np.stack(single) if single else np.zeros((0, *sample.size), dtype=np.bool_)


# ---- a mask as an answer -----------------------------------------------------------------------------------------------
def _same_for_all(objects: Objects, choice: Callable[[Masks], Masks]) -> Asker:
    """One mask for all targets of a sample, which `choice` makes of bool [N, H, W]; an empty one where there is nothing."""

    def masks_of(sample: Sample, frame: int) -> list[Masks]:
        found = objects(sample, frame)
        return [np.asarray(choice(found)) if len(found) else _no_mask(sample)] * len(sample.targets)

    return _drawing(masks_of)


def _drawing(masks_of: Callable[[Sample, int], Sequence[Masks]]) -> Asker:
    """An asker that says nothing but masks: (sample, frame) -> for each target bool [H, W]."""

    def ask(samples: Sequence[Sample]) -> Iterator[Drawn]:
        for number, sample in enumerate(samples):
            for frame in range(sample.num_frames):
                yield Drawn(number, frame, tuple(map(_answer, masks_of(sample, frame))))

    return ask


def _answer(mask: Masks) -> Answer:
    import torch

    logits = torch.from_numpy(np.where(mask, 1.0, -1.0).astype(np.float32))
    return Answer(Spoken("", (), "ok", ("[SEG]",)), (logits,))


def _no_mask(sample: Sample) -> Masks:
    return np.zeros(sample.size, dtype=np.bool_)
