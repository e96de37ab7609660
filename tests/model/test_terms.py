"""Loss formulas against numbers that can be checked by hand, and against LISA's formula written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from seglm.model.point_terms import PointBce, PointDice, PointTerm
from seglm.model.terms import Bce, Dice

LN2 = math.log(2)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


@pytest.mark.parametrize(
    ("logits", "target", "keep", "bce"),
    [
        ([[0.0, 0.0]], [[0.0, 1.0]], None, LN2),  # no opinion costs ln 2 a pixel
        ([[logit(0.75), logit(0.25)]], [[1.0, 0.0]], None, math.log(4 / 3)),
        ([[0.0, 50.0]], [[1.0, 0.0]], [1.0, 0.0], LN2),  # the second pixel is nobody's business
        ([[0.0, 50.0]], [[1.0, 0.0]], [0.0, 0.0], 0.0),  # nothing counts: no loss, no division by zero
    ],
)
def test_bce_is_the_mean_over_the_pixels_that_count(
    logits: list[list[float]], target: list[list[float]], keep: list[float] | None, bce: float
) -> None:
    mask = None if keep is None else torch.tensor(keep)
    got = Bce(1.0).each(torch.tensor(logits), torch.tensor(target), mask)
    assert got.tolist() == pytest.approx([bce], abs=1e-6)


@pytest.mark.parametrize(
    ("p", "target", "dice"),
    [
        ([1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], 0.0),
        ([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], 1 - 1e-6 / (4 / 1000 + 1e-6)),
        (
            [0.5, 0.5, 0.5, 0.5],
            [0.0, 0.0, 0.0, 0.0],
            1 - 1e-6 / (2 / 1000 + 1e-6),
        ),  # empty target: eps over area / 1000
        ([1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], 1 - (2 / 1000 + 1e-6) / (3 / 1000 + 1e-6)),
    ],
)
def test_dice_has_lisas_scale_of_a_thousand_and_its_epsilon(
    p: list[float], target: list[float], dice: float
) -> None:
    logits = torch.tensor([[40.0 if value == 1 else -40.0 if value == 0 else logit(value) for value in p]])
    assert Dice(1.0).each(logits, torch.tensor([target]), None).tolist() == pytest.approx([dice], abs=1e-6)


def lisa_dice(logits: Tensor, target: Tensor, masks: float, scale: float = 1000, eps: float = 1e-6) -> Tensor:
    """`dice_loss` of the specification, section 2.2, sum over masks divided by their number."""
    p = logits.sigmoid().flatten(1)
    numerator = 2 * (p / scale * target.flatten(1)).sum(-1)
    denominator = (p / scale).sum(-1) + (target.flatten(1) / scale).sum(-1)
    return (1 - (numerator + eps) / (denominator + eps)).sum() / (masks + 1e-8)


def test_dice_on_random_masks_is_the_specified_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, 9, generator=generator) * 3
    target = (torch.rand(3, 7, 9, generator=generator) > 0.5).float()
    got = Dice(1.0).each(logits.flatten(1), target.flatten(1), None).mean()
    assert got.item() == pytest.approx(lisa_dice(logits, target, 3).item(), rel=1e-6)


@pytest.mark.parametrize("term", [PointBce(1.0), PointDice(1.0)])
def test_points_on_ignored_pixels_count_for_nothing(term: PointTerm) -> None:
    logits, truth = torch.randn(2, 8), torch.rand(2, 8)
    keep = torch.tensor([[1.0] * 5 + [0.0] * 3] * 2)
    torch.testing.assert_close(term.each(logits, truth, keep), term.each(logits[:, :5], truth[:, :5], None))
