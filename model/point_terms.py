"""Sa2VA's losses of masks: on the mask decoder's grid, at points that lie mostly where the prediction is unsure, or everywhere.

Formulas are those of its own code (magic-research/Sa2VA at d01bf3f: projects/llava_sam2/models/llava_sam2.py, and mmdet's
CrossEntropyLoss and DiceLoss below third_parts); where the points lie is PointRend's rule (Kirillov et al., CVPR 2020).
Letters: J jobs, M masks (a job as often as it counts), P points, h w the decoder's grid.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from seglm.model.terms import Predicted, Term
from seglm.utils.batch import Batch
from seglm.utils.ranges import CountOrNone, Weight, between

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from seglm.model.recipe import Recipe
    from seglm.model.segmenter import Segmenter

EPS = 1.0  # of mmdet's dice as Sa2VA configures it (projects/llava_sam2/configs/sa2va_4b.py)


@dataclass(frozen=True)
class Points:
    """Where the masks of a micro-batch are looked at."""

    count: CountOrNone = 12544
    """of each mask; 0 looks at every pixel of the grid"""
    oversample: Annotated[float, between(least=1)] = 3.0
    """so many times as many are drawn evenly, of which the least sure ones are kept"""
    importance: Annotated[float, between(least=0, most=1)] = 0.75
    """share of the points that are chosen so; the others are drawn evenly"""

    def chosen(self, logits_Mhw: Tensor) -> Tensor:
        """(x, y) of every mask's points, float32 [M, P, 2], 0 to 1 from the top left corner; no gradient."""
        import torch

        with torch.no_grad():
            masks, device = len(logits_Mhw), logits_Mhw.device
            drawn = torch.rand((masks, int(self.count * self.oversample), 2), device=device)
            unsure = -at_points(logits_Mhw, drawn).abs()
            most = unsure.topk(int(self.importance * self.count), dim=1).indices
            kept = drawn.gather(1, most[..., None].expand(-1, -1, 2))
            even = torch.rand((masks, self.count - kept.shape[1], 2), device=device)
            return torch.cat([kept, even], dim=1)


def at_points(masks_Mhw: Tensor, points_MP2: Tensor) -> Tensor:
    """The values [M, P] of masks float [M, h, w] at points (see `Points.chosen`), bilinear, zero outside."""
    from torch.nn.functional import grid_sample

    places = 2 * points_MP2[:, :, None] - 1
    return grid_sample(masks_Mhw[:, None], places, align_corners=False)[:, 0, :, 0]


@dataclass(frozen=True)
class PointTerm(Term):
    """A loss of every job's mask on the decoder's grid, counted per mask, as often as it counts.

    Truth comes onto the grid by its nearest pixels, which fill it whatever the picture's sides. Where ignored pixels are left out
    (`data.ignore`) points on them count for nothing. Terms of one recipe that look in the same way look at the same points.
    """

    weight: Weight
    points: Points = Points()
    candidate: ClassVar[int] = 0
    """which of the decoder's masks is compared; 0 is the one that is drawn"""

    def check(self, recipe: Recipe, /) -> None:
        if not recipe.decoder.stretches:
            raise ValueError(
                f"terms.{self.name} compares masks on the mask decoder's grid, which pictures have to fill; set "
                "decoder.stretches=true, or use Bce and Dice"
            )

    def count(self, batch: Batch) -> int:
        return batch.masks_counted

    def total(self, batch: Batch, predicted: Predicted, model: Segmenter) -> Tensor:
        masks, key = self.judged(predicted), (self.points, self.candidate)
        if not batch.jobs:
            return 0 * masks.sum()
        if key not in predicted.shared:
            predicted.shared[key] = looked_at(masks, batch, self.points)
        return self.each(*predicted.shared[key]).sum()

    def judged(self, predicted: Predicted) -> Tensor:
        """The masks that are compared, float32 [J, h, w]."""
        return predicted.low_Jhw

    @abstractmethod
    def each(self, logits_MP: Tensor, target_MP: Tensor, keep_MP: Tensor | None) -> Tensor:
        """float [M, P] logits and targets, 0 to 1, and 1 where a point counts -> float [M]."""


@dataclass(frozen=True)
class PointBce(PointTerm):
    """Mean over the points of the binary cross entropy with logits, per mask."""

    name = "bce"

    def each(self, logits_MP: Tensor, target_MP: Tensor, keep_MP: Tensor | None) -> Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        loss = binary_cross_entropy_with_logits(logits_MP, target_MP, reduction="none")
        if keep_MP is None:
            return loss.mean(1)
        return (loss * keep_MP).sum(1) / keep_MP.sum(1).clamp(min=1)


@dataclass(frozen=True)
class PointDice(PointTerm):
    """1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1), per mask."""

    name = "dice"

    def each(self, logits_MP: Tensor, target_MP: Tensor, keep_MP: Tensor | None) -> Tensor:
        p = logits_MP.sigmoid()
        if keep_MP is not None:
            p, target_MP = p * keep_MP, target_MP * keep_MP
        overlap, area = 2 * (p * target_MP).sum(1), p.sum(1) + target_MP.sum(1)
        return 1 - (overlap + EPS) / (area + EPS)


def looked_at(low_Jhw: Tensor, batch: Batch, points: Points) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits and targets of every mask and 1 where a point counts (None: all do), float32 [M, P] each; a mask that counts several
    times is looked at anew each time."""
    times = batch.job_times.long()
    # The size is told, or the device would be waited for.
    logits, *truths = (
        each.repeat_interleave(times, dim=0, output_size=batch.masks_counted)
        for each in (low_Jhw, *on_grid(batch, low_Jhw))
    )
    if points.count:
        places = points.chosen(logits)
        logits, *truths = (at_points(each, places) for each in (logits, *truths))
    target, *keep = (each.flatten(1) for each in truths)
    return logits.flatten(1), target, keep[0] if keep else None


def on_grid(batch: Batch, like: torch.Tensor) -> list[Tensor]:
    """The targets of all jobs on the decoder's grid, float32 [J, h, w], by their nearest pixels, and, where some are ignored, 1
    where they count; like: [..., h, w]."""
    import torch
    from torch.nn.functional import interpolate

    size = (like.shape[-2], like.shape[-1])

    def resized(masks: Tensor) -> Tensor:
        return interpolate(masks.float()[:, None], size, mode="nearest")[:, 0]

    found = [torch.cat([resized(masks) for masks in batch.masks if len(masks)])]
    if any(ignore is not None for ignore in batch.ignore):
        counts = [
            torch.ones_like(masks) if ignore is None else ~ignore.expand_as(masks)
            for masks, ignore in zip(batch.masks, batch.ignore, strict=True)
        ]
        found.append(torch.cat([resized(one) for one in counts if len(one)]))
    return found
