"""Qwen-VL as a backbone: its pictures and videos are those of transformers' own processors, and so is its forward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2VLImageProcessorPil
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from seglm.dataset.collate import collate
from seglm.dataset.pixels import vision_cells
from seglm.model import prefix_attention
from seglm.model.backbones.qwen_vl import QwenVLBackbone, layers_of, patches_of
from seglm.utils.tiles import cells_of
from seglm.utils.types import (
    IMAGE_POSITION,
    Clip,
    Images,
)
from tests.tiny_qwen import (
    LIKE_THEIRS,
    PATCH,
    QUESTION,
    clip,
    encoder,
    ours,
    picture,
    rows,
    shown,
    talk,
    their_inputs,
    theirs,
    write,
)


# ---- preprocessing --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [(64, 96), (33, 200), (300, 150), (20, 30), (41, 41)])
def test_a_picture_becomes_the_patches_of_transformers_own_processor(
    size: tuple[int, int], kind: str
) -> None:
    patch, image = PATCH[kind], picture(1, size)
    mean, std = ([0.5] * 3, [0.5] * 3) if kind == "qwen3_vl" else (None, None)
    more: dict[str, Any] = {} if mean is None else {"image_mean": mean, "image_std": std}
    least, most = 4 * 28**2, 20 * 28**2
    processor = Qwen2VLImageProcessorPil(
        patch_size=patch, size={"shortest_edge": least, "longest_edge": most}, **more
    )
    want = processor(images=[image], return_tensors="pt")
    grid = cells_of(size, (least, most), side=2 * patch)
    assert want["image_grid_thw"].tolist() == [[1, 2 * grid[0], 2 * grid[1]]]
    cells = torch.from_numpy(vision_cells(image, 2 * patch, grid, mode="peer")).float() / 255
    made = torch.tensor(mean or QwenVLBackbone.mean).view(3, 1, 1)
    normal = (cells - made) / torch.tensor(std or QwenVLBackbone.std).view(3, 1, 1)
    members, token_of = layers_of([(1, *grid)])
    torch.testing.assert_close(patches_of(normal[members], 2), want["pixel_values"], atol=1e-5, rtol=1e-5)
    assert token_of.tolist() == list(range(grid[0] * grid[1]))


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_a_piece_of_video_becomes_the_patches_of_transformers_own_processor(frames: int) -> None:
    video = torch.randn(1, frames, 3, 64, 96)
    want, layers, *_ = Qwen3VLVideoProcessor.patchify(None, video, 16, 2, 2)
    cells = video[0].unflatten(3, (3, 32)).unflatten(2, (2, 32)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
    members, token_of = layers_of([(frames, 2, 3)])
    assert torch.equal(patches_of(cells[members], 2), want[0]) and len(members) == 6 * layers
    assert token_of.view(frames, 6)[:, 0].tolist() == [frame // 2 * 6 for frame in range(frames)]


def test_the_number_of_cells_is_that_of_transformers() -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    rng = np.random.default_rng(0)
    for height, width in rng.integers(5, 900, (300, 2)).tolist():
        if max(height, width) > 200 * min(height, width):
            continue
        budget = (20 * 28**2, 300 * 28**2)
        want = smart_resize(height, width, factor=28, min_pixels=budget[0], max_pixels=budget[1])
        assert [28 * count for count in cells_of((height, width), budget, side=28)] == list(want)


# ---- the forward ----------------------------------------------------------------------------------------------------
def test_logits_and_places_are_those_of_transformers(kind: str, folder: Path) -> None:
    made, model, said = ours(folder), theirs(kind), encoder(folder)
    examples = rows(kind, said)
    batch = collate(examples)
    given = their_inputs(batch, examples, kind)
    real = batch.group >= 0
    assert not real.all() and len({int(row.sum()) for row in real}) > 2
    grids = {key: given.get(key) for key in ("image_grid_thw", "video_grid_thw")}
    places, _ = model.model.get_rope_index(
        given["input_ids"], given["mm_token_type_ids"], **grids, attention_mask=given["attention_mask"]
    )
    assert batch.rotary is not None
    assert torch.equal(batch.rotary[:, real], places[:, real])
    with torch.no_grad():
        want = model(**given).logits
        logits = made.head(made.hidden(batch))
    torch.testing.assert_close(logits[real], want[real], **LIKE_THEIRS)


def test_the_text_behind_a_long_piece_of_video_stands_behind_its_last_layer(tmp_path: Path) -> None:
    """transformers 5.24 leaves the layers out there: the text may stand beside the last of them."""
    kind = "qwen2_5_vl"
    said = encoder(write(tmp_path / kind, kind))
    moves = [shown(said, clip(6), talk(Images(tuple(range(6)), "moving"), QUESTION), kind=kind)]
    batch = collate(moves)
    given = their_inputs(batch, moves, kind)
    theirs_at, _ = theirs(kind).model.get_rope_index(
        given["input_ids"], given["mm_token_type_ids"], video_grid_thw=given["video_grid_thw"]
    )
    assert batch.rotary is not None
    is_seen = batch.ids[0] == IMAGE_POSITION
    begin, end = int(is_seen.nonzero()[0]), int(is_seen.nonzero()[-1])
    assert torch.equal(batch.rotary[:, 0, : end + 1], theirs_at[:, 0, : end + 1])
    # three layers at 0, 2 and 4; rows and columns at 0 to 2
    assert batch.rotary[:, 0, end + 1].tolist() == [begin + 5] * 3
    assert theirs_at[:, 0, end + 1].tolist() == [begin + 3] * 3


def test_attention_by_scores_and_by_prefixes_says_the_same(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_attention, "LONG", 0)
    batch = collate(rows(kind, encoder(folder)))
    real = batch.group >= 0
    with torch.no_grad():
        want, *others = (
            ours(folder, attention=attention).hidden(batch)[real] for attention in ("sdpa", "eager", "prefix")
        )
    for got in others:
        torch.testing.assert_close(got, want, **LIKE_THEIRS)


def test_dialogues_that_share_a_picture_say_what_they_say_alone(kind: str, folder: Path) -> None:
    made, said = ours(folder), encoder(folder)
    both = shown(
        said,
        clip(1),
        talk(Images((0,), "fine"), QUESTION),
        talk(Images((0,), "fine"), "\nIt is?", answer="It is."),
        kind=kind,
    )
    shared, apart = collate([both]), collate([both], share_prefix=False)
    assert shared.ids.shape[0] == 1 and apart.ids.shape[0] == 2
    with torch.no_grad():
        one, two = (made.head(made.hidden(batch)) for batch in (shared, apart))
    got, want = (logits.flatten(0, 1)[batch.labelled_at] for logits, batch in ((one, shared), (two, apart)))
    torch.testing.assert_close(got, want, **LIKE_THEIRS)


def test_a_text_alone_runs_no_tower(kind: str, folder: Path) -> None:
    made, said = ours(folder), encoder(folder)
    nothing = Clip(key="k", size=(0, 0), seen=(), drawn=())
    words = shown(said, nothing, talk("It is?"), kind=kind)
    batch = collate([words])
    calls: list[object] = []
    made.vision.register_forward_hook(lambda *inside: calls.append(inside))
    with torch.no_grad():
        logits = made.head(made.hidden(batch))
        want = theirs(kind)(input_ids=batch.ids).logits
    assert not calls
    torch.testing.assert_close(logits, want, **LIKE_THEIRS)
