"""What the tiny SAM-2 is taught: things in pictures, and then things that move, hide and come back.

Every loss is of what one step of the walk draws (`sam2_step.step`), so what is trained is what predicts; the gradient passes from
a frame through the memory to those before it, as in SAM-2's own training.
Letters: J objects of a step, T frames, S side of the canvas.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from seglm.bases import tiny_sam
from seglm.bases.tiny_sam2 import (
    FIRST_SEED,
    LOW,
    SEEN_FROM,
    TinySam2,
    drawn_scenes,
    embed,
    encode,
    masks_of,
)
from seglm.dataset.toy.clips import draw_frames, make_clip
from seglm.dataset.toy.scenes import GRID
from seglm.model.decoders.sam2 import Candidates, Prompts, Sam2Decoder
from seglm.model.decoders.sam2_memory import TRAINING, Memory
from seglm.model.decoders.sam2_step import Drawn, step

IMAGES, PROMPTS = 8, 4  # pictures of a step, and prompts of each
OBJECTS = 2  # of a clip
FRAMES, SHORT = 8, 3  # of a clip that are walked: SHORT as long as it has to learn what a memory is
IN_STEP = 24  # frames of a step, of as many clips
SHORT_UNTIL = 0.3  # share of the run
HIDING = ("passing", "leaving", "going", "coming")  # families in which things are out of sight for a while
HIDING_ODDS = 0.5
HIDDEN_ODDS = 0.7  # that the objects of a clip are those that will be out of sight
MASK_ODDS = 0.15  # of a step about pictures in which things are shown by their masks
GIVEN_ODDS, BOX_ODDS = (
    0.5,
    0.25,
)  # of what is said of the first frame of a clip: its masks, boxes; else points
ALIKE_WEIGHT, DENSE_WEIGHT, IOU_WEIGHT, SCORE_WEIGHT = 0.5, 0.3, 0.1, 0.5


def picture_loss(
    base: TinySam2, rng: np.random.Generator, *, number: int
) -> tuple[Tensor, Mapping[str, float]]:
    """The loss of one step about pictures, and values to log; number: of the step, which chooses the scenes."""
    batch = drawn_scenes(number * IMAGES, IMAGES, split="train")
    features = encode(base.sam, batch.pictures[:, 0])
    prompts = tiny_sam.sample_prompts(batch, rng, per_image=PROMPTS)
    truth = tiny_sam.covered(torch.from_numpy(batch.owners)[prompts.image], prompts.members)
    own = features[prompts.image]
    if rng.random() < MASK_ODDS:
        dense = base.sam.dense(base.sam.mask_downsample(truth[:, :1].float()))
        found = _candidates(base.sam, own, Prompts(base.sam.no_points(len(own)), dense))
        loss, iou = _best_loss(found, truth[:, 0])
        return loss.mean(), {"iou_mask": float(iou.mean())}
    group = torch.from_numpy(rng.integers(0, len(tiny_sam.GROUPS), len(own)))
    parts = []
    for box in (True, False):
        some = prompts.is_box == box
        if some.any():
            sparse = embed(base.sam, prompts.corners[some], box=box)
            parts.append(_thing_loss(base, own[some], sparse, truth[some], group[some]))
    loss, iou, like = (torch.cat(values) for values in zip(*parts, strict=True))
    dense_loss, right = tiny_sam.dense_loss(base.dense, base.sam.levels(features)[2], batch)
    values = {"iou_thing": float(iou.mean()), "iou_alike": float(like.mean())}
    return loss.mean() + DENSE_WEIGHT * dense_loss, values | right


def _thing_loss(
    base: TinySam2, features: Tensor, sparse: Tensor, truth: Tensor, group: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss [J], IoU of the thing [J], IoU of all that is like it [J]). truth: bool [J, K, S, S], of the thing and its groups."""
    loss, iou = _best_loss(_candidates(base.sam, features, Prompts(sparse)), truth[:, 0])
    asked = torch.cat([sparse, base.alike(group)[:, None]], dim=1)
    alike = _candidates(base.sam, features, Prompts(asked))
    wanted = truth[torch.arange(len(group)), 1 + group][:, None]
    losses, like = tiny_sam.mask_loss(alike.logits[:, :1], _low(wanted))
    return loss + ALIKE_WEIGHT * losses[:, 0], iou, like[:, 0]


def clip_loss(
    base: TinySam2, rng: np.random.Generator, *, number: int, share: float
) -> tuple[Tensor, Mapping[str, float]]:
    """The loss of one step about clips: things that something is said of in the first frame, found again in the others."""
    num_frames = SHORT if share < SHORT_UNTIL else FRAMES
    clips = IN_STEP // num_frames
    first = number * (IN_STEP // SHORT)
    seen = [_walked(first + place, rng, num_frames) for place in range(clips)]
    features = encode(base.sam, np.concatenate([one.pictures for one in seen]))
    features = features.unflatten(0, (clips, num_frames))
    features = features.repeat_interleave(OBJECTS, 0)
    truth = torch.from_numpy(np.concatenate([one.masks for one in seen]))
    policy = replace(TRAINING, best_of_several=bool(rng.random() < 0.5))
    memory = Memory(policy, num_frames=num_frames)
    said, given = _said(base.sam, truth[:, 0], rng)
    total, sums = torch.zeros(()), dict.fromkeys(("carried", "behind", "score"), (0.0, 0))
    was_hidden = torch.zeros(len(truth), dtype=torch.bool)
    for frame in range(num_frames):
        prompts, masks = (said, given) if frame == 0 else (None, None)
        drawn, memory = step(base.sam, features[:, frame], memory, frame=frame, prompts=prompts, masks=masks)
        if masks is not None:
            continue
        there = truth[:, frame].flatten(1).any(1)
        loss, iou = _drawn_loss(drawn, truth[:, frame], there)
        total = total + loss
        sums["score"] = _added(sums["score"], ((drawn.score[:, 0] > 0) == there).float())
        if frame:
            sums["carried"] = _added(sums["carried"], iou[there])
            sums["behind"] = _added(sums["behind"], iou[there & was_hidden])
        was_hidden |= ~there
    values = {name: value / count for name, (value, count) in sums.items() if count}
    return total / num_frames, values


@dataclass(frozen=True)
class Walked:
    """Some frames of a clip, and two of its things."""

    pictures: NDArray[np.uint8]
    """[T, S, S, 3]"""
    masks: NDArray[np.bool_]
    """[OBJECTS, T, S, S]; of the first frame not empty"""


def _walked(number: int, rng: np.random.Generator, num_frames: int) -> Walked:
    """Frames of a clip one after the other, or every other one, forwards or backwards, from one in which a thing is seen."""
    family = str(rng.choice(HIDING)) if rng.random() < HIDING_ODDS else None
    clip = make_clip(FIRST_SEED + number, family=family)
    masks = masks_of(clip)
    area = masks.sum((2, 3))
    while True:
        pace = 2 if rng.random() < 0.5 and len(area) > 2 * (num_frames - 1) else 1
        first = int(rng.integers(0, len(area) - pace * (num_frames - 1)))
        frames = np.arange(num_frames) * pace + first
        frames = frames[::-1].copy() if rng.random() < 0.5 else frames
        things = rng.permutation(np.flatnonzero(area[frames[0]] >= SEEN_FROM))
        if len(things):
            break
    if rng.random() < HIDDEN_ODDS:
        hides = (area[frames][:, things] == 0).any(0)
        things = things[np.argsort(~hides, kind="stable")]
    things = np.resize(things, OBJECTS)
    pictures = np.stack(list(draw_frames(clip)))
    return Walked(pictures[frames], masks[frames][:, things].swapaxes(0, 1).copy())


def _said(sam: Sam2Decoder, masks: Tensor, rng: np.random.Generator) -> tuple[Prompts | None, Tensor | None]:
    """What is said of things with these masks bool [J, S, S]: boxes or a point each, or their masks."""
    chance = rng.random()
    if chance < GIVEN_ODDS:
        return None, masks[:, None]
    kind = "box" if chance < GIVEN_ODDS + BOX_ODDS else "point"
    corners = [tiny_sam.corners(mask.numpy(), kind, rng, jitter=tiny_sam.BOX_JITTER) for mask in masks]
    sparse = embed(sam, torch.tensor(np.stack(corners)), box=kind == "box")
    return Prompts(sparse, is_ambiguous=kind == "point"), None


def _candidates(sam: Sam2Decoder, features: Tensor, prompts: Prompts) -> Candidates:
    fine, middle, coarse = sam.levels(features)
    return sam.candidates((fine, middle), sam.without_memory(coarse), prompts)


def _best_loss(found: Candidates, truth: Tensor) -> tuple[Tensor, Tensor]:
    """(loss [J], IoU of mask 0 [J]): of mask 0, and of the others the one that is right already, as in SAM; each mask says how
    right it is. truth: bool [J, S, S].
    """
    losses, iou = tiny_sam.mask_loss(found.logits, _low(truth[:, None]).expand_as(found.logits))
    best = losses[:, 1:].min(1).values
    guesses = (found.iou - iou).square().sum(1)
    there = F.binary_cross_entropy_with_logits(found.score, torch.ones_like(found.score), reduction="none")
    return losses[:, 0] + best + IOU_WEIGHT * guesses + SCORE_WEIGHT * there[:, 0], iou[:, 0]


def _drawn_loss(drawn: Drawn, truth: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """(loss, IoU [J]) of one frame; a mask that is held back has no gradient, and one of a thing out of sight no truth."""
    losses, iou = tiny_sam.mask_loss(drawn.logits, _low(truth[:, None]))
    counted = there & (drawn.score[:, 0] > 0)
    loss = torch.where(counted, losses[:, 0] + IOU_WEIGHT * (drawn.iou - iou[:, 0]).square(), 0).mean()
    score = F.binary_cross_entropy_with_logits(drawn.score[:, 0], there.float())
    return loss + SCORE_WEIGHT * score, iou[:, 0]


def _low(masks: Tensor) -> Tensor:
    """bool [J, K, S, S] -> float [J, K, L, L], the share of each cell."""
    return F.avg_pool2d(masks.float(), GRID // LOW)


def _added(sums: tuple[float, int], values: Tensor) -> tuple[float, int]:
    return sums[0] + float(values.sum()), sums[1] + values.numel()
