"""What the tiny SAM-2 is taught and how it is measured; what it has learnt stands in its manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seglm.bases import tiny_sam2, tiny_sam2_lessons
from seglm.bases.tiny_sam2_run import GATE, check
from seglm.dataset.toy.clips import make_clip
from seglm.dataset.toy.scenes import GRID
from seglm.model.decoders.sam2 import Sam2, Sam2Decoder
from seglm.model.released.identify import layout_of
from seglm.model.released.sam2 import load_sam2

BEHIND = next(
    clip
    for clip in (make_clip(seed, family="passing") for seed in range(100))
    if (hidden := (tiny_sam2.masks_of(clip).sum((2, 3)) == 0)).any()
    and not hidden[0].any()
    and not hidden[-1].any()
)
"""a clip in which something is hidden for a while"""


@pytest.fixture(scope="module")
def base() -> tiny_sam2.TinySam2:
    torch.manual_seed(0)
    return tiny_sam2.TinySam2().train()


def test_it_is_a_sam2_as_any_other(base: tiny_sam2.TinySam2, tmp_path: Path) -> None:
    tiny_sam2.save(base.sam, tmp_path)
    assert layout_of(tmp_path) == "sam2"
    checkpoint = load_sam2(tmp_path)
    choice = Sam2(weights=str(tmp_path), image_size=GRID)
    built = choice.build(checkpoint.decoder or {})
    assert isinstance(built, Sam2Decoder) and built.dims == base.sam.dims == tiny_sam2.load(tmp_path).dims
    built.load_state_dict(
        {name.removeprefix("decoder."): one.float() for name, one in checkpoint.tensors.items()}
    )
    assert 1.5e6 < (tmp_path / "model.safetensors").stat().st_size < 2.6e6


def test_boxes_and_points_are_places_of_the_picture(base: tiny_sam2.TinySam2) -> None:
    corners = torch.tensor([[[10.0, 20.0], [50.0, 60.0]]])
    box, point = (tiny_sam2.embed(base.sam, corners, box=is_box) for is_box in (True, False))
    assert box.shape == (1, 3, 64) and point.shape == (1, 2, 64)
    torch.testing.assert_close(box, base.sam.prompts_of_boxes(torch.tensor([[10.0, 20.0, 50.0, 60.0]])))
    assert torch.equal(box[:, 2], point[:, 1])  # the one that ends the list


def test_a_lesson_about_a_clip_teaches_the_memory(base: tiny_sam2.TinySam2) -> None:
    with (
        torch.no_grad()
    ):  # what is taken to be out of sight has no mask to be taught by; pictures have taught that it is there
        base.sam.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(3)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        base.zero_grad()
        loss, values = tiny_sam2_lessons.clip_loss(base, rng, number=seed, share=1.0)
        loss.backward()
        if "behind" in values:  # in one of the clips a thing comes back
            break
    assert {"carried", "behind", "score"} == set(values)
    for part in (
        base.sam.memory_attention,
        base.sam.memory_encoder,
        base.sam.object_pointer_proj,
        base.sam.image_encoder,
    ):
        assert any(one.grad is not None and one.grad.abs().sum() > 0 for one in part.parameters())


def test_a_lesson_about_pictures_teaches_no_memory(base: tiny_sam2.TinySam2) -> None:
    base.zero_grad(set_to_none=True)
    loss, values = tiny_sam2_lessons.picture_loss(base, np.random.default_rng(0), number=0)
    loss.backward()
    assert all(one.grad is None for one in base.sam.memory_encoder.parameters())
    assert {"iou_thing", "iou_alike", "dense_colour"} <= set(values) or set(values) == {"iou_mask"}


def test_what_is_carried_is_measured_where_a_thing_is_seen(
    monkeypatch: pytest.MonkeyPatch, base: tiny_sam2.TinySam2
) -> None:
    truth = torch.from_numpy(tiny_sam2.masks_of(BEHIND))
    there = truth.flatten(2).any(2)[1:]

    def carry(sam: object, features: object, said: object, **named: object) -> list[tuple[int, object]]:
        """Draws what is true, and nothing behind a frame in which a thing was not seen."""
        lost = (~truth.flatten(2).any(2)).cumsum(0) > 0
        masks = truth & ~lost[..., None, None]
        return [(frame, Found(one[:, None].float() - 0.5)) for frame, one in enumerate(masks)]

    class Found:
        def __init__(self, logits: torch.Tensor) -> None:
            self.logits = logits

    monkeypatch.setattr(tiny_sam2, "carry", carry)
    found = tiny_sam2.carried(base.sam, BEHIND)
    lost = (~truth.flatten(2).any(2)).cumsum(0)[1:] > 0
    assert len(found["carried"]) == int(there.sum()) and len(found["behind"]) == int((there & lost).sum()) > 0
    assert set(found["behind"].tolist()) == {0.0}
    assert float(found["carried"].sum()) == len(found["carried"]) - len(found["behind"])
    assert len(found["absent"]) == int((~there).sum()) and set(found["absent"].tolist()) == {1.0}


def test_a_base_below_the_gate_is_refused() -> None:
    check(dict(GATE))
    with pytest.raises(
        RuntimeError, match=r"scores {'box': 0.1}, and the gate is .*it is not to be committed"
    ):
        check({**GATE, "box": 0.1})
