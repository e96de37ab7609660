"""The image encoder takes as many pictures at once as their attention scores have room."""

from __future__ import annotations

import pytest
import torch

from seglm.model.decoders import sam
from seglm.model.decoders.sam import SamDecoder, SamDims
from tests.tiny import SAM


@pytest.mark.parametrize(
    ("dims", "itemsize", "count"),
    [
        (SamDims(), 2, 4),  # ViT-H at 1024 pixels: 16 heads x 4096 tokens squared, 0.5 GiB in bf16
        (SamDims(), 4, 2),
        (SamDims(vit_dim=768, vit_depth=12, vit_heads=12), 2, 5),
        (SamDims(image_size=4096), 4, 1),
    ],
)
def test_a_layer_s_scores_have_two_gib(dims: SamDims, itemsize: int, count: int) -> None:
    assert dims.at_once(itemsize) == count


def test_pictures_that_fit_go_in_one_call_and_more_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    decoder, side = SamDecoder(SAM).eval(), SAM.image_size
    pictures = torch.randint(0, 256, (5, 3, side, side), dtype=torch.uint8)
    resized = [(side, side)] * 5
    calls: list[int] = []
    decoder.image_encoder.register_forward_hook(lambda module, given, result: calls.append(len(given[0])))
    whole = decoder.encode(pictures, resized)
    assert calls == [5]
    assert torch.equal(whole, decoder.image_encoder(decoder.normalise(pictures, resized)))
    monkeypatch.setattr(sam, "SCORES_ROOM", 2 * SAM.vit_heads * SAM.grid**4 * 4)
    calls.clear()
    parts = decoder.encode(pictures, resized)
    assert calls == [2, 2, 1]
    for start, stop in ((0, 2), (2, 4), (4, 5)):
        assert torch.equal(parts[start:stop], decoder.encode(pictures[start:stop], resized[start:stop]))
    # a matrix product rounds by the number of its rows: against one call the last bits may differ
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    calls.clear()
    next(decoder.image_encoder.parameters()).ds_id = 0  # type: ignore[attr-defined]  # as ZeRO-3 marks them
    decoder.encode(pictures, resized)
    assert calls == [5]
