"""What a score has to beat and what it cannot pass: predictors that never read the words, the wrong picture, a box at the truth.

Each is an `Asker`, as a model is, so that all go through the same questions, the same masks and the same metric.
Letters: N objects, H W original pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from seglm.dataset.pixels import decoder_pixels
from seglm.dataset.toy.scenes import visible_masks
from seglm.dataset.toy.write import read_manifest, scene_of
from seglm.evaluation.asking.ask import Asker
from seglm.evaluation.asking.selection import Selection
from seglm.model.decoders.base import TakesBoxes, restore
from seglm.model.recipe import Pixels, Recipe
from seglm.utils.answers import Answer
from seglm.utils.types import Clip

Masks = NDArray[np.bool_]
Objects = Callable[[Clip], Masks]
"""a clip -> bool [N, H, W], everything that can be seen in its first drawn frame"""

INSIDE = 0.9  # of an object's pixels in the target: it is one of the things that are asked for
SAME = 0.95  # IoU of these things with the target: together they are it (else it is a part of a thing)


# ---- predictors that never read the words ----------------------------------------------------------------------------
def all_objects(objects: Objects) -> Asker:
    """Everything in the picture, whatever is asked."""
    return _same_for_all(lambda clip, _: np.asarray(objects(clip).any(axis=0)))


def largest_object(objects: Objects) -> Asker:
    """The object with the most visible pixels, whatever is asked."""

    def largest(clip: Clip, _: int) -> Masks:
        found = objects(clip)
        return np.asarray(found[int(found.sum(axis=(1, 2)).argmax())]) if len(found) else _no_mask(clip)

    return _same_for_all(largest)


def random_object(objects: Objects) -> Asker:
    """One object, drawn by the clip's key and the target's number: the same in every run."""

    def one(clip: Clip, number: int) -> Masks:
        found = objects(clip)
        rng = np.random.default_rng([zlib.crc32(clip.key.encode()), number])
        return np.asarray(found[int(rng.integers(len(found)))]) if len(found) else _no_mask(clip)

    return _same_for_all(one)


def _no_mask(clip: Clip) -> Masks:
    return np.zeros(clip.size, dtype=np.bool_)


def _same_for_all(mask_of: Callable[[Clip, int], Masks]) -> Asker:
    def ask(clips: Sequence[Clip]) -> list[list[Answer]]:
        return [[_answer(mask_of(clip, number)) for number in range(len(clip.targets))] for clip in clips]

    return ask


# ---- a model that looks elsewhere --------------------------------------------------------------------------------------
def wrong_picture(ask: Asker, selection: Selection, *, to_llm_only: bool = False) -> Asker:
    """The same questions about another picture of the benchmark, which the clip's key chooses.

    to_llm_only: the LLM sees the other picture, the mask decoder the right one. What is left is what the words alone
    tell the decoder.
    """

    def ask_wrongly(clips: Sequence[Clip]) -> Sequence[Sequence[Answer]]:
        return ask([_elsewhere(clip, selection, to_llm_only=to_llm_only) for clip in clips])

    return ask_wrongly


def _elsewhere(clip: Clip, selection: Selection, *, to_llm_only: bool) -> Clip:
    """The clip with the first frame of another sample in all its frames, brought to the clip's size."""
    if len(selection) < 2:
        raise ValueError(
            f"{selection.name} has {len(selection)} sample; the wrong picture needs two at least"
        )
    number = zlib.crc32(clip.key.encode()) % len(selection)
    other = selection.sample(number)
    if other.key == clip.key:
        other = selection.sample((number + 1) % len(selection))
    height, width = clip.size
    frame = cv2.resize(other.frame(0), (width, height), interpolation=cv2.INTER_AREA)
    seen = np.broadcast_to(frame, clip.seen.shape).astype(np.uint8)
    if to_llm_only:
        return replace(clip, seen=seen)
    return replace(clip, seen=seen, drawn=np.broadcast_to(frame, clip.drawn.shape).astype(np.uint8))


# ---- the upper bound ---------------------------------------------------------------------------------------------------
def box_at_truth(decoder: TakesBoxes, objects: Objects, *, pixels: Pixels = "fast") -> Asker:
    """The decoder prompted by the box of each thing that is asked for; the masks of several things together are the answer.

    A target that is no union of whole objects (a part) gets one box of its own.
    """

    def ask(clips: Sequence[Clip]) -> list[list[Answer]]:
        return [_boxed(decoder, clip, objects(clip), pixels) for clip in clips]

    return ask


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


def _boxed(decoder: TakesBoxes, clip: Clip, objects: Masks, pixels: Pixels) -> list[Answer]:
    import torch

    square = decoder.image_size
    shown, resized = decoder_pixels(clip.drawn[0], square, mode=pixels)
    answers = []
    with torch.no_grad():
        features = decoder.encode(torch.from_numpy(shown)[None], [resized])
        scale = torch.tensor([resized[1], resized[0]] * 2) / torch.tensor([clip.size[1], clip.size[0]] * 2)
        for masks in clip.masks:
            corners = torch.from_numpy(boxes(masks[0], objects)) * scale
            prompts = decoder.prompts_of_boxes(corners.to(features.device))
            logits, _ = decoder.decode(features.expand(len(corners), -1, -1, -1), prompts)
            full = restore(logits[:, :1], resized=resized, size=clip.size, square=square)
            answers.append(_answer((full[:, 0] > 0).any(dim=0).cpu().numpy()))
    return answers


# ---- what is in a picture ----------------------------------------------------------------------------------------------
def objects_of(selection: Selection, dataset_dir: Path) -> Objects:
    """What is in the pictures of a benchmark: the scene itself in a toy world, else the different targets of the picture.

    Raises ValueError where the targets of a picture do not tell, as in ReasonSeg, which has one.
    """
    if read_manifest(dataset_dir) is not None:
        paths = {sample.key: Path(sample.path) for sample in map(selection.sample, range(len(selection)))}
        return lambda clip: visible_masks(scene_of(dataset_dir, paths[clip.key]))
    if all(len(selection.source.sample(number).targets) < 2 for number in range(len(selection.source))):
        raise ValueError(
            f"{selection.name}: a picture has one target, which does not tell what else is in it; predictors that do not read "
            "the words need the toy world, or a set with several targets a picture, as the RefCOCO family"
        )
    return _targets_apart


def _targets_apart(clip: Clip) -> Masks:
    """The different masks among a clip's targets, without those that have another one inside.

    Several expressions may mean the same thing, one several things (its mask is their union), and one nothing at all.
    """
    apart = list({mask[0].tobytes(): mask[0] for mask in clip.masks if mask[0].any()}.values())
    single = [
        one for one in apart if not any(other is not one and not (other & ~one).any() for other in apart)
    ]
    return np.stack(single) if single else np.zeros((0, *clip.size), dtype=np.bool_)


def _answer(mask: Masks) -> Answer:
    """An answer that says nothing but this mask: bool [H, W]."""
    import torch

    logits = torch.from_numpy(np.where(mask, 1.0, -1.0).astype(np.float32))[None, None]
    return Answer(text="", ids=(), status="ok", masks=logits, tokens=("[SEG]",))
