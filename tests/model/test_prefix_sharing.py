"""Computing a shared prefix once changes nothing: loss and every gradient are those of a row for each dialogue."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from seglm.dataset.collate import collate
from seglm.model import prefix_attention
from seglm.model.segmenter import Segmenter
from seglm.utils.batch import Batch
from seglm.utils.types import Example
from tests.tiny import tiny_example, tiny_model, tiny_recipe

THREE = tiny_example(("It is {}.", "Sure, the segmentation result is {}.", "{}."), key="three", seed=1)
ALONE = tiny_example(("Sure, {}.",), key="alone", size=(30, 64), seed=2)
WORDS = tiny_example(("It is a ring, I see no other.", "Two."), key="words", seed=3)
EXACT = 1e-5  # of the largest entry of a tensor: the largest difference
ZERO = (
    1e-7  # of the largest gradient: below it a tensor holds rounding only (the bias of a key under softmax)
)


def step(model: Segmenter, batch: Batch) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Loss and its parts, and all gradients."""
    model.zero_grad()
    out = model(batch)
    out.loss.backward()
    losses = {"loss": out.loss.item()} | {name: part.sum.item() for name, part in out.parts.items()}
    return losses, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(model: Segmenter, batch: Batch, reference: Batch) -> None:
    losses, gradients = step(model, batch)
    want_losses, want_gradients = step(model, reference)
    assert losses == pytest.approx(want_losses, rel=EXACT)
    assert gradients.keys() == want_gradients.keys()
    floor = ZERO * max(float(want.abs().max()) for want in want_gradients.values())
    for name, want in want_gradients.items():
        difference = float((gradients[name] - want).abs().max())
        assert difference <= max(EXACT * float(want.abs().max()), floor), name


@pytest.mark.parametrize("examples", [[THREE], [THREE, ALONE, WORDS]], ids=["one image", "three images"])
@pytest.mark.parametrize("row_tokens", [None, 400], ids=["a row each", "packed"])
@pytest.mark.parametrize("attention", ["sdpa", "eager", "prefix"])
def test_sharing_prefixes_changes_neither_loss_nor_gradients(
    examples: list[Example], row_tokens: int | None, attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_attention, "LONG", 0)
    recipe = tiny_recipe()
    recipe = replace(recipe, engine=replace(recipe.engine, attention=attention))  # type: ignore[arg-type]
    model = tiny_model(recipe).train()
    shared = collate(examples, row_tokens=row_tokens)
    unshared = collate(examples, share_prefix=False)
    assert int((shared.group >= 0).sum()) < 0.7 * int((unshared.group >= 0).sum())
    assert_same(model, shared, unshared)


def test_padding_and_neighbours_change_nothing() -> None:
    model = tiny_model().eval()
    together = model.backbone.hidden(collate([THREE, ALONE], row_tokens=400)).flatten(0, 1)
    batch = collate([THREE, ALONE], row_tokens=400)
    for number, example in enumerate([THREE, ALONE]):
        single = collate([example])
        alone = model.backbone.hidden(single)[0, : int((single.group >= 0).sum())]
        mine = together[(batch.group == number).flatten()]
        assert torch.allclose(mine, alone, atol=1e-5), example.key
