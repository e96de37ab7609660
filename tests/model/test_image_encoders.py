"""Image encoders take a few pictures at once, and run in their own precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from seglm.model.decoders import squares
from seglm.model.decoders.sam import SamDecoder
from seglm.model.decoders.squares import SquareDecoder
from tests.tiny import SAM
from tests.tiny_sam2 import tiny_sam2
from tests.tiny_sam3 import tiny_sam3

ALL = pytest.mark.parametrize(
    "make", [lambda: SamDecoder(SAM), tiny_sam2, tiny_sam3], ids=["sam", "sam2", "sam3"]
)


@ALL
def test_pictures_that_fit_go_in_one_call_and_more_in_several(
    make: Callable[[], SquareDecoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    assert squares.PIXELS_AT_ONCE == 4 * 1024**2
    decoder = make().eval()
    side = decoder.image_size
    pictures = torch.randint(0, 256, (5, 3, side, side), dtype=torch.uint8)
    resized = [(side, side)] * 5
    calls: list[int] = []
    decoder.image_encoder.register_forward_hook(lambda module, given, result: calls.append(len(given[0])))
    whole = decoder.encode(pictures, resized)
    assert calls == [5]
    assert torch.equal(whole, decoder.encode_squares(decoder.normalise(pictures, resized)))
    monkeypatch.setattr(squares, "PIXELS_AT_ONCE", 2 * side**2)
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


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@ALL
def test_whatever_the_autocast_an_encoder_runs_in_its_own_precision(
    make: Callable[[], SquareDecoder], precision: torch.dtype
) -> None:
    torch.manual_seed(0)
    decoder = make().eval()
    side = decoder.image_size
    pictures, resized = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8), [(side, side)] * 2
    whole = decoder.encode(pictures, resized)
    decoder.image_encoder.to(precision)
    alone = decoder.encode(pictures, resized)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(decoder.encode(pictures, resized), alone)
    assert 1e-5 < (alone - whole).norm() / whole.norm() < 0.05
