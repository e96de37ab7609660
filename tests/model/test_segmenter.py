"""The forward: what it counts, what it touches, what it may not depend on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from seglm.dataset.collate import collate
from seglm.model.project import Project
from seglm.model.segmenter import Segmenter
from seglm.utils.batch import Batch
from tests.tiny import assert_same_gradients, tiny_example, tiny_model, tiny_recipe

TALK = tiny_example(("It is a ring.",), key="talk")
ONE = tiny_example(("It is {}.", "Sure, {}."), key="one", seed=1)
TWO = tiny_example(("Sure, it is {}.",), key="two", size=(30, 64), seed=2)


def gradients(model: Segmenter, *batches: Batch, counts: dict[str, float] | None = None) -> dict[str, Tensor]:
    model.zero_grad()
    for batch in batches:
        model(batch, counts).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("examples", [[TALK], [ONE], [TALK, ONE, TWO]], ids=["words only", "masks", "both"])
def test_every_trainable_weight_gets_a_gradient_whatever_the_batch_holds(examples: list) -> None:  # type: ignore[type-arg]
    model = tiny_model().train()
    got = gradients(model, collate(examples))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(got) == trained


def test_a_batch_without_masks_does_not_run_the_image_encoder() -> None:
    model = tiny_model()
    model.decoder.image_encoder.register_forward_hook(
        lambda *_: pytest.fail("SAM ran on an image nobody asked a mask of")
    )
    model(collate([TALK]))


def test_micro_batches_under_global_counts_equal_one_big_batch() -> None:
    model = tiny_model().train()
    whole = collate([TALK, ONE, TWO])
    parts = [collate([TALK]), collate([ONE]), collate([TWO])]
    counts = {name: float(count) for name, count in model.counts(whole).items()}
    assert counts == {name: sum(model.counts(part)[name] for part in parts) for name in counts}
    big, small = gradients(model, whole, counts=counts), gradients(model, *parts, counts=counts)
    assert model(whole).loss.item() == pytest.approx(
        sum(model(part, counts).loss.item() for part in parts), rel=1e-5
    )
    assert_same_gradients(small, big)


def test_the_language_head_runs_on_labelled_positions_only() -> None:
    model, batch = tiny_model(), collate([ONE, TALK])
    rows: list[int] = []
    model.backbone.llm.lm_head.register_forward_hook(
        lambda module, given, result: rows.append(given[0].shape[0])
    )
    model(batch)
    assert rows == [batch.labels.shape[0]]


def test_ignored_pixels_change_neither_loss() -> None:
    model = tiny_model()
    hole = torch.zeros(ONE.size, dtype=torch.bool)
    hole[:10] = True
    flipped = ONE.masks.copy()
    flipped[..., :10, :] ^= True
    plain = replace(ONE, ignore=hole.numpy()[None])
    assert model(collate([plain])).loss.item() == pytest.approx(
        model(collate([replace(plain, masks=flipped)])).loss.item(), abs=1e-7
    )
    assert model(collate([plain])).loss.item() != pytest.approx(model(collate([ONE])).loss.item(), abs=1e-4)


def test_padding_and_neighbours_do_not_change_a_sample() -> None:
    model = tiny_model()
    alone = model(collate([TWO])).parts
    together = model(collate([ONE, TWO])).parts
    other = model(collate([ONE])).parts
    for name, part in alone.items():
        assert (part.sum + other[name].sum).item() == pytest.approx(together[name].sum.item(), rel=1e-5)


def test_a_frame_that_nobody_draws_is_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    asked, silent = (
        tiny_example(("It is {}.",), key="tiny/0"),
        tiny_example(("A dog.",), key="tiny/1", seed=1),
    )
    alone, both = collate([asked]), collate([silent, asked])
    encoded: list[int] = []
    encode = model.decoder.encode
    monkeypatch.setattr(
        model.decoder,
        "encode",
        lambda frames, resized: encoded.append(len(frames)) or encode(frames, resized),
    )
    features = model.features(both)
    assert encoded == [1] and not features[0].any()
    torch.testing.assert_close(features[1:], model.features(alone))


@dataclass(frozen=True)
class Twice(Project):
    def build(self, *, hidden: int, width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(hidden, 2 * width), nn.Unflatten(-1, (2, width)))


def test_a_projection_may_give_a_slot_several_vectors() -> None:
    model = tiny_model(tiny_recipe(project=Twice()))
    batch = collate([ONE])
    queries = model.queries(torch.randn(2, model.backbone.hidden_size))
    assert model.prompts(queries, batch.slots).shape == (2, 2, model.decoder.prompt_dim)
    assert model.train()(batch).loss.isfinite()
